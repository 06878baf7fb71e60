/**
 * A load generator on raw sockets: frames are encoded once and only the request id changes, so that the generator costs less than
 * the server it measures. Closed loop: `depth` requests in flight a socket. Every answer is checked byte by byte against the first of
 * its socket, which is decoded; a wrong or missing answer fails the run.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { unpack } from 'msgpackr';

export interface RawTarget {
  readonly port: number;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One socket: `ask` sends a frame, `onFrame` gets each payload. */
export class RawSocket {
  readonly #socket: Socket;
  #buffered: Buffer = Buffer.alloc(0);
  onFrame: (payload: Buffer) => void = () => {};
  onEnd: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('close', () => this.onEnd());
    socket.on('error', () => {});
  }

  static open(target: RawTarget): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect(target.port, '127.0.0.1', () => {
        const headers = Object.entries(target.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
        socket.write(
          `GET ${target.path} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${headers.join('')}\r\n`,
        );
      });
      socket.once('error', reject);
      socket.once('data', (head) => {
        if (!head.subarray(0, 12).toString().includes('101')) reject(new Error(`no upgrade: ${head.toString().split('\r\n')[0]}`));
        else resolve(new RawSocket(socket));
      });
    });
  }

  /** Bytes that the system has not taken. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  write(frames: Buffer): void {
    this.#socket.write(frames);
  }

  end(): void {
    this.onEnd = () => {};
    this.#socket.destroy();
  }

  #data(chunk: Buffer): void {
    const data = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
    let at = 0;
    while (data.length - at >= 2) {
      let length = (data[at + 1] as number) & 127;
      let head = 2;
      if (length === 126) {
        if (data.length - at < 4) break;
        length = data.readUInt16BE(at + 2);
        head = 4;
      } else if (length === 127) {
        if (data.length - at < 10) break;
        length = Number(data.readBigUInt64BE(at + 2));
        head = 10;
      }
      if (data.length - at < head + length) break;
      const opcode = (data[at] as number) & 15;
      if (opcode === 1 || opcode === 2) this.onFrame(data.subarray(at + head, at + head + length));
      // A peer that is silent for 75 s is cut, also one that has nothing to ask.
      else if (opcode === 9) this.#socket.write(clientFrame(data.subarray(at + head, at + head + length), 10));
      at += head + length;
    }
    this.#buffered = at === data.length ? Buffer.alloc(0) : data.subarray(at);
  }
}

/** A masked client frame with a zero mask, so that the payload stands in it as it is. */
export function clientFrame(payload: Uint8Array, opcode = 2): Buffer {
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0])
      : Buffer.from([0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]);
  return Buffer.concat([head, payload]);
}

/** A MessagePack request whose id is always five bytes, with the place of that id in the frame. */
export function requestFrame(method: string, params: Uint8Array): { readonly frame: Buffer; readonly idAt: number } {
  const text = (value: string): Buffer =>
    Buffer.concat([value.length < 32 ? Buffer.from([0xa0 | value.length]) : Buffer.from([0xd9, value.length]), Buffer.from(value)]);
  const before = Buffer.concat([Buffer.from([0x83]), text('id'), Buffer.from([0xce])]);
  const payload = Buffer.concat([before, Buffer.alloc(4), text('method'), text(method), text('params'), params]);
  const frame = clientFrame(payload);
  return { frame, idAt: frame.length - payload.length + before.length };
}

/** Drives one socket until `stop`; counts answers, fails on a wrong one. */
export class Asker {
  readonly #socket: RawSocket;
  readonly #frame: Buffer;
  readonly #idAt: number;
  readonly #check: (decoded: unknown) => boolean;
  #next = 65_536;
  #answered = 65_536;
  #first: Buffer | undefined;
  #replyIdAt = 0;
  answers = 0;
  running = true;

  constructor(
    socket: RawSocket,
    request: { readonly frame: Buffer; readonly idAt: number },
    check: (decoded: unknown) => boolean,
    onFault: (why: string) => void,
  ) {
    this.#socket = socket;
    this.#frame = request.frame;
    this.#idAt = request.idAt;
    this.#check = check;
    socket.onEnd = () => onFault('a socket was closed');
    socket.onFrame = (payload) => {
      if (!this.#right(payload)) onFault(`a wrong answer: ${JSON.stringify(unpack(payload)).slice(0, 300)}`);
      this.answers++;
      if (this.running) this.#ask();
    };
  }

  start(depth: number): void {
    for (let n = 0; n < depth; n++) this.#ask();
  }

  #ask(): void {
    const frame = Buffer.from(this.#frame);
    frame.writeUInt32BE(this.#next++, this.#idAt);
    this.#socket.write(frame);
  }

  #right(payload: Buffer): boolean {
    const expected = this.#answered++;
    if (this.#first === undefined || this.#first.length !== payload.length) {
      const decoded = unpack(payload) as { id: number };
      if (decoded.id !== expected || !this.#check(decoded)) return false;
      this.#first = Buffer.from(payload);
      // The id's name, then a marker and four bytes; how long the map's header is depends on the encoder.
      this.#replyIdAt = payload.indexOf('id') + 3;
      return true;
    }
    const rest = this.#replyIdAt + 4;
    return payload.readUInt32BE(this.#replyIdAt) === expected && payload.compare(this.#first, rest, this.#first.length, rest) === 0;
  }
}
