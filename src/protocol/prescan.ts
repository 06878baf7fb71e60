/**
 * Looks at one MessagePack frame before anything is built from it, without recursion and without allocating, and says
 * why it may not be decoded. First step of a message's way in. It decodes nothing; `codec.ts` does that, and only with
 * frames that passed here. Rules: docs/protocol.md, live binding, section 2. Imports nothing but the protocol's floor.
 */
import { limits } from './limits.ts';
import { findRepeatedKey, isForbiddenKey } from './prescan-keys.ts';
import { firstNonAscii, isUtf8 } from './prescan-utf8.ts';

/** Why a frame may not be decoded. `syntax` and `frame-kind` come from the codec, the others from a scan. */
export type FaultReason =
  | 'empty'
  | 'truncated'
  | 'trailing'
  | 'extension'
  | 'reserved'
  | 'depth'
  | 'nodes'
  | 'key'
  | 'forbidden-key'
  | 'duplicate-key'
  | 'utf8'
  | 'integer'
  | 'float'
  | 'syntax'
  | 'frame-kind';

/** What is wrong with a frame. `at` is the byte offset (UTF-16 index in a text frame) of the offending item; of a repeated key's text. */
export interface PrescanFault {
  readonly reason: FaultReason;
  readonly at: number;
}

const maxDepth: number = limits.frameDepth;
const maxNodes: number = limits.frameNodes;

// Reused by every call. The scan is synchronous and calls nobody who could call it again, so one set is enough.
const leftStack = new Int32Array(maxDepth);
const keysFromStack = new Int32Array(maxDepth);
// Every key has a value, and values are counted before they are read: there are never more keys than nodes.
const keyStarts = new Int32Array(maxNodes);
const keyLengths = new Int32Array(maxNodes);

/** A string longer than this is handed to `TextDecoder` by msgpackr where its native helper is absent. */
const shortStringBytes = 64;
let longBom = false;

/**
 * The first fault of a frame that must hold exactly one value, or undefined when it may be decoded.
 * Shape: a node is a value (a map key is none), the outermost included; depth counts open containers, so `[[]]` is 2.
 * Integers must be within ±(2^53 - 1); floats must be finite. Linear in the frame's length; a map's keys are compared in
 * O(n log n). `nodesAtMost` is the request's bound unless told otherwise. Source: live binding, section 2.
 */
