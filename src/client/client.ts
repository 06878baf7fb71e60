/**
 * The client: one live session that reconnects and resumes, typed calls and events, and writes that survive being offline. It joins
 * the parts: `connection.ts` has the socket, `calls.ts` the calls, `event-feed.ts` the events' numbers, `writer.ts` the offline queue.
 */
import type { EventMethod, InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
import { encodeMsgpack } from '../protocol/codec.ts';
import { limits } from '../protocol/limits.ts';
import { isAffinity } from './affinity.ts';
import { type CallOptions, Calls } from './calls.ts';
import type { ClientOptions, Resync } from './client-options.ts';
import { Connection, type Opened } from './connection.ts';
import type { ClientState } from './connection-state.ts';
import { EventFeed } from './event-feed.ts';
import { type Listener, Listeners, type Report, reporter } from './listeners.ts';
import { MemoryQueue, type QueueStore } from './queue.ts';
import type { ServerMessage } from './server-message.ts';
import type { TokenSource } from './sign-in.ts';
import { platformSocket } from './socket.ts';
import { OfflineWriter } from './writer.ts';

const deviceIds = new RegExp(`^[\\x21-\\x7e]{1,${limits.deviceIdBytes}}$`);
const pingEveryMs = 25_000;
const pingWithinMs = 15_000;
const closeWithinMs = 2_000;

export class Client {
  readonly #token: TokenSource;
  readonly #report: Report;
  readonly #events: Listeners;
  readonly #own: Listeners;
  readonly #queue: QueueStore;
  readonly #calls: Calls;
  readonly #feed: EventFeed;
  readonly #connection: Connection;
  /** Writes that work offline and are kept until the server has them durable. */
  readonly storage: OfflineWriter;
  #ping: ReturnType<typeof setInterval> | undefined;
  /** The session just opened follows one that could not be resumed. */
  #resync = false;
  /** Counts `goOffline`, so that a `connect` from before it gives up. */
  #offlines = 0;
  #ended: Error | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: ClientOptions) {
    const { url, token, deviceId, affinity, queue = new MemoryQueue(), queueBounds, writes = 'durable' } = options;
    if (!deviceIds.test(deviceId))
      throw new TypeError(`deviceId must be 1 to ${limits.deviceIdBytes} printable ASCII characters without spaces`);
    if (affinity !== undefined && !isAffinity(affinity))
      throw new TypeError('affinity must be what a client told: two characters of a to z and 2 to 7');
    this.#token = token;
    this.#queue = queue;
    this.#report = reporter(options.onError);
    this.#events = new Listeners(this.#report);
    this.#own = new Listeners(this.#report);
    this.#calls = new Calls(options.timeoutMs ?? 30_000);
    this.#feed = new EventFeed((seq) => this.#connection.send(encodeMsgpack({ method: 'tween.session.ack', params: { seq } })));
    this.#connection = new Connection(
      { url, token, deviceId, affinity, Socket: options.WebSocket ?? platformSocket(), client: options.client, report: this.#report },
      {
        seq: () => this.#feed.seq,
        opened: (session, fresh) => this.#opened(session, fresh),
        message: (message) => this.#message(message),
        lost: (tooLarge) => this.#lost(tooLarge),
        ended: (reason) => this.#end(reason),
        state: (now) => this.#state(now),
      },
    );
    this.storage = new OfflineWriter({
      deviceId,
      queue,
      mode: writes,
      ...(queueBounds === undefined ? {} : { bounds: queueBounds }),
      online: () => this.state === 'open',
      call: (method, params) => this.call(method, params, { repeat: false }),
      report: this.#report,
    });
  }

  get state(): ClientState {
    return this.#connection.state;
  }

  /** What the server told at the last open; undefined before the first. Its resume secret is left out. */
  get session(): Omit<Opened, 'secret'> | undefined {
    const { session } = this.#connection;
    if (session === undefined) return undefined;
    const { secret: _, ...told } = session;
    return told;
  }

  /**
   * Which share of the users a balancer counts this one to, as the server told; undefined before the first open, unless it was given. The
   * client adds it to the address at every dial. It names nobody and opens nothing, so an app may keep it where it likes.
   */
  get affinity(): string | undefined {
    return this.#connection.affinity;
  }

  /**
   * Connects; resolves when the session is open, also when it was. Errors: the queue cannot be loaded; the server refused for good, or the
   * client is closed; `goOffline` was called meanwhile. A server that is away is no error: it goes on trying.
   */
  async connect(): Promise<void> {
    const offlines = this.#offlines;
    await this.storage.load();
    if (this.#closing !== undefined || this.#ended !== undefined) throw this.#ended ?? new Error('the client was closed');
    if (offlines !== this.#offlines) throw wentOffline();
    this.#connection.start();
    await this.#whenOpen();
  }

  /** Ends the session and the client; what is queued stays in the queue's store, which is closed. Calls under way are rejected. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Drops the socket as a network loss would; the session can be resumed. For tests and for saving power. */
  disconnect(): void {
    this.#connection.drop();
  }

  /** Stays offline until `connect` is called: what airplane mode does. */
  goOffline(): void {
    this.#offlines++;
    this.#connection.goOffline();
  }

  /**
   * Calls an operation. Errors: `TmcpError` with the server's code; `ConnectionLostError` and `CallTimeoutError`: it is not known whether it
   * took effect; the signal's reason.
   */
  call<M extends MethodName>(method: M, params: InputOf<M>, options: CallOptions = {}): Promise<OutputOf<M>> {
    return this.#calls.start(method, params, options);
  }

  /** Listens for the client's state, for `resync` (read afresh what is shown), or for a server event, newer servers' included. Returns how to stop. */
  on(name: 'state', listener: (now: ClientState) => unknown): () => void;
  on(name: 'resync', listener: (why: Resync) => unknown): () => void;
  on<T = unknown>(name: EventMethod | `${string}.${string}`, listener: (params: T, seq: number) => unknown): () => void;
  on(name: string, listener: Listener): () => void {
    return (name === 'state' || name === 'resync' ? this.#own : this.#events).add(name, listener);
  }

  /** Resolves at the next event of `method` that `matches` accepts. Errors: none came in time; what `matches` throws. */
  next<T>(method: EventMethod | `${string}.${string}`, matches: (params: T) => boolean = () => true, timeoutMs = 30_000): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        stop();
        then();
      };
      const stop = this.on<T>(method, (params) => {
        try {
          if (matches(params)) settle(() => resolve(params));
        } catch (error) {
          settle(() => reject(error));
        }
      });
      const timer = setTimeout(() => settle(() => reject(new Error(`no ${method} within ${timeoutMs} ms`))), timeoutMs);
    });
  }

  // --- what the connection says -------------------------------------------------------------------------------------------------

  #opened(session: Opened, fresh: boolean): void {
    const { seq } = this.#feed;
    // A count that went back is not the one we know, whatever `resumed` says.
    const wentBack = session.resumed && session.seq < seq;
    this.#resync = fresh || wentBack;
    this.#feed.begin(session.resumed ? Math.min(seq, session.seq) : 0);
    this.#ping = setInterval(() => void this.#heartbeat(), pingEveryMs);
    (this.#ping as { unref?: () => void }).unref?.();
    this.storage.opened(session);
    // Last, because it sends, and a socket that fails then is lost in here.
    this.#calls.opened((frame) => this.#connection.send(frame), session.limits);
  }

  #lost(tooLarge: boolean): void {
    this.#rest();
    this.#calls.lost(tooLarge);
  }

  #end(reason: Error): void {
    this.#ended = reason;
    this.#calls.end(reason);
    this.#rest();
    this.storage.ended(reason);
  }

  #rest(): void {
    clearInterval(this.#ping);
    this.#feed.pause();
    this.storage.lost();
  }

  #state(now: ClientState): void {
    this.#own.emit('state', now);
    if (now !== 'open' || !this.#resync) return;
    this.#resync = false;
    this.#own.emit('resync', { reason: 'session' } satisfies Resync);
  }

  #message(message: ServerMessage): void {
    if (message.kind === 'event') this.#event(message);
    else if (message.kind === 'refusal' && (message.id === null || message.id === undefined)) this.#report(message.error);
    else this.#calls.answer(message);
  }

  #event({ method, params, seq }: Extract<ServerMessage, { readonly kind: 'event' }>): void {
    const taken = this.#feed.take(seq);
    if (taken === 'invalid') this.#report(new Error(`the server sent ${method} without a number`));
    if (taken === 'gap') this.#own.emit('resync', { reason: 'gap' } satisfies Resync);
    if (taken === 'new' || taken === 'gap') {
      const number = seq as number;
      this.#ownEvent(method, params, number);
      this.#events.emit(method, params, number);
    }
    this.#feed.handled();
  }

  #ownEvent(method: string, params: unknown, seq: number): void {
    if (method === 'tween.session.durable') this.storage.durable(params, seq);
    else if (method === 'tween.session.expiring') void this.#refresh();
    else if (method === 'tween.session.draining')
      this.#connection.comeBackAfter((params as { readonly reconnect_after_ms?: unknown }).reconnect_after_ms);
  }

  // --- the session's upkeep -----------------------------------------------------------------------------------------------------

  /** Asks for a sign of life. What browsers call open may be long gone. */
  async #heartbeat(): Promise<void> {
    const secret = this.#connection.session?.secret;
    try {
      await this.call('tween.session.ping', {}, { timeoutMs: pingWithinMs });
    } catch {
      // Only for the connection that was asked: a later one is another.
      if (this.state === 'open' && this.#connection.session?.secret === secret) this.#connection.drop();
    }
  }

  async #refresh(): Promise<void> {
    try {
      const token = await this.#token(true);
      this.#connection.refreshed(await this.call('tween.session.refresh', { token }));
    } catch (error) {
      // The server closes with 4401 when the old token dies; the next connection then asks for a new one again.
      this.#connection.renewToken();
      if (this.state === 'open') this.#report(error);
    }
  }

  async #close(): Promise<void> {
    // An answer says that the session is gone for others as well; without one it ends by itself.
    if (this.state === 'open') await this.call('tween.session.close', {}, { timeoutMs: closeWithinMs }).catch(() => {});
    this.#connection.end('stop', new Error('the client was closed'));
    await this.storage.stop();
    await this.#queue.close();
  }

  #whenOpen(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        if (this.state === 'open') resolve();
        else if (this.state === 'closed') reject(this.#ended ?? new Error('the client was closed'));
        else if (this.state === 'idle') reject(wentOffline());
        else return false;
        return true;
      };
      if (look()) return;
      const stop = this.on('state', () => {
        if (look()) stop();
      });
    });
  }
}

function wentOffline(): Error {
  return new Error('the client went offline');
}

/** A client that is not connected yet; call `connect`. */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}
