/**
 * Frames between nodes, written: those of one turn of the event loop are laid into one piece of memory and given to the socket at
 * once; while it takes them, later ones collect. So a busy link writes few large pieces, and a quiet one waits for nobody.
 */
import { setImmediate } from 'node:timers';
import { encodeTrusted } from '../../protocol/codec.ts';
import { answerFlag, frameKind, type Hello, lengthBytes, seqBytes } from './frames.ts';

/** Where bytes go. `taken` is called when all before it are taken, or never when the link ends. */
export interface ByteSink {
  write(pieces: readonly Uint8Array[], taken: () => void): void;
}

/** A piece holds some 400 short frames. Larger frames get a piece of their own. */
const pieceBytes = 64 * 1024;
/** Pieces given to the socket in one go. */
const piecesAtOnce = 4;
const sparePieces = 8;
const longestTrace = 255;
const longestUserId = 65_535;

/** Spare pieces, shared by the links of a node. */
export class Pieces {
  readonly #spare: Buffer[] = [];

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(pieceBytes);
  }

  /** Takes back a piece, or the written part of one. */
  give(part: Buffer): void {
    if (part.buffer.byteLength === pieceBytes && this.#spare.length < sparePieces) this.#spare.push(Buffer.from(part.buffer));
  }
}

/** The frame of an event: made once, sent to every peer. Errors: `RangeError` when the user id is longer than 65,535 bytes. */
export function eventFrame(seq: number, userId: string, body: unknown): Buffer {
  const encoded = encodeTrusted(body);
  const userBytes = Buffer.byteLength(userId);
  if (userBytes > longestUserId) throw new RangeError('a user id of more than 65,535 bytes');
  const frame = Buffer.allocUnsafe(lengthBytes + 1 + seqBytes + 2 + userBytes + encoded.length);
  let at = frame.writeUInt32BE(frame.length - lengthBytes, 0);
  at = frame.writeUInt8(frameKind.event, at);
  at = frame.writeUIntBE(seq, at, seqBytes);
  at = frame.writeUInt16BE(userBytes, at);
  at += frame.write(userId, at);
  frame.set(encoded, at);
  return frame;
}

export class FrameWriter {
  readonly #sink: ByteSink;
  readonly #pieces: Pieces;
  readonly #largest: number;
  /** Called when the socket took what it was given and may take more. */
  readonly #taken: () => void;
  readonly #full: Buffer[] = [];
  #piece: Buffer | undefined;
  #at = 0;
  #unsent = 0;
  #soon = false;
  #writing = false;
  #ended = false;
  /** Frames written since somebody set it to 0. */
  frames = 0;

  constructor(sink: ByteSink, pieces: Pieces, largest: number, taken: () => void) {
    this.#sink = sink;
    this.#pieces = pieces;
    this.#largest = largest;
    this.#taken = taken;
  }

  /** Bytes that the socket has not taken. */
  get unsentBytes(): number {
    return this.#unsent;
  }

  hello(hello: Hello): void {
    this.#body(frameKind.hello, encodeTrusted(hello));
  }

