/**
 * One TLS connection to or from a peer: frames in and out, its silence, and its end. Who dialled and what frames mean is
 * `peer-dial.ts`'s and `peer-listen.ts`'s business. After `close` nothing is handed out and nothing is written.
 */
import type { TLSSocket } from 'node:tls';
import { UndecodableFrame } from '../../protocol/codec.ts';
import { FrameError, FrameReader, type OnFrame } from './frames.ts';
import { FrameWriter, type Pieces } from './frame-writer.ts';
import type { Heard, PeerBounds, PeerMeters } from './peer.ts';

export interface PeerLinkOptions {
  readonly socket: TLSSocket;
  readonly pieces: Pieces;
  readonly bounds: PeerBounds;
  readonly meters: PeerMeters;
  readonly onFrame: OnFrame;
  /** Once; `fault` is true when the peer sent what no peer of ours sends. */
  readonly onClosed: (reason: string, fault: boolean) => void;
  /** The socket took what it was given. */
  readonly onTaken: () => void;
}

/** Before its hello a peer is kept short. */
const helloBytes = 4 * 1024;

export class PeerLink {
  readonly writer: FrameWriter;
  /** Beats since the last bytes came. */
  silent = 0;
  #closed = false;
  #heard: Heard | undefined;
  readonly #options: PeerLinkOptions;
  readonly #reader: FrameReader;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    const { socket, bounds } = options;
    this.#reader = new FrameReader(options.onFrame, helloBytes);
    this.writer = new FrameWriter({ write: (pieces, taken) => this.#write(pieces, taken) }, options.pieces, bounds.frameBytes, () => {
      if (!this.#closed) options.onTaken();
    });
    socket.setNoDelay(true);
    socket.on('data', (text: Buffer) => this.#read(text));
    socket.on('error', (error: NodeJS.ErrnoException) => this.close(error.code ?? error.message));
    socket.on('end', () => this.close('ended by the peer'));
    socket.on('close', () => this.close('closed'));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The peer has said hello: frames may be as large as they get, and what comes is a sign of life. */
  admit(heard: Heard): void {
    this.#reader.largest = this.#options.bounds.frameBytes;
    this.#heard = heard;
    heard.links += 1;
    heard.silent = 0;
  }

  /** Stops and starts reading, so that a peer that does not take its answers cannot ask for more. */
  pause(paused: boolean): void {
    if (paused) this.#options.socket.pause();
    else this.#options.socket.resume();
  }

  /** Ends the link at once; bytes that wait are lost. */
  close(reason: string, fault = false): void {
    if (!this.#end(reason, fault)) return;
    this.#options.socket.destroy();
  }

  /** Ends the link after what was written, the last turn's frames included. `closed` is called when the socket is gone. */
  finish(reason: string, closed?: () => void): void {
    const { socket } = this.#options;
    if (socket.destroyed) closed?.();
    else if (closed !== undefined) socket.once('close', closed);
    this.writer.finish();
    if (this.#end(reason, false)) socket.end();
    // Its own end, and then 'close', is noticed only while somebody reads.
    socket.resume();
  }

  /** Lets go of a socket whose peer does not answer the end. */
  destroy(): void {
    this.#options.socket.destroy();
  }

  #end(reason: string, fault: boolean): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.#count();
    this.#reader.end();
    this.writer.end();
    if (this.#heard !== undefined) this.#heard.links -= 1;
    this.#options.onClosed(reason, fault);
    return true;
  }

  #read(text: Buffer): void {
    if (this.#closed) return;
    this.silent = 0;
    if (this.#heard !== undefined) this.#heard.silent = 0;
    this.#options.meters.bytesIn.inc(text.length);
    try {
      this.#reader.push(text);
    } catch (error) {
      // The bytes themselves may be somebody's message: only what is wrong with them is told.
      if (error instanceof FrameError) this.close(error.message, true);
      else if (error instanceof UndecodableFrame) this.close('an undecodable frame', true);
      else throw error;
    }
    this.#count();
  }

  #write(pieces: readonly Uint8Array[], taken: () => void): void {
    const { socket, meters } = this.#options;
    let bytes = 0;
    const last = pieces.length - 1;
    if (last > 0) socket.cork();
    for (const [index, piece] of pieces.entries()) {
      bytes += piece.length;
      // An error comes as an event, too, and ends the link there.
      if (index < last) socket.write(piece);
      else socket.write(piece, (error) => error == null && taken());
    }
    if (last > 0) socket.uncork();
    meters.bytesOut.inc(bytes);
    this.#count();
  }

  #count(): void {
    if (this.#reader.frames > 0) this.#options.meters.framesIn.inc(this.#reader.frames);
    if (this.writer.frames > 0) this.#options.meters.framesOut.inc(this.writer.frames);
    this.#reader.frames = 0;
    this.writer.frames = 0;
  }
}
