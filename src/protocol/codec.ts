/**
 * Bytes to plain values and back, for both subprotocols; the only importer of msgpackr. Second step of a message's way in
 * (after the pre-scan, which it calls) and the last of its way out. Knows nothing of envelopes.
 *
 * msgpackr is taken without its native helper (`/pack` and `/unpack`), so that server and browser run the same code, and
 * with records off. Its one `new Function` builds record readers; records come from extension 0x72 or from configured
 * structures, the scan refuses the first and we never give the second, so it runs under a CSP without `unsafe-eval`.
 */
import { Packr } from 'msgpackr/pack';
import { Unpackr } from 'msgpackr/unpack';
import { decodeScanned } from './decode-scanned.ts';
import { jsonScan } from './json-scan.ts';
import { limits } from './limits.ts';
import { type FaultReason, lastScanSawLongBom, prescan } from './prescan.ts';

/** The two subprotocols: `tmcp.msgpack.v1` in binary frames, `tmcp.json.v1` in text frames. */
export type WireFormat = 'msgpack' | 'json';

/** A frame that is not one acceptable value. Answer it with -32700 and `id: null`; the third in a minute closes with 4400. */
export class UndecodableFrame extends Error {
  readonly reason: FaultReason;
  /** Byte offset in a binary frame, UTF-16 index in a text frame. */
  readonly at: number;

  constructor(reason: FaultReason, at: number, cause?: unknown) {
    super(`The frame cannot be decoded: ${reason} at ${at}`, cause === undefined ? undefined : { cause });
    this.name = 'UndecodableFrame';
    this.reason = reason;
    this.at = at;
  }
}

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number', copyBuffers: true });
const packr = new Packr({ useRecords: false, variableMapSize: true, moreTypes: false });

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The value of one frame.
 * Shape: null, boolean, finite number (integers within ±(2^53 - 1)), well-formed string, array, plain object, and from
 * MessagePack also `Uint8Array`. Nothing of the result aliases `bytes`: they may be freed or overwritten afterwards.
 * A JSON frame may be given as text or as its UTF-8 bytes; a MessagePack frame is bytes only.
 * Errors: `UndecodableFrame`, and nothing else. Source: live binding, section 2.
 */
export function decodeFrame(format: WireFormat, bytes: Uint8Array | string): unknown {
  return format === 'msgpack' ? decodeMsgpack(bytes) : decodeJson(bytes);
}

/** The value of a MessagePack frame that a server sent: as `decodeFrame`, with room for the largest answer. */
export function decodeAnswer(bytes: Uint8Array): unknown {
  return decodeMsgpack(bytes, limits.answerNodes);
}

/**
 * The value of MessagePack bytes that another node of ours wrote, in `bytes[start, end)`. Not scanned first: without its bounds on nodes and
 * depth, so only for authenticated peers. Nothing of the result aliases `bytes`, which is best not a `Buffer` when many values lie
 * in it. Errors: `UndecodableFrame`, also when a value is cut off or followed by something.
 */
export function decodeTrusted(bytes: Uint8Array, start = 0, end: number = bytes.length): unknown {
  const plain = bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (end <= start) throw new UndecodableFrame('empty', start);
  let value: unknown;
  try {
    value = unpackr.unpack(plain, { start, end });
  } catch (cause) {
    throw new UndecodableFrame('syntax', start, cause);
  }
  // msgpackr found the structure sound; what it reads wrong is a long string with a leading U+FEFF.
  return holdsBom(plain, start, end) ? decodeScanned(plain.subarray(start, end)) : value;
}

/** Whether the UTF-8 form of U+FEFF (ef bb bf) lies within the bytes. */
function holdsBom(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i += 1) if (bytes[i] === 0xef && bytes[i + 1] === 0xbb && bytes[i + 2] === 0xbf) return true;
  return false;
}

function decodeMsgpack(bytes: Uint8Array | string, nodesAtMost: number = limits.frameNodes): unknown {
  if (typeof bytes === 'string') throw new UndecodableFrame('frame-kind', 0);
  const fault = prescan(bytes, nodesAtMost);
  if (fault !== undefined) throw new UndecodableFrame(fault.reason, fault.at);
  if (lastScanSawLongBom()) return decodeScanned(bytes);
  // msgpackr's copies are of the class it is given, so a Buffer would put Buffers into the value.
  const plain = bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return unpackr.unpack(plain);
  } catch (cause) {
    throw new UndecodableFrame('syntax', 0, cause);
  }
}

function decodeJson(frame: Uint8Array | string): unknown {
  let text: string;
  try {
    text = typeof frame === 'string' ? frame : utf8.decode(frame);
  } catch (cause) {
    throw new UndecodableFrame('utf8', 0, cause);
  }
  const fault = jsonScan(text);
  if (fault !== undefined) throw new UndecodableFrame(fault.reason, fault.at);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UndecodableFrame('syntax', 0, cause);
  }
}

