/**
 * The other end of the SDK in memory: sockets that open, carry frames and close as a browser's do, and behind them a small server that
 * speaks the live binding (sessions, resume, events, storage, pushes). Frames go through the real codec. Everything arrives in a later turn.
 */
import { decodeFrame, encodeMsgpack } from '../../../src/protocol/codec.ts';
import { errorEnvelope, eventEnvelope, parseEnvelope, type ParsedItem, resultEnvelope } from '../../../src/protocol/envelope.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { sessionLimits } from '../../../src/protocol/operations/session.ts';
import type { QueuedOp } from '../../../src/client/queue.ts';
import type { SocketConstructor, SocketLike } from '../../../src/client/socket.ts';

type Params = Readonly<Record<string, unknown>>;

/** A request or notification as it arrived. */
export interface Received {
  readonly method: string;
  readonly params: Params;
  readonly id: number | string | undefined;
  readonly socket: PeerSocket;
  answer(result: unknown): void;
  refuse(error: TmcpError): void;
}

/** Answers with what it returns or throws; `undefined` leaves the request without an answer. */
export type Handler = (request: Received) => unknown;

interface Stored {
  readonly value: string | undefined;
  readonly at: number;
  readonly counter: number;
}

interface Session {
  readonly id: string;
  readonly userId: string;
  secret: string;
  seq: number;
  acked: number;
  events: { readonly seq: number; readonly method: string; readonly params: Params }[];
  socket: PeerSocket | undefined;
}

const meta = { requestId: 'req_test', timestamp: '2026-01-01T00:00:00.000Z' };

export class LivePeer {
  readonly WebSocket: SocketConstructor;
  readonly sockets: PeerSocket[] = [];
  readonly received: Received[] = [];
  readonly handlers = new Map<string, Handler>();
  readonly values = new Map<string, Stored>();
  readonly applied = new Set<string>();
  /** What a dialled socket meets: it opens, is refused, or hears nothing at all. */
  network: 'up' | 'down' | 'silent' = 'up';
  /** Tokens that open a session; any when undefined. */
  goodTokens: Set<string> | undefined;
  dbEpoch = 'epoch-1';
  reconnect = { min_ms: 250, jitter_ms: 2_000 };
  inFlight: number = sessionLimits.in_flight;
  /** How many accepted writes of the session were answered. */
  writes = 0;
  readonly #sessions = new Map<string, Session>();
  #count = 0;

