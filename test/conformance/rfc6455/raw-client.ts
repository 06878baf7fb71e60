/**
 * The client's end of a case: a bare TCP connection that plays the steps, collects what comes back and holds the server's own frames to
 * RFC 6455 (no mask, no reserved bits, shortest lengths, whole control frames, UTF-8, nothing behind a Close).
 */
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { opcode } from '../../support/live-client.ts';
import type { Script, Step } from './case.ts';
import { close, encodeFrame, ping } from './frames.ts';
import { type CloseCode, type Happening, noCode, type Seen } from './verdict.ts';

/** Only a server that does not do what it must is waited for so long. */
const patienceMs = 10_000;
const handshakeKey = 'AQIDBAUGBwgJCgsMDQ4PEA==';
const acceptKey = createHash('sha1').update(`${handshakeKey}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

export class RawClient {
  readonly #socket: Socket;
  readonly #happenings: Happening[] = [];
  #chunks: Buffer[] = [];
  #held = 0;
  #needed = 2;
  #message: { readonly kind: 'text' | 'binary'; readonly parts: Buffer[] } | undefined;
  #close: CloseCode | undefined;
  #ended = false;
  #fault: string | undefined;
  #wake = (): void => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
  }

  /** Opens a WebSocket. Errors: rejects when the handshake is not answered as section 4.2.2 says. */
  static async connect(port: number, path: string): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    const client = new RawClient(socket);
    const head = new Promise<string>((resolve, reject) => {
      let read = Buffer.alloc(0);
      const onHead = (chunk: Buffer): void => {
        read = Buffer.concat([read, chunk]);
        const end = read.indexOf('\r\n\r\n');
        if (end < 0) return;
        socket.off('data', onHead).on('data', (bytes: Buffer) => client.#receive(bytes));
        if (read.length > end + 4) client.#receive(read.subarray(end + 4));
        resolve(read.toString('latin1', 0, end));
      };
      socket.on('data', onHead).on('error', reject);
      socket.on('close', () => {
        client.#ended = true;
        client.#wake();
        reject(new Error('the connection ended in the handshake'));
      });
    });
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${handshakeKey}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const [status = '', ...lines] = (await head).split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    if (!status.startsWith('HTTP/1.1 101') || headers.get('sec-websocket-accept') !== acceptKey || headers.has('sec-websocket-extensions'))
      throw new Error(`not a proper handshake: ${status} ${JSON.stringify([...headers])}`);
    return client;
  }

  /** Plays a script to its end. `settle` resolves when the server handled everything sent so far. */
  async play({ steps, expect }: Script, settle: () => Promise<void>): Promise<Seen> {
    let pauses = 0;
    for (const step of steps) {
      if (this.#ended) break;
      if (step.do === 'pieces') pauses += await this.#pieces(step, settle);
      else if (step.do === 'pause') pauses += await this.#pause(settle);
      else await this.#perform(step);
    }
    if (expect.end === 'closed-by-us') {
      await this.#until(() => this.#happenings.length >= expect.happenings.length);
      if (!this.#ended) this.#socket.write(encodeFrame(close(1000)));
    }
    await this.#until(() => false);
    const seen = { happenings: this.#happenings, close: this.#close, ended: this.#ended, pauses, fault: this.#fault };
    this.cut();
    return seen;
  }

  /** A ping and its pong. */
  async roundTrip(): Promise<void> {
    const wanted = this.#happenings.length + 1;
    this.#socket.write(encodeFrame(ping()));
    await this.#until(() => this.#happenings.length >= wanted);
  }

  cut(): void {
    this.#socket.destroy();
  }

  async #perform(step: Exclude<Step, { do: 'pieces' | 'pause' }>): Promise<void> {
    if (step.do === 'send') this.#socket.write(Buffer.concat(step.frames.map(encodeFrame)));
    else if (step.do === 'raw') this.#socket.write(step.bytes);
    else if (step.do === 'rounds') {
      for (let i = 1; i <= step.count && !this.#ended; i++) {
        this.#socket.write(encodeFrame(step.frame));
        await this.#until(() => this.#happenings.length >= i);
      }
    } else {
      // What is written before the loop has turned once would reach the server together.
      await turn();
      for (const frame of step.frames) {
        const bytes = encodeFrame(frame);
        const size = step.by === 'frame' ? bytes.length : step.by;
        for (let at = 0; at < bytes.length && !this.#ended; at += size) {
          this.#socket.write(bytes.subarray(at, at + size));
          await turn();
        }
      }
    }
  }

  async #pieces({ frame, lengths }: Extract<Step, { do: 'pieces' }>, settle: () => Promise<void>): Promise<number> {
    const bytes = encodeFrame(frame);
    let at = 0;
    let end = bytes.length - frame.payload.length;
    let pauses = 0;
    for (const length of lengths) {
      if (this.#ended) break;
      end += length;
      this.#socket.write(bytes.subarray(at, end));
      at = end;
      if (end < bytes.length) pauses += await this.#pause(settle);
    }
    return pauses;
  }

  async #pause(settle: () => Promise<void>): Promise<number> {
    await settle();
    return this.#ended ? 0 : 1;
  }

  /** Resolves when `done`, at the end of the connection, or when patience is over. */
  async #until(done: () => boolean): Promise<void> {
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      this.#wake();
    }, patienceMs);
    while (!over && !this.#ended && !done())
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    clearTimeout(timer);
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held < this.#needed) return;
    let bytes = Buffer.concat(this.#chunks);
    for (;;) {
      const used = this.#take(bytes);
      if (used === 0) break;
      bytes = bytes.subarray(used);
    }
    this.#chunks = [bytes];
    this.#held = bytes.length;
    this.#wake();
  }

  /** Reads one frame; gives its size, or 0 when there is not enough for it. */
  #take(bytes: Buffer): number {
    this.#needed = 2;
    if (bytes.length < 2) return 0;
    const first = bytes[0] as number;
    const short = (bytes[1] as number) & 0x7f;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    this.#needed = head;
    if (bytes.length < head) return 0;
    const length = head === 2 ? short : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    this.#needed = head + length;
    if (bytes.length < head + length) return 0;
    this.#needed = 2;
    if (((bytes[1] as number) & 0x80) !== 0) this.#broken('a masked frame');
    if ((first & 0x70) !== 0) this.#broken('reserved bits');
    if ((head === 4 && length < 126) || (head === 10 && length < 65_536)) this.#broken('a length that is not the shortest');
    if (this.#close !== undefined) this.#broken('a frame behind the Close');
    this.#frame(first & 15, (first & 0x80) !== 0, bytes.subarray(head, head + length));
    return head + length;
  }

  #frame(op: number, fin: boolean, payload: Buffer): void {
    if (op >= opcode.close) {
      if (!fin || payload.length > 125) this.#broken('a control frame in pieces or too long');
      if (op === opcode.close) this.#closing(payload);
      else if (op === opcode.ping || op === opcode.pong) this.#happenings.push({ kind: op === opcode.ping ? 'ping' : 'pong', payload });
      else this.#broken(`opcode ${op}`);
      return;
    }
    if (op === opcode.text || op === opcode.binary) {
      if (this.#message !== undefined) this.#broken('a message within a message');
      this.#message = { kind: op === opcode.text ? 'text' : 'binary', parts: [payload] };
    } else if (op === opcode.continuation && this.#message !== undefined) this.#message.parts.push(payload);
    else this.#broken(`opcode ${op} out of place`);
    if (!fin || this.#message === undefined) return;
    const { kind, parts } = this.#message;
    this.#message = undefined;
    const whole = parts.length === 1 ? payload : Buffer.concat(parts);
    if (kind === 'text' && !isUtf8(whole)) this.#broken('a text that is not UTF-8');
    this.#happenings.push({ kind, payload: whole });
  }

  #closing(payload: Buffer): void {
    this.#close = payload.length === 0 ? noCode : payload.length === 1 ? 0 : payload.readUInt16BE(0);
    if (payload.length === 1) this.#broken('a Close with half a code');
  }

  #broken(fault: string): void {
    this.#fault ??= fault;
  }
}

const strict = new TextDecoder('utf-8', { fatal: true });

/** Whether the bytes are UTF-8, as the platform sees it. */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