/** A slab grown past this by a large value is not used further, so that a small frame kept long never pins megabytes. */
const largestSlabBytes = 64 * 1024;
const freshSlabBytes = 8 * 1024;

/**
 * The MessagePack form of a value.
 * Shape: null, boolean, finite number, string, `Uint8Array`, array and plain object, nested; what else is given (a Date, a
 * NaN, a Map) is the caller's mistake and is refused by the peer's scan. Members that are undefined are left out and
 * undefined elements are null, as in JSON; a lone surrogate becomes U+FFFD. Safe integers are written as integers.
 *
 * Aliasing: the result is a view of a slab (8 to 64 KiB) that later results are placed in *behind* it; its own bytes are
 * never written again, so it may be given to uWebSockets.js `send` at once (which copies what it cannot write at
 * once), queued, or kept. Kept results hold their slab, shared with some 60 neighbours: who keeps few of many for long
 * copies them (`new Uint8Array(bytes)`). Not for workers: transferring `bytes.buffer` would take the neighbours with it.
 */
export function encodeMsgpack(value: unknown): Uint8Array {
  const bytes: Uint8Array = packr.pack(value);
  return kept(needsCare(bytes, true) ? packr.pack(tidied(value, BigInt)) : bytes);
}

/**
 * As `encodeMsgpack`, for `decodeTrusted`: integers past 32 bits stay the floats msgpackr makes of them, which are as exact, so that a
 * value with a timestamp is not packed twice.
 */
export function encodeTrusted(value: unknown): Uint8Array {
  const bytes: Uint8Array = packr.pack(value);
  return kept(needsCare(bytes, false) ? packr.pack(tidied(value, Number)) : bytes);
}

/** The bytes, out of the slab when they have blown it up. */
function kept(bytes: Uint8Array): Uint8Array {
  if (bytes.buffer.byteLength <= largestSlabBytes) return bytes;
  const copy = new Uint8Array(bytes);
  packr.useBuffer(typeof Buffer === 'undefined' ? new Uint8Array(freshSlabBytes) : Buffer.allocUnsafeSlow(freshSlabBytes));
  return copy;
}

/** The JSON form of a value: what `encodeMsgpack` says of undefined and lone surrogates holds here too. `Uint8Array`s have no JSON form. */
export function encodeJson(value: unknown): string {
  // JSON.stringify escapes lone surrogates and nothing else this way; the text may also hold `\ud` spelt out by a user.
  const text = JSON.stringify(value);
  return text.includes('\\ud') ? JSON.stringify(tidied(value, Number)) : text;
}

/** The frame of a value: text for JSON, bytes for MessagePack. */
export function encode(format: WireFormat, value: unknown): Uint8Array | string {
  return format === 'msgpack' ? encodeMsgpack(value) : encodeJson(value);
}

/**
 * Whether a packed value may hold an undefined (d4 00 00), an encoded surrogate (ed a0…bf 80…bf) or, when `wide`, an integer past 32 bits,
 * which msgpackr writes as a float 64 (cb) of 2^31 or more. All are rare; a byte string that looks like one only costs time.
 */
function needsCare(bytes: Uint8Array, wide: boolean): boolean {
  // In Node these are memchr; nearly every frame ends here.
  if (!bytes.includes(0xd4) && !bytes.includes(0xed) && !(wide && bytes.includes(0xcb))) return false;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i] as number;
    if (byte < 0xcb) continue;
    const next = ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    if (wide && byte === 0xcb && isWide(next)) return true;
    if (byte === 0xd4 && next === 0) return true;
    if (byte === 0xed && (next & 0xe0c0) === 0xa080) return true;
  }
  return false;
}

/** Whether a float 64 is 2^31 or more away from zero, by its first two bytes: a sign, eleven bits of exponent (bias 1023), four more. */
function isWide(upper: number): boolean {
  return ((upper >> 4) & 0x7ff) >= 1023 + 31;
}

const loneSurrogate = /\p{Surrogate}/gu;

/** A copy in which no string holds a lone surrogate, nothing is undefined, and integers past 32 bits are what `wide` makes of them. */
function tidied(value: unknown, wide: (integer: number) => number | bigint): unknown {
  if (value === undefined) return null;
  if (typeof value === 'string') return value.replace(loneSurrogate, '\ufffd');
  if (typeof value === 'number') return Number.isSafeInteger(value) && (value > 0xffffffff || value < -0x80000000) ? wide(value) : value;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item) => tidied(item, wide));
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([key, member]) => [key.replace(loneSurrogate, '\ufffd'), tidied(member, wide)]));
}