export function prescan(bytes: Uint8Array, nodesAtMost: number = maxNodes): PrescanFault | undefined {
  const end = bytes.length;
  longBom = false;
  if (end === 0) return fault('empty', 0);
  let at = 0;
  let depth = 0;
  let nodes = 1;
  /** Items still to come in the open container: values of an array, keys and values of a map. */
  let left = 1;
  /** Where the open map's keys start in `keyStarts`; -1 in an array. */
  let keysFrom = -1;
  let keysTo = 0;

  for (;;) {
    while (left === 0) {
      if (depth === 0) return at === end ? undefined : fault('trailing', at);
      if (keysFrom >= 0) {
        if (keysTo - keysFrom > 1) {
          const repeated = findRepeatedKey(bytes, keyStarts, keyLengths, keysFrom, keysTo);
          if (repeated >= 0) return fault('duplicate-key', repeated);
        }
        keysTo = keysFrom;
      }
      depth -= 1;
      left = leftStack[depth] as number;
      keysFrom = keysFromStack[depth] as number;
    }
    const isKey = keysFrom >= 0 && (left & 1) === 0;
    left -= 1;
    if (at >= end) return fault('truncated', at);
    const itemAt = at;
    const head = bytes[at] as number;
    at += 1;

    // Which of three kinds follows: a string (`length` set), a container (`entries` set), or nothing to look into.
    let length = -1;
    let entries = -1;
    let isMap = false;
    if (head < 0x80 || head >= 0xe0) {
      if (isKey) return fault('key', itemAt);
      continue;
    }
    if (head < 0x90) {
      entries = head & 0x0f;
      isMap = true;
    } else if (head < 0xa0) {
      entries = head & 0x0f;
    } else if (head < 0xc0) {
      length = head & 0x1f;
    } else {
      const size = headerBytes[head - 0xc0] as number;
      if (size < 0) return fault(head === 0xc1 ? 'reserved' : 'extension', itemAt);
      if (size > end - at) return fault('truncated', itemAt);
      if (head >= 0xd9 && head <= 0xdb) {
        length = unsigned(bytes, at, size);
      } else if (head >= 0xdc) {
        entries = unsigned(bytes, at, size);
        isMap = head >= 0xde;
      } else if (isKey) {
        return fault('key', itemAt);
      } else if (head >= 0xc4 && head <= 0xc6) {
        const binary = unsigned(bytes, at, size);
        if (binary > end - at - size) return fault('truncated', itemAt);
        at += binary;
      } else if (size >= 4 && !isPlainNumber(bytes, at, head)) {
        return fault(head <= 0xcb ? 'float' : 'integer', itemAt);
      }
      at += size;
    }

    if (length >= 0) {
      const stop = at + length;
      if (stop > end) return fault('truncated', itemAt);
      if (isKey) {
        // Only under a larger bound than a request's can more keys be open than there is room for.
        if (keysTo === maxNodes) return fault('nodes', itemAt);
        if ((length === 9 || length === 11) && isForbiddenKey(bytes, at, length)) return fault('forbidden-key', itemAt);
        keyStarts[keysTo] = at;
        keyLengths[keysTo] = length;
        keysTo += 1;
      }
      if (length > shortStringBytes) {
        if (bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf) longBom = true;
        at = firstNonAscii(bytes, at, stop);
      } else {
        while (at < stop && (bytes[at] as number) < 0x80) at += 1;
      }
      if (at < stop && !isUtf8(bytes, at, stop)) return fault('utf8', itemAt);
      at = stop;
    } else if (entries >= 0) {
      if (isKey) return fault('key', itemAt);
      const items = isMap ? entries * 2 : entries;
      // An item takes a byte at least: a count that cannot be true is refused before anybody believes it.
      if (items > end - at) return fault('truncated', itemAt);
      nodes += entries;
      if (nodes > nodesAtMost) return fault('nodes', itemAt);
      if (depth === maxDepth) return fault('depth', itemAt);
      leftStack[depth] = left;
      keysFromStack[depth] = keysFrom;
      depth += 1;
      left = items;
      keysFrom = isMap ? keysTo : -1;
    }
  }
}

/**
 * Whether the frame scanned last holds a string of more than 64 bytes that begins with U+FEFF. msgpackr loses that
 * character where its native helper is absent, and then two different strings would become one.
 */
export function lastScanSawLongBom(): boolean {
  return longBom;
}

/** Bytes after the head byte that are header or number, by head byte minus 0xc0; -1 is never allowed. */
const headerBytes = Int8Array.of(
  ...[0, -1, 0, 0], // nil, never used, false, true
  ...[1, 2, 4], // bin 8, 16, 32
  ...[-1, -1, -1], // ext 8, 16, 32
  ...[4, 8], // float 32, 64
  ...[1, 2, 4, 8], // uint 8 to 64
  ...[1, 2, 4, 8], // int 8 to 64
  ...[-1, -1, -1, -1, -1], // fixext 1 to 16
  ...[1, 2, 4], // str 8, 16, 32
  ...[2, 4], // array 16, 32
  ...[2, 4], // map 16, 32
);

function unsigned(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i += 1) value = value * 256 + (bytes[at + i] as number);
  return value;
}

/** Whether a number of four bytes or more is finite, or an integer that a JSON number holds exactly. */
function isPlainNumber(bytes: Uint8Array, at: number, head: number): boolean {
  const high =
    ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  switch (head) {
    case 0xca:
      return (high & 0x7f800000) !== 0x7f800000;
    case 0xcb:
      return (high & 0x7ff00000) !== 0x7ff00000;
    case 0xcf:
      return high >= 0 && high <= 0x1fffff;
    case 0xd3:
      // -(2^53 - 1) is ffe00000 00000001; one less than it has the same upper half and nothing below.
      if (high === -0x200000) return unsigned(bytes, at + 4, 4) >= 1;
      return high > -0x200000 && high <= 0x1fffff;
    default:
      return true;
  }
}

function fault(reason: FaultReason, at: number): PrescanFault {
  return { reason, at };
}
