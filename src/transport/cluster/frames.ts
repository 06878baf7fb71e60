/**
 * Frames between nodes, read: a length (u32, big-endian), a kind (u8), the fields of the kind, and a body in MessagePack. Fields
 * before the body are plain bytes, so that an event is dropped by its user id before anything is decoded. `frame-writer.ts` writes them.
 * Many frames of one chunk are read where they lie; only a frame that chunks cut is put together, each byte copied once.
 */
import { decodeTrusted } from '../../protocol/codec.ts';

/**
 * | kind | fields after the kind |
 * |---|---|
 * | hello | MessagePack `Hello` |
 * | beat | u8 lease valid |
 * | ask | u32 id, u32 deadline ms, u8 trace length, trace, body |
 * | answer | u32 id, u8 flags, body |
 * | event | u48 number, u16 user id length, user id, body |
 * | ack | u48 number of the last event received |
 * | gap | u48 number of the next event; what the receiver lacks before it is gone |
 * | hint | body |
 */
export const frameKind = { hello: 1, beat: 2, ask: 3, answer: 4, event: 5, ack: 6, gap: 7, hint: 8 } as const;

/** Flags of an answer: the last one of its ask; no value, because the peer failed. */
export const answerFlag = { last: 1, failed: 2 } as const;

/** Of this shape of frames and handshake; a peer that says another is refused. */
export const linkVersion = 1;

/** The first frame each way. `to` is whom the dialler means to reach; `has` the number of the last event the listener has of the dialler. */
export interface Hello {
  readonly link: number;
  readonly boot: string;
  readonly name: string;
  readonly version: string;
  readonly lease: boolean;
  readonly to?: string;
  readonly has?: number;
}

export const lengthBytes = 4;
export const seqBytes = 6;

/** Bytes that came: `text` reads strings; `bytes`, the same memory, is what the decoder takes. */
export interface Chunk {
  readonly text: Buffer;
  readonly bytes: Uint8Array;
}

/** A frame that no peer of ours sends. The link ends. */
export class FrameError extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'FrameError';
  }
}