  constructor() {
    const peer = this;
    this.WebSocket = class extends PeerSocket {
      constructor(url: string, protocols: string[]) {
        super(peer, url, protocols);
      }
    };
    this.handlers.set('tween.session.ping', () => ({ server_time: meta.timestamp }));
    this.handlers.set('tween.session.refresh', () => ({ expires_at: '2027-01-01T00:00:00.000Z', scopes: ['storage:write'] }));
    this.handlers.set('tween.session.close', ({ socket }) => {
      queueMicrotask(() => socket.cut(1000, ''));
      return { closed: true };
    });
    this.handlers.set('tween.session.ack', ({ params, socket }) => {
      const session = this.#sessionOf(socket);
      session.acked = params['seq'] as number;
      session.events = session.events.filter(({ seq }) => seq > session.acked);
      return { seq: session.acked };
    });
    this.handlers.set('tween.sync.push', ({ params }) => ({ results: (params['ops'] as QueuedOp[]).map((op) => this.apply(op)) }));
    this.handlers.set('tween.storage.get', ({ params }) => this.#get(params['key'] as string));
    this.handlers.set('tween.storage.set', ({ params }) => this.#accept(params, 'set'));
    this.handlers.set('tween.storage.remove', ({ params }) => this.#accept(params, 'remove'));
  }

  /** The socket dialled last. */
  get socket(): PeerSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error('nobody dialled');
    return socket;
  }

  /** What arrived of one method. */
  of(method: string): Received[] {
    return this.received.filter((request) => request.method === method);
  }

  /** Numbers an event of the newest session, keeps it, and sends it where there is a socket. */
  event(method: string, params: Params): number {
    const session = [...this.#sessions.values()].at(-1) as Session;
    const seq = ++session.seq;
    session.events.push({ seq, method, params });
    session.socket?.deliver(eventEnvelope('msgpack', method, params, seq));
    return seq;
  }

  /** Forgets every session, as a server does that was killed. */
  forgetSessions(): void {
    this.#sessions.clear();
  }

  /** Applies an operation as a vault does: once, and the last writer wins. */
  apply(op: QueuedOp): { op_id: string; status: string; version: number } {
    if (this.applied.has(op.op_id)) return { op_id: op.op_id, status: 'duplicate', version: 1 };
    this.applied.add(op.op_id);
    const counter = Number(op.op_id.slice(op.op_id.lastIndexOf(':') + 1));
    const known = this.values.get(op.key);
    const older = known !== undefined && (op.client_timestamp < known.at || (op.client_timestamp === known.at && counter < known.counter));
    if (!older) this.values.set(op.key, { value: op.kind === 'set' ? op.value : undefined, at: op.client_timestamp, counter });
    return { op_id: op.op_id, status: older ? 'conflict' : 'applied', version: 1 };
  }

  dialled(socket: PeerSocket): void {
    this.sockets.push(socket);
    if (this.network === 'up') queueMicrotask(() => socket.isOpened());
    else if (this.network === 'down') queueMicrotask(() => socket.cut(1006, ''));
  }

  closed(socket: PeerSocket): void {
    for (const session of this.#sessions.values()) if (session.socket === socket) session.socket = undefined;
  }

  arrived(socket: PeerSocket, bytes: Uint8Array): void {
    const parsed = parseEnvelope(decodeFrame('msgpack', bytes), 'msgpack');
    if (parsed.kind === 'batch') throw new Error('the SDK sends no batches');
    const request = this.#request(socket, parsed);
    this.received.push(request);
    if (parsed.kind === 'invalid') return;
    const handler = request.method === 'tween.session.open' ? this.#openHandler() : this.handlers.get(request.method);
    try {
      if (handler === undefined) throw new TmcpError('NOT_FOUND', 'There is no such method');
      const result = handler(request);
      if (result instanceof Promise)
        result.then(
          (value) => request.answer(value),
          (error: TmcpError) => request.refuse(error),
        );
      else if (result !== undefined) request.answer(result);
    } catch (error) {
      if (!(error instanceof TmcpError)) throw error;
      request.refuse(error);
    }
  }

  #request(socket: PeerSocket, parsed: ParsedItem): Received {
    const id = parsed.kind === 'request' ? parsed.id : undefined;
    return {
      method: parsed.kind === 'invalid' ? '' : parsed.method,
      params: parsed.kind === 'invalid' ? {} : parsed.params,
      id,
      socket,
      answer: (result) => id !== undefined && socket.deliver(resultEnvelope('msgpack', id, result)),
      refuse: (error) => id !== undefined && socket.deliver(errorEnvelope('msgpack', id, error, meta)),
    };
  }

  #openHandler(): Handler {
    return this.handlers.get('tween.session.open') ?? ((request) => this.open(request));
  }

  /** Opens or resumes, as `tween.session.open` says. `userId` and `extra` change what is answered. */
  open({ params, socket, answer }: Received, userId = '@alice:tween.example', extra: Params = {}): undefined {
    const token = params['token'] as string;
    if (this.goodTokens !== undefined && !this.goodTokens.has(token)) throw new TmcpError('INVALID_TOKEN');
    const resume = params['resume'] as { session: string; secret: string; seq: number } | undefined;
    const known = resume === undefined ? undefined : this.#sessions.get(resume.session);
    const resumed = known !== undefined && known.secret === resume?.secret && known.userId === userId;
    const session = resumed
      ? known
      : { id: `session-${++this.#count}`, userId, secret: '', seq: 0, acked: 0, events: [], socket: undefined as PeerSocket | undefined };
    session.secret = `secret-${++this.#count}`;
    session.socket = socket;
    this.#sessions.set(session.id, session);
    this.writes = 0;
    answer({
      session: session.id,
      secret: session.secret,
      resumed,
      seq: session.seq,
      user_id: userId,
      app_id: 'ma_demo_shop',
      wallet_id: 'tw_1',
      scopes: ['storage:read', 'storage:write'],
      expires_at: '2026-06-01T00:00:00.000Z',
      server_time: meta.timestamp,
      heartbeat_ms: 30_000,
      reconnect: this.reconnect,
      limits: { ...sessionLimits, in_flight: this.inFlight },
      durable: { write: 0, db_epoch: this.dbEpoch },
      node: 'n1',
      ...extra,
    });
    if (resumed)
      for (const { seq, method, params: told } of session.events)
        if (seq > (resume?.seq ?? 0)) socket.deliver(eventEnvelope('msgpack', method, told, seq));
    return undefined;
  }

  #sessionOf(socket: PeerSocket): Session {
    for (const session of this.#sessions.values()) if (session.socket === socket) return session;
    throw new TmcpError('INVALID_TOKEN', 'The session is not open');
  }

  #get(key: string): unknown {
    const value = this.values.get(key)?.value;
    if (value === undefined) throw new TmcpError('KEY_NOT_FOUND');
    return { key, value, created_at: meta.timestamp, updated_at: meta.timestamp, version: 1, metadata: { size_bytes: value.length } };
  }

  #accept(params: Params, kind: 'set' | 'remove'): unknown {
    const { status } = this.apply({ ...(params as unknown as QueuedOp), kind });
    const told = {
      key: params['key'],
      success: true,
      version: 1,
      updated_at: meta.timestamp,
      ...(kind === 'remove' ? { removed: true } : {}),
    };
    const conflict = status === 'conflict' ? { conflict_detected: true, resolution: 'server_wins' } : {};
    return params['durability'] === 'accepted' ? { ...told, ...conflict, durable: false, write: ++this.writes } : { ...told, ...conflict };
  }
}

