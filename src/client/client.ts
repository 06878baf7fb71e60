/**
 * The client: one live session that reconnects and resumes, typed calls and events, and writes that survive being offline.
 * Calls that are safe to repeat (reads, and writes with an idempotency key) are sent again after a lost connection; others
 * reject with `ConnectionLostError`, because whether they took effect is not known.
 */
import type { EventMethod, InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
import { afterClose } from '../protocol/close-codes.ts';
import { decodeFrame, encode } from '../protocol/codec.ts';
import { type ErrorCode, TmcpError } from '../protocol/errors.ts';
import { type ClientState, type ConnectionEvent, nextState, reconnectDelay } from './connection-state.ts';
import { MemoryQueue, type QueueStore } from './queue.ts';
import type { TokenSource } from './sign-in.ts';
import { platformSocket, type SocketConstructor, type SocketLike } from './socket.ts';
import { OfflineWriter } from './writer.ts';

export type { ClientState } from './connection-state.ts';

export interface ClientOptions {
  /** `ws://…/v1/live` or `wss://…/v1/live`. */
  readonly url: string;
  readonly token: TokenSource;
  /** Stable per installation: binds sync cursors and operation ids. */
  readonly deviceId: string;
  readonly queue?: QueueStore;
  readonly WebSocket?: SocketConstructor;
  readonly client?: { readonly name: string; readonly version: string };
  /** Default deadline of a call, ms; 30,000 when left out. */
  readonly timeoutMs?: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** Send again after a lost connection; by default for reads and for inputs with an idempotency key. */
  readonly repeat?: boolean;
}

/** The connection went away before the answer, and the call is not safe to repeat: its outcome is unknown. */
export class ConnectionLostError extends Error {
  constructor(method: string) {
    super(`the connection was lost before ${method} was answered`);
    this.name = 'ConnectionLostError';
  }
}

interface Pending {
  readonly method: string;
  readonly params: unknown;
  readonly repeat: boolean;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  sent: boolean;
}

interface Opened {
  readonly session: string;
  readonly secret: string;
  readonly resumed: boolean;
  readonly seq: number;
  readonly reconnect: { readonly min_ms: number; readonly jitter_ms: number };
  readonly expires_at: string;
}

type Listener = (params: never, seq: number) => void;

const readMethods = /\.(get[A-Z]?\w*|list|batchGet|usage|pull|status|ping)$/;
/** Calls that wait for a connection; past this a call is refused at once. */
const maxPending = 10_000;
const pingEveryMs = 25_000;

export class Client {
  readonly #options: ClientOptions;
  readonly #Socket: SocketConstructor;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #pending = new Map<number, Pending>();
  readonly #queue: QueueStore;
  /** Writes that work offline and are kept until the server has them durable. */
  readonly storage: OfflineWriter;
  #state: ClientState = 'idle';
  #socket: SocketLike | undefined;
  #nextId = 1;
  #opened: Opened | undefined;
  #seq = 0;
  #tries = 0;
  #hint = { minMs: 500, jitterMs: 1_000 };
  #renewToken = false;
  #refusedOnce = false;
  #delay: ReturnType<typeof setTimeout> | undefined;
  #ping: ReturnType<typeof setInterval> | undefined;
  #closeReason: Error | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#Socket = options.WebSocket ?? platformSocket();
    this.#queue = options.queue ?? new MemoryQueue();
    this.storage = new OfflineWriter({
      deviceId: options.deviceId,
      queue: this.#queue,
      online: () => this.#state === 'open',
      call: (method, params) => this.call(method, params),
    });
    this.on('tween.session.draining', (params: { readonly reconnect_after_ms: number }) => {
      this.#hint = { minMs: Math.max(1, params.reconnect_after_ms), jitterMs: 0 };
    });
    this.on('tween.session.expiring', () => void this.#refresh());
  }

  get state(): ClientState {
    return this.#state;
  }

  /** What the server told at open; undefined before. `secret` is left out. */
  get session(): Omit<Opened, 'secret'> | undefined {
    return this.#opened;
  }

  /** Connects and resolves when the session is open. Rejects when the server refuses the token for good. */
  async connect(): Promise<void> {
    await this.storage.start();
    this.#move('start');
    if (this.#state === 'connecting') this.#dial();
    await this.#reached('open');
  }

  /** Ends the session; what is queued stays in the queue's store. */
  async close(): Promise<void> {
    if (this.#state === 'open') await this.call('tween.session.close', {}, { timeoutMs: 2_000 }).catch(() => {});
    this.#stop('stop', new Error('the client was closed'));
    await this.storage.stop();
    await this.#queue.close();
  }

  /** Drops the socket as a network loss would; the session can be resumed. For tests and for saving power. */
  disconnect(): void {
    this.#socket?.close();
  }

  /** Stays offline until `connect` is called: what airplane mode does. */
  goOffline(): void {
    const socket = this.#socket;
    this.#forgetSocket();
    socket?.close();
    this.#state = 'idle';
    clearTimeout(this.#delay);
    this.#emit('state', this.#state);
    this.#loseCalls();
  }

  /** Calls an operation. Errors: `TmcpError` with the server's code; `ConnectionLostError`; the signal's reason. */
  call<M extends MethodName>(method: M, params: InputOf<M>, options: CallOptions = {}): Promise<OutputOf<M>> {
    if (this.#state === 'closed') return Promise.reject(this.#closeReason ?? new Error('the client is closed'));
    if (this.#pending.size >= maxPending) return Promise.reject(new TmcpError('SERVICE_UNAVAILABLE', 'too many calls wait for a connection', { retryAfter: 1 }));
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    const id = this.#nextId++;
    return new Promise<OutputOf<M>>((resolve, reject) => {
      const timer = setTimeout(() => settle(() => reject(new TmcpError('SERVICE_UNAVAILABLE', `${method} was not answered in time`))), options.timeoutMs ?? this.#options.timeoutMs ?? 30_000);
      const onAbort = (): void => settle(() => reject(signal?.reason as Error));
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
        then();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const keyed = (params as { readonly idempotency_key?: string }).idempotency_key !== undefined;
      const pending: Pending = {
        method,
        params,
        repeat: options.repeat ?? (keyed || readMethods.test(method)),
        resolve: (result) => settle(() => (resolve as (value: unknown) => void)(result)),
        reject: (error) => settle(() => reject(error)),
        sent: false,
      };
      this.#pending.set(id, pending);
      if (this.#state === 'open') this.#transmit(id, pending);
    });
  }

  /** Listens for a server event, or for `state`. Returns how to stop. */
  on(method: EventMethod | 'state' | 'resync', listener: Listener): () => void {
    const set = this.#listeners.get(method) ?? new Set<Listener>();
    set.add(listener);
    this.#listeners.set(method, set);
    return () => set.delete(listener);
  }

  /** Resolves at the next event of `method` that `matches` accepts. */
  next<T>(method: EventMethod, matches: (params: T) => boolean = () => true, timeoutMs = 30_000): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`no ${method} within ${timeoutMs} ms`));
      }, timeoutMs);
      const stop = this.on(method, (params: T) => {
        if (!matches(params)) return;
        clearTimeout(timer);
        stop();
        resolve(params);
      });
    });
  }

  // --- connection -----------------------------------------------------------------------------------------------------------

  #dial(): void {
    const socket = new this.#Socket(this.#options.url, ['tmcp.msgpack.v1']);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const mine = (): boolean => this.#socket === socket;
    socket.addEventListener('open', () => {
      if (!mine()) return;
      this.#move('connected');
      void this.#open(socket).catch((error: unknown) => this.#openFailed(socket, error));
    });
    socket.addEventListener('message', (event) => {
      if (mine()) this.#receive(new Uint8Array(event.data as ArrayBuffer));
    });
    socket.addEventListener('error', () => {});
    socket.addEventListener('close', (event) => {
      if (mine()) this.#lost(event.code, event.reason);
    });
  }

  async #open(socket: SocketLike): Promise<void> {
    const token = await this.#options.token(this.#renewToken);
    this.#renewToken = false;
    const id = this.#nextId++;
    const resume = this.#opened === undefined ? {} : { resume: { session: this.#opened.session, secret: this.#opened.secret, seq: this.#seq } };
    const opened = await new Promise<Opened>((resolve, reject) => {
      this.#pending.set(id, { method: 'tween.session.open', params: {}, repeat: false, resolve: resolve as (result: unknown) => void, reject, sent: true });
      const params = { token, device: { id: this.#options.deviceId }, ...resume, ...(this.#options.client === undefined ? {} : { client: this.#options.client }) };
      socket.send(encode('msgpack', { id, method: 'tween.session.open', params }) as Uint8Array);
    }).finally(() => this.#pending.delete(id));
    if (this.#socket !== socket) return;
    const fresh = !opened.resumed && this.#opened !== undefined;
    if (!opened.resumed) this.#seq = 0;
    this.#opened = opened;
    this.#refusedOnce = false;
    this.#tries = 0;
    this.#hint = { minMs: opened.reconnect.min_ms, jitterMs: opened.reconnect.jitter_ms };
    this.#move('opened');
    this.#ping = setInterval(() => void this.call('tween.session.ping', {}, { timeoutMs: pingEveryMs, repeat: false }).catch(() => socket.close()), pingEveryMs);
    (this.#ping as { unref?: () => void }).unref?.();
    if (fresh) this.#emit('resync', {});
    for (const [waitingId, pending] of this.#pending) this.#transmit(waitingId, pending);
    this.storage.flushSoon();
  }

  /** A refused open: with a token that was just renewed there is no point in trying again. */
  #openFailed(socket: SocketLike, error: unknown): void {
    if (this.#socket !== socket) return;
    const refused = error instanceof TmcpError && !error.retryable;
    if (refused && this.#refusedOnce) this.#stop('refused', error);
    else {
      this.#refusedOnce = refused;
      this.#renewToken = true;
      socket.close();
    }
  }

  async #refresh(): Promise<void> {
    try {
      const token = await this.#options.token(true);
      await this.call('tween.session.refresh', { token }, { repeat: false });
    } catch {
      // The server closes with 4401 when the old token dies; the reconnect asks for a new one again.
      this.#renewToken = true;
    }
  }

  #transmit(id: number, pending: Pending): void {
    if (pending.sent) return;
    pending.sent = true;
    this.#socket?.send(encode('msgpack', { id, method: pending.method, params: pending.params }) as Uint8Array);
  }

  #receive(bytes: Uint8Array): void {
    const message = decodeFrame('msgpack', bytes) as {
      id?: number | null;
      result?: unknown;
      error?: { message: string; data: { code: ErrorCode; retry_after?: number; details?: Record<string, unknown> } };
      method?: EventMethod;
      params?: unknown;
      seq?: number;
    };
    if (message.method !== undefined) {
      if (message.seq !== undefined) this.#seq = message.seq;
      this.#emit(message.method, message.params, message.seq);
      if (message.seq !== undefined) this.#socket?.send(encode('msgpack', { method: 'tween.session.ack', params: { seq: message.seq } }) as Uint8Array);
      return;
    }
    const pending = this.#pending.get(message.id ?? -1);
    if (pending === undefined) return;
    if (message.error === undefined) pending.resolve(message.result);
    else {
      const { code, retry_after, details } = message.error.data;
      pending.reject(new TmcpError(code, message.error.message, { ...(retry_after === undefined ? {} : { retryAfter: retry_after }), ...(details === undefined ? {} : { details }) }));
    }
  }

  #lost(code: number, reason: string): void {
    const wasOpening = this.#state === 'opening';
    this.#forgetSocket();
    const reaction = afterClose(code);
    if (reaction === 'stop') {
      this.#stop('refused', new Error(`the server closed the session with ${code}${reason === '' ? '' : ` (${reason})`}`));
      return;
    }
    if (reaction === 'refresh-token') this.#renewToken = true;
    if (wasOpening) this.#renewToken = true;
    this.#loseCalls();
    this.#move('lost');
    if (this.#state !== 'waiting') return;
    const delay = reaction === 'wait' ? 60_000 : reconnectDelay(this.#tries++, this.#hint, Math.random());
    this.#delay = setTimeout(() => {
      this.#move('delayOver');
      if (this.#state === 'connecting') this.#dial();
    }, delay);
  }

  #loseCalls(): void {
    for (const pending of [...this.#pending.values()]) {
      if (pending.repeat) pending.sent = false;
      else if (pending.sent) pending.reject(new ConnectionLostError(pending.method));
    }
  }

  #forgetSocket(): void {
    this.#socket = undefined;
    clearInterval(this.#ping);
  }

  #stop(event: 'stop' | 'refused', reason: Error): void {
    this.#closeReason = reason;
    clearTimeout(this.#delay);
    const socket = this.#socket;
    this.#forgetSocket();
    socket?.close();
    this.#move(event);
    for (const pending of [...this.#pending.values()]) pending.reject(reason);
  }

  #move(event: ConnectionEvent): void {
    const next = nextState(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    this.#emit('state', next);
  }

  #reached(state: ClientState): Promise<void> {
    if (this.#state === state) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const stop = this.on('state', (now: ClientState) => {
        if (now === state) {
          stop();
          resolve();
        } else if (now === 'closed') {
          stop();
          reject(this.#closeReason ?? new Error('the client was closed'));
        }
      });
    });
  }

  #emit(method: string, params: unknown, seq = 0): void {
    for (const listener of [...(this.#listeners.get(method) ?? [])]) listener(params as never, seq);
  }
}

/** A client that is not connected yet; call `connect`. */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}