/** Takes one frame, kind included, in `[start, end)`. May throw: nothing more is read of that link then. */
export type OnFrame = (chunk: Chunk, start: number, end: number) => void;

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #onFrame: OnFrame;
  #largest: number;
  #header = 0;
  #headerBytes = 0;
  #partial: Buffer | undefined;
  #filled = 0;
  #ended = false;
  /** Frames read since somebody set it to 0. */
  frames = 0;

  /** `largest`: bytes of a frame without its length; a longer one is a `FrameError` before any of it is kept. */
  constructor(onFrame: OnFrame, largest: number) {
    this.#onFrame = onFrame;
    this.#largest = largest;
  }

  /** From the next frame on. */
  set largest(bytes: number) {
    this.#largest = bytes;
  }

  /** No frame is handed out any more, also not of the chunk that is being read. */
  end(): void {
    this.#ended = true;
    this.#partial = undefined;
  }

  /** Reads what has come. Errors: `FrameError`, `UndecodableFrame`, or what `onFrame` throws; the stream cannot go on then. */
  push(text: Buffer): void {
    const end = text.length;
    let at = this.#complete(text);
    const chunk: Chunk = { text, bytes: new Uint8Array(text.buffer, text.byteOffset, end) };
    while (end - at >= lengthBytes && !this.#ended) {
      const start = at + lengthBytes;
      const length = this.#checked(text.readUInt32BE(at));
      if (end - start < length) {
        this.#partial = Buffer.allocUnsafe(length);
        this.#filled = text.copy(this.#partial, 0, start);
        return;
      }
      at = start + length;
      this.frames += 1;
      this.#onFrame(chunk, start, at);
    }
    for (; at < end; at += 1) this.#addToHeader(text[at] as number);
  }

  /** Ends the frame that earlier chunks began; the position behind it, or the chunk's end. */
  #complete(text: Buffer): number {
    let at = 0;
    if (this.#headerBytes > 0) {
      while (this.#headerBytes < lengthBytes && at < text.length) this.#addToHeader(text[at++] as number);
      if (this.#headerBytes < lengthBytes) return at;
      this.#partial = Buffer.allocUnsafe(this.#checked(this.#header));
      this.#filled = 0;
      this.#headerBytes = 0;
      this.#header = 0;
    }
    const partial = this.#partial;
    if (partial === undefined) return at;
    const taken = Math.min(partial.length - this.#filled, text.length - at);
    text.copy(partial, this.#filled, at, at + taken);
    this.#filled += taken;
    if (this.#filled < partial.length) return text.length;
    this.#partial = undefined;
    this.frames += 1;
    this.#onFrame({ text: partial, bytes: new Uint8Array(partial.buffer, partial.byteOffset, partial.length) }, 0, partial.length);
    return at + taken;
  }

  #addToHeader(byte: number): void {
    this.#header = this.#header * 256 + byte;
    this.#headerBytes += 1;
  }

  #checked(length: number): number {
    if (length === 0) throw new FrameError('an empty frame');
    if (length > this.#largest) throw new FrameError(`a frame of ${length} bytes, ${this.#largest} at most`);
    return length;
  }
}

/** The fields of an ask; `onAsk` gets the body decoded. */
export interface AskFrame {
  readonly id: number;
  readonly deadlineMs: number;
  readonly trace: string | undefined;
  readonly body: unknown;
}

/** Reads an ask whose kind stands at `start`. Errors: as every reader here, `FrameError` and `UndecodableFrame`. */
export function readAsk(chunk: Chunk, start: number, end: number): AskFrame {
  need(end - start >= 10);
  const traceBytes = chunk.bytes[start + 9] as number;
  const bodyAt = start + 10 + traceBytes;
  need(bodyAt <= end);
  return {
    id: chunk.text.readUInt32BE(start + 1),
    deadlineMs: chunk.text.readUInt32BE(start + 5),
    trace: traceBytes === 0 ? undefined : chunk.text.toString('utf8', start + 10, bodyAt),
    body: decodeTrusted(chunk.bytes, bodyAt, end),
  };
}

/** Reads an answer; `value` is undefined when the peer failed. */
export function readAnswer(chunk: Chunk, start: number, end: number): { id: number; flags: number; value: unknown } {
  need(end - start >= 6);
  const flags = chunk.bytes[start + 5] as number;
  const value = (flags & answerFlag.failed) !== 0 ? undefined : decodeTrusted(chunk.bytes, start + 6, end);
  return { id: chunk.text.readUInt32BE(start + 1), flags, value };
}

/** Reads an event's user id; `bodyAt` is where its body begins. */
export function readEvent(chunk: Chunk, start: number, end: number): { seq: number; userId: string; bodyAt: number } {
  const userAt = start + 1 + seqBytes + 2;
  need(userAt <= end);
  const bodyAt = userAt + chunk.text.readUInt16BE(userAt - 2);
  need(bodyAt < end);
  return { seq: chunk.text.readUIntBE(start + 1, seqBytes), userId: chunk.text.toString('utf8', userAt, bodyAt), bodyAt };
}

/** Reads the number of an ack or a gap. */
export function readSeq(chunk: Chunk, start: number, end: number): number {
  need(end - start === 1 + seqBytes);
  return chunk.text.readUIntBE(start + 1, seqBytes);
}

/** Reads whether a beat says that the peer's lease is valid. */
export function readBeat(chunk: Chunk, start: number, end: number): boolean {
  need(end - start === 2);
  return chunk.bytes[start + 1] === 1;
}

/** Reads a hint's body, or anything else that is a body alone. */
export function readBody(chunk: Chunk, start: number, end: number): unknown {
  return decodeTrusted(chunk.bytes, start + 1, end);
}

/** Reads a hello. */
export function readHello(chunk: Chunk, start: number, end: number): Hello {
  const value = readBody(chunk, start, end) as Partial<Hello> | null;
  if (typeof value !== 'object' || value === null) throw new FrameError('a hello that is no map');
  const { link, boot, name, version, lease, to, has } = value;
  if (link !== linkVersion) throw new FrameError(`links of version ${String(link).slice(0, 20)}; ours is ${linkVersion}`);
  const texts = typeof boot === 'string' && typeof name === 'string' && typeof version === 'string';
  const rest = typeof lease === 'boolean' && (to === undefined || typeof to === 'string');
  if (!texts || !rest || (has !== undefined && !(Number.isSafeInteger(has) && has >= 0))) throw new FrameError('a hello of another shape');
  return value as Hello;
}

function need(enough: boolean): void {
  if (!enough) throw new FrameError('a frame that is too short');
}
