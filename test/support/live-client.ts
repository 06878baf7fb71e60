/**
 * A WebSocket client on a bare TCP socket: it can do what a well-behaved library will not (never read, break frames, lie about
 * lengths), and decodes with another MessagePack library than the server's.
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { decode, encode } from '@msgpack/msgpack';

export interface LiveMessage {
  readonly id?: number | string | null;
  readonly method?: string;
  readonly seq?: number;
  // biome-ignore lint/suspicious/noExplicitAny: what the server says is looked at by assertions
  readonly params?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly result?: any;
  readonly error?: {
    readonly code: number;
    readonly message: string;
    // biome-ignore lint/suspicious/noExplicitAny: as above
    readonly data: any;
  };
}

export interface Closed {
  /** 1006 when the connection ended without a close frame. */
  readonly code: number;
  readonly reason: string;
}

export interface ConnectOptions {
  readonly protocol?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
  readonly host?: string;
}

/** The server's answer to an upgrade that was refused. */
export class UpgradeRefused extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;

  constructor(status: number, headers: Readonly<Record<string, string>>, body: string) {
    super(`the upgrade was refused with ${status}: ${body}`);
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
}

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A masked client frame. `length` may lie. */
export function clientFrame(
  op: number,
  payload: Uint8Array,
  options: { readonly fin?: boolean; readonly length?: number; readonly rsv?: number } = {},
): Buffer {
  const { fin = true, length = payload.length, rsv = 0 } = options;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | op;
  let head: Buffer;
  if (length < 126) head = Buffer.from([first, 0x80 | length]);
  else if (length < 65_536) {
    head = Buffer.alloc(4);
    head.writeUInt16BE(length, 2);
    head[0] = first;
    head[1] = 0x80 | 126;
  } else {
    head = Buffer.alloc(10);
    head.writeBigUInt64BE(BigInt(length), 2);
    head[0] = first;
    head[1] = 0x80 | 127;
  }
  // A mask of zeros is a mask.
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

export class LiveClient {
  readonly socket: Socket;
  readonly subprotocol: string;
  readonly messages: LiveMessage[] = [];
  /** Control frames of the server. */
  pings = 0;
  pongs = 0;
  /** Answers pings as a client must. */
  answerPings = true;
  readonly closed: Promise<Closed>;
  #nextId = 1;
  #buffer: Buffer = Buffer.alloc(0);
  #close: Closed = { code: 1006, reason: '' };
  readonly #waiting = new Set<() => void>();

  private constructor(socket: Socket, subprotocol: string, rest: Buffer) {
    this.socket = socket;
    this.subprotocol = subprotocol;
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#wake();
        resolve(this.#close);
      });
    });
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#receive(chunk));
    if (rest.length > 0) this.#receive(rest);
  }

  /** Connects. Errors: `UpgradeRefused`. */
  static async connect(port: number, options: ConnectOptions = {}): Promise<LiveClient> {
    const socket = connect(port, options.host ?? '127.0.0.1');
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const key = randomBytes(16).toString('base64');
    const headers = {
      Host: `127.0.0.1:${port}`,
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Key': key,
      'Sec-WebSocket-Version': '13',
      ...(options.protocol === undefined ? {} : { 'Sec-WebSocket-Protocol': options.protocol }),
      ...options.headers,
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${options.path ?? '/v1/live'} HTTP/1.1\r\n${lines.join('')}\r\n`);
    const answer = await readHead(socket);
    if (answer.status !== 101) {
      socket.destroy();
      throw new UpgradeRefused(answer.status, answer.headers, answer.rest.toString());
    }
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (answer.headers['sec-websocket-accept'] !== accept) throw new Error('the server did not prove that it read the key');
    return new LiveClient(socket, answer.headers['sec-websocket-protocol'] ?? '', answer.rest);
  }

  get isJson(): boolean {
    return this.subprotocol === 'tmcp.json.v1';
  }

  /** Sends a value in the encoding of the subprotocol. */
  send(value: unknown): void {
    if (this.isJson) this.frame(opcode.text, Buffer.from(JSON.stringify(value)));
    else this.frame(opcode.binary, encode(value, { ignoreUndefined: true }));
  }

  /** Sends one frame as it is. */
  frame(op: number, payload: Uint8Array, options: { readonly fin?: boolean; readonly length?: number; readonly rsv?: number } = {}): void {
    this.socket.write(clientFrame(op, payload, options));
  }

  /** Sends a request and gives its id. */
  request(method: string, params: unknown = {}, id: number | string = this.#nextId++): number | string {
    this.send({ jsonrpc: '2.0', id, method, params });
    return id;
  }

  notify(method: string, params: unknown = {}): void {
    this.send({ jsonrpc: '2.0', method, params });
  }

  /** A request and its answer. */
  async call(method: string, params: unknown = {}): Promise<LiveMessage> {
    const id = this.request(method, params);
    return this.find((message) => message.id === id && message.method === undefined);
  }

  /** The first message, seen or yet to come, that `matches`; taken out of `messages`. Rejects when the socket ends before. */
  async find(matches: (message: LiveMessage) => boolean): Promise<LiveMessage> {
    for (;;) {
      const index = this.messages.findIndex(matches);
      if (index >= 0) return this.messages.splice(index, 1)[0] as LiveMessage;
      if (this.socket.closed || this.socket.destroyed)
        throw new Error(`the socket was closed with ${this.#close.code} (${this.#close.reason})`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  event(method: string): Promise<LiveMessage> {
    return this.find((message) => message.method === method);
  }

  /** Resolves when everything sent so far was handled and everything before it answered. Needs an open session. */
  async settled(): Promise<void> {
    await this.call('tween.session.ping');
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const frame = takeFrame(this.#buffer);
      if (frame === undefined) break;
      this.#buffer = frame.rest;
      this.#frame(frame.op, frame.payload);
    }
    this.#wake();
  }

  #frame(op: number, payload: Buffer): void {
    if (op === opcode.ping) {
      this.pings++;
      if (this.answerPings) this.frame(opcode.pong, payload);
    } else if (op === opcode.pong) this.pongs++;
    else if (op === opcode.close)
      this.#close =
        payload.length < 2 ? { code: 1005, reason: '' } : { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
    else this.messages.push((op === opcode.text ? JSON.parse(payload.toString()) : decode(payload)) as LiveMessage);
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

function takeFrame(buffer: Buffer): { op: number; payload: Buffer; rest: Buffer } | undefined {
  if (buffer.length < 2) return undefined;
  let length = (buffer[1] as number) & 0x7f;
  let at = 2;
  if (length === 126) {
    if (buffer.length < 4) return undefined;
    length = buffer.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (buffer.length < 10) return undefined;
    length = Number(buffer.readBigUInt64BE(2));
    at = 10;
  }
  if (buffer.length < at + length) return undefined;
  return { op: (buffer[0] as number) & 15, payload: buffer.subarray(at, at + length), rest: buffer.subarray(at + length) };
}

interface Head {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly rest: Buffer;
}

/** The head of an HTTP answer; for one with a body of told length, the body is `rest`. */
async function readHead(socket: Socket): Promise<Head> {
  let buffer = Buffer.alloc(0);
  for await (const chunk of chunks(socket)) {
    buffer = Buffer.concat([buffer, chunk]);
    const end = buffer.indexOf('\r\n\r\n');
    if (end < 0) continue;
    const [first = '', ...lines] = buffer.subarray(0, end).toString().split('\r\n');
    const headers: Record<string, string> = {};
    for (const line of lines) headers[line.slice(0, line.indexOf(':')).toLowerCase()] = line.slice(line.indexOf(':') + 1).trim();
    const rest = buffer.subarray(end + 4);
    const status = Number(first.split(' ')[1]);
    if (status === 101 || rest.length >= Number(headers['content-length'] ?? 0)) return { status, headers, rest };
  }
  throw new Error(`the connection ended before an answer: ${buffer.toString()}`);
}

/** Chunks as they come, without taking the socket apart when the reader stops. */
async function* chunks(socket: Socket): AsyncGenerator<Buffer> {
  const queue: Buffer[] = [];
  let ended = false;
  let wake = (): void => {};
  const onData = (chunk: Buffer): void => {
    queue.push(chunk);
    wake();
  };
  const onEnd = (): void => {
    ended = true;
    wake();
  };
  socket.on('data', onData).on('close', onEnd).on('error', onEnd);
  try {
    while (!ended || queue.length > 0) {
      const chunk = queue.shift();
      if (chunk !== undefined) yield chunk;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    socket.off('data', onData).off('close', onEnd).off('error', onEnd);
  }
}
