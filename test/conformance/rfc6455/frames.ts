/** Client frames of RFC 6455, section 5.2, with real masks: also such frames as no client may send. */
import { opcode } from '../../support/live-client.ts';

export interface Frame {
  readonly op: number;
  readonly payload: Uint8Array;
  /** Default true. */
  readonly fin?: boolean;
  /** Three bits. */
  readonly rsv?: number;
}

/** Masks differ from frame to frame and are the same in every run, so that a case that fails fails again. */
let masks = 0;

/** The bytes of one frame, masked, its length in the shortest form. */
export function encodeFrame({ op, payload, fin = true, rsv = 0 }: Frame): Buffer {
  const { length } = payload;
  const wide = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const bytes = Buffer.allocUnsafe(6 + wide + length);
  bytes[0] = (fin ? 0x80 : 0) | (rsv << 4) | op;
  bytes[1] = 0x80 | (wide === 0 ? length : wide === 2 ? 126 : 127);
  if (wide === 2) bytes.writeUInt16BE(length, 2);
  else if (wide === 8) bytes.writeBigUInt64BE(BigInt(length), 2);
  masks = (masks + 0x9e3779b9) >>> 0;
  const at = 2 + wide;
  bytes.writeUInt32BE(masks, at);
  for (let i = 0; i < length; i++) bytes[at + 4 + i] = (payload[i] as number) ^ (bytes[at + (i & 3)] as number);
  return bytes;
}

export function bytesOf(payload: string | Uint8Array): Uint8Array {
  return typeof payload === 'string' ? Buffer.from(payload) : payload;
}

export function text(payload: string | Uint8Array, more: Partial<Frame> = {}): Frame {
  return { op: opcode.text, payload: bytesOf(payload), ...more };
}

export function binary(payload: Uint8Array, more: Partial<Frame> = {}): Frame {
  return { op: opcode.binary, payload, ...more };
}

export function continuation(payload: string | Uint8Array, more: Partial<Frame> = {}): Frame {
  return { op: opcode.continuation, payload: bytesOf(payload), ...more };
}

export function ping(payload: string | Uint8Array = '', more: Partial<Frame> = {}): Frame {
  return { op: opcode.ping, payload: bytesOf(payload), ...more };
}

export function pong(payload: string | Uint8Array = '', more: Partial<Frame> = {}): Frame {
  return { op: opcode.pong, payload: bytesOf(payload), ...more };
}

/** A Close with a code, and a reason that need not be text. */
export function close(code: number, reason: string | Uint8Array = ''): Frame {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return { op: opcode.close, payload: Buffer.concat([head, bytesOf(reason)]) };
}

/** A message cut into frames of `size` bytes, the last one shorter. */
export function fragments(op: number, payload: Uint8Array, size: number): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < payload.length || at === 0; at += size)
    frames.push({
      op: at === 0 ? op : opcode.continuation,
      payload: payload.subarray(at, at + size),
      fin: at + size >= payload.length,
    });
  return frames;
}