type Events = {
  open: () => void;
  error: () => void;
  message: (event: { data: unknown }) => void;
  close: (event: { code: number; reason: string }) => void;
};

/** One end of a connection that never leaves the process. */
export class PeerSocket implements SocketLike {
  binaryType = 'blob';
  readonly url: string;
  readonly protocols: readonly string[];
  state: 'connecting' | 'open' | 'closed' = 'connecting';
  /** The client closed it. */
  closedByClient = false;
  readonly #peer: LivePeer;
  readonly #listeners: { [K in keyof Events]: Events[K][] } = { open: [], error: [], message: [], close: [] };

  constructor(peer: LivePeer, url: string, protocols: string[]) {
    this.#peer = peer;
    this.url = url;
    this.protocols = protocols;
    peer.dialled(this);
  }

  addEventListener<K extends keyof Events>(type: K, listener: Events[K]): void {
    this.#listeners[type].push(listener);
  }

  send(data: Uint8Array): void {
    if (this.state === 'connecting') throw new Error('InvalidStateError: the socket is connecting');
    const bytes = data.slice();
    queueMicrotask(() => {
      if (this.state === 'open') this.#peer.arrived(this, bytes);
    });
  }

  close(): void {
    this.closedByClient = true;
    queueMicrotask(() => this.cut(1005, ''));
  }

  /** The connection is there. */
  isOpened(): void {
    if (this.state !== 'connecting') return;
    this.state = 'open';
    for (const listener of this.#listeners.open) listener();
  }

  /** Sends a message to the client. */
  deliver(message: unknown): void {
    const frame = encodeMsgpack(message).slice();
    this.deliverRaw(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength));
  }

  /** Sends anything to the client. */
  deliverRaw(data: unknown): void {
    queueMicrotask(() => {
      if (this.state === 'open') for (const listener of this.#listeners.message) listener({ data });
    });
  }

  /** The connection is closed, by the server or by nobody. */
  cut(code: number, reason = ''): void {
    if (this.state === 'closed') return;
    const failed = this.state === 'connecting';
    this.state = 'closed';
    this.#peer.closed(this);
    if (failed) for (const listener of this.#listeners.error) listener();
    for (const listener of this.#listeners.close) listener({ code, reason });
  }
}

/** Lets everything happen that needs no time to pass. */
export async function turn(): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => setImmediate(resolve));
}