  beat(leaseValid: boolean): void {
    const at = this.#open(2, frameKind.beat);
    (this.#piece as Buffer)[at] = leaseValid ? 1 : 0;
  }

  /** False when the frame is larger than a frame may be: nothing was written. A trace of more than 255 bytes is left out. */
  ask(id: number, deadlineMs: number, trace: string | undefined, body: unknown): boolean {
    const encoded = encodeTrusted(body);
    let traceBytes = trace === undefined ? 0 : Buffer.byteLength(trace);
    if (traceBytes > longestTrace) traceBytes = 0;
    const length = 10 + traceBytes + encoded.length;
    if (length > this.#largest) return false;
    let at = this.#open(length, frameKind.ask);
    const piece = this.#piece as Buffer;
    at = piece.writeUInt32BE(id, at);
    at = piece.writeUInt32BE(Math.min(Math.ceil(deadlineMs), 0xffffffff), at);
    piece[at] = traceBytes;
    at += 1;
    if (traceBytes > 0) at += piece.write(trace as string, at);
    piece.set(encoded, at);
    return true;
  }

  /** False when the answer is larger than a frame may be: nothing was written. */
  answer(id: number, last: boolean, value: unknown): boolean {
    const encoded = encodeTrusted(value);
    if (6 + encoded.length > this.#largest) return false;
    this.#answer(id, last ? answerFlag.last : 0, encoded);
    return true;
  }

  /** Tells that there will be no (further) answer. */
  failed(id: number): void {
    this.#answer(id, answerFlag.last | answerFlag.failed, undefined);
  }

  ack(seq: number): void {
    this.#seq(frameKind.ack, seq);
  }

  gap(next: number): void {
    this.#seq(frameKind.gap, next);
  }

  hint(body: Uint8Array): void {
    if (1 + body.length <= this.#largest) this.#body(frameKind.hint, body);
  }

  /** A frame that was made elsewhere, its length included. */
  raw(frame: Uint8Array): void {
    const at = this.#room(frame.length);
    (this.#piece as Buffer).set(frame, at);
  }

  /** Gives the socket what has collected, unless it is still busy with what it was given. */
  flush(): void {
    this.#soon = false;
    if (this.#writing || this.#ended) return;
    if (this.#full.length < piecesAtOnce && this.#piece !== undefined) this.#close();
    const given = this.#full.splice(0, piecesAtOnce);
    if (given.length === 0) return;
    this.#writing = true;
    this.#sink.write(given, () => this.#settle(given));
  }

  /** Gives the socket all there is, and nothing after it. */
  finish(): void {
    if (this.#piece !== undefined) this.#close();
    const given = this.#full.splice(0);
    if (!this.#ended && given.length > 0) this.#sink.write(given, () => undefined);
    this.end();
  }

  /** Forgets what has not been given to the socket; nothing is written after it. */
  end(): void {
    this.#ended = true;
    this.#full.length = 0;
    this.#piece = undefined;
    this.#unsent = 0;
  }

  #settle(given: readonly Buffer[]): void {
    if (this.#ended) return;
    this.#writing = false;
    for (const piece of given) {
      this.#unsent -= piece.length;
      this.#pieces.give(piece);
    }
    this.#taken();
    if (this.#unsent > 0) this.flush();
  }

  #answer(id: number, flags: number, encoded: Uint8Array | undefined): void {
    let at = this.#open(6 + (encoded?.length ?? 0), frameKind.answer);
    const piece = this.#piece as Buffer;
    at = piece.writeUInt32BE(id, at);
    piece[at] = flags;
    if (encoded !== undefined) piece.set(encoded, at + 1);
  }

  #seq(kind: number, seq: number): void {
    const at = this.#open(1 + seqBytes, kind);
    (this.#piece as Buffer).writeUIntBE(seq, at, seqBytes);
  }

  #body(kind: number, body: Uint8Array): void {
    const at = this.#open(1 + body.length, kind);
    (this.#piece as Buffer).set(body, at);
  }

  /** Begins a frame of `length` bytes, kind included; where its fields begin in the piece. */
  #open(length: number, kind: number): number {
    const at = this.#room(lengthBytes + length);
    const piece = this.#piece as Buffer;
    piece.writeUInt32BE(length, at);
    piece[at + lengthBytes] = kind;
    return at + lengthBytes + 1;
  }

  /** Makes room for a frame in the open piece; where it begins. */
  #room(bytes: number): number {
    if (this.#piece !== undefined && this.#at + bytes > this.#piece.length) this.#close();
    if (this.#piece === undefined) {
      this.#piece = bytes > pieceBytes ? Buffer.allocUnsafeSlow(bytes) : this.#pieces.take();
      this.#at = 0;
    }
    const at = this.#at;
    this.#at += bytes;
    this.#unsent += bytes;
    this.frames += 1;
    if (!this.#soon) {
      this.#soon = true;
      setImmediate(() => this.flush());
    }
    return at;
  }

  #close(): void {
    this.#full.push((this.#piece as Buffer).subarray(0, this.#at));
    this.#piece = undefined;
  }
}
