/**
 * One live session over as many sockets as it takes: gets a token, dials, opens or resumes, waits and dials again. Says what happened
 * through its hooks; knows nothing of calls and events. What may happen in which state is the table of `connection-state.ts`.
 */
import type { OutputOf } from '../protocol/catalogue.ts';
import { afterClose, closeCodes } from '../protocol/close-codes.ts';
import { encodeMsgpack } from '../protocol/codec.ts';
import { TmcpError } from '../protocol/errors.ts';
import { limits } from '../protocol/limits.ts';
import { isAffinity, withAffinity } from './affinity.ts';
import { type ClientState, type ConnectionEvent, nextState, reconnectDelay } from './connection-state.ts';
import type { Report } from './listeners.ts';
import { readFrame, type ServerMessage } from './server-message.ts';
import type { TokenSource } from './sign-in.ts';
import type { SocketConstructor, SocketLike } from './socket.ts';
import { within } from './within.ts';

export type Opened = OutputOf<'tween.session.open'>;

export interface ConnectionOptions {
  readonly url: string;
  readonly token: TokenSource;
  readonly deviceId: string;
  /** Of an earlier client of the same user. */
  readonly affinity: string | undefined;
  readonly Socket: SocketConstructor;
  readonly client: { readonly name: string; readonly version: string } | undefined;
  readonly report: Report;
}

export interface ConnectionHooks {
  /** The last event that arrived; a resume goes on after it. */
  seq(): number;
  /** Before `state('open')`. `fresh`: there was a session and it could not be resumed. */
  opened(session: Opened, fresh: boolean): void;
  message(message: ServerMessage): void;
  /** There is no session to send on, for now. `tooLarge`: the server refused the size of a frame. Before `state`. */
  lost(tooLarge: boolean): void;
  /** There will never be one again. Before `state('closed')`. */
  ended(reason: Error): void;
  state(now: ClientState): void;
}

const openId = 'open';
/** A token, and then a session, must be there within this time; the server itself gives a socket 5 s to open. */
const tokenWithinMs = 30_000;
const openWithinMs = 15_000;
/** A session that the server ends sooner than this counts as a failed try, so that it cannot keep a client spinning. */
const stableMs = 5_000;
const floodedMs = 60_000;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #hooks: ConnectionHooks;
  #state: ClientState = 'idle';
  #session: Opened | undefined;
  #affinity: string | undefined;
  /** The last dial heard nothing: the node may be frozen with the balancer none the wiser, so the next one asks for no node in particular. */
  #silent = false;
  #socket: SocketLike | undefined;
  /** Changes whenever what is under way no longer counts. */
  #attempt = 0;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #tries = 0;
  #openedAt = 0;
  #hint = { minMs: 500, jitterMs: 1_000 };
  /** The next try is not before this long after the loss. */
  #notBeforeMs = 0;
  #renewToken = false;
  #refusedOnce = false;

  constructor(options: ConnectionOptions, hooks: ConnectionHooks) {
    this.#options = options;
    this.#affinity = options.affinity;
    this.#hooks = hooks;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** The session, of the last open; undefined before the first. */
  get session(): Opened | undefined {
    return this.#session;
  }

  /** What the next dial tells a balancer. */
  get affinity(): string | undefined {
    return this.#affinity;
  }

  /** Connects where nothing is under way. */
  start(): void {
    const before = this.#state;
    this.#move('start');
    if (before === 'idle' && this.#state === 'connecting') void this.#connect();
  }

  /** Lets the socket go and stays without one until `start`. */
  goOffline(): void {
    this.#letGo();
    this.#move('offline', () => this.#hooks.lost(false));
  }

  /** Lets the socket go as a network loss would. */
  drop(): void {
    if (this.#socket !== undefined) this.#lost(1006, '');
  }

  /** Ends the connection for good. */
  end(event: 'stop' | 'refused', reason: Error): void {
    this.#letGo();
    this.#move(event, () => this.#hooks.ended(reason));
  }

  /** Sends a frame; a socket that cannot take it is dropped. */
  send(frame: Uint8Array): void {
    try {
      this.#socket?.send(frame);
    } catch (error) {
      this.#options.report(error);
      this.drop();
    }
  }

  /** The server said when to come back after the close that follows. */
  comeBackAfter(ms: unknown): void {
    if (typeof ms === 'number' && ms > 0) this.#notBeforeMs = Math.min(ms, floodedMs);
  }

  /** The next connection asks for a new token. */
  renewToken(): void {
    this.#renewToken = true;
  }

  /** What a refresh changed. */
  refreshed(change: Pick<Opened, 'expires_at' | 'scopes'>): void {
    if (this.#session !== undefined) this.#session = { ...this.#session, ...change };
  }

  // --- one try --------------------------------------------------------------------------------------------------------------

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    let token: string;
    try {
      token = await within(tokenWithinMs, 'the token source gave no token', () => this.#options.token(this.#renewToken));
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#options.report(error);
      this.#failed(error);
      return;
    }
    if (attempt !== this.#attempt) return;
    this.#renewToken = false;
    try {
      this.#dial(token);
    } catch (error) {
      // An address that no socket takes stays one.
      this.end('refused', error as Error);
    }
  }

  #dial(token: string): void {
    const affinity = this.#silent ? undefined : this.#affinity;
    this.#silent = false;
    const socket = new this.#options.Socket(withAffinity(this.#options.url, affinity), ['tmcp.msgpack.v1']);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#deadline = setTimeout(() => {
      this.#silent = true;
      this.drop();
    }, openWithinMs);
    const mine = (): boolean => this.#socket === socket;
    socket.addEventListener('open', () => {
      if (mine()) this.#ask(token);
    });
    socket.addEventListener('message', (event) => {
      if (mine()) this.#receive(event.data);
    });
    // A close always follows, and says more.
    socket.addEventListener('error', () => {});
    socket.addEventListener('close', (event) => {
      if (mine()) this.#lost(event.code, event.reason);
    });
  }

  #ask(token: string): void {
    this.#move('connected');
    const { deviceId, client } = this.#options;
    const resume =
      this.#session === undefined ? undefined : { session: this.#session.session, secret: this.#session.secret, seq: this.#hooks.seq() };
    const params = { token, device: { id: deviceId }, resume, client };
    const frame = encodeMsgpack({ id: openId, method: 'tween.session.open', params });
    if (frame.length > limits.frameBytesBeforeOpen)
      this.#failed(new TmcpError('PAYLOAD_TOO_LARGE', 'the token is too long to open a session with'));
    else this.send(frame);
  }

  #receive(data: unknown): void {
    let messages: ServerMessage[];
    try {
      messages = readFrame(data);
    } catch (error) {
      // Was it an event, then the next one shows the gap; was it an answer, then its call runs into its deadline.
      this.#options.report(error);
      return;
    }
    for (const message of messages) {
      if (this.#state === 'open') this.#hooks.message(message);
      else if (this.#state === 'opening' && message.kind !== 'event' && message.id === openId) {
        if (message.kind === 'answer') this.#accept(message.result as Opened);
        else this.#failed(message.error);
      }
    }
  }

  #accept(opened: Opened): void {
    const before = this.#session;
    if (before !== undefined && (before.user_id !== opened.user_id || before.app_id !== opened.app_id)) {
      // What waits to be sent is the first user's.
      this.end(
        'refused',
        new Error(
          `the token is for ${opened.user_id} in ${opened.app_id}, the client was opened for ${before.user_id} in ${before.app_id}`,
        ),
      );
      return;
    }
    clearTimeout(this.#deadline);
    this.#session = opened;
    if (isAffinity(opened.affinity)) this.#affinity = opened.affinity;
    this.#refusedOnce = false;
    this.#openedAt = performance.now();
    this.#hint = { minMs: Math.max(1, opened.reconnect.min_ms), jitterMs: opened.reconnect.jitter_ms };
    this.#move('opened', () => this.#hooks.opened(opened, before !== undefined && !opened.resumed));
  }

  /** There is no session this time. A refusal that a new token does not change is final. */
  #failed(error: unknown): void {
    if (error instanceof TmcpError && !error.retryable) {
      if (this.#refusedAgain(error)) return;
    } else if (error instanceof TmcpError && error.retryAfter !== undefined) {
      // Everybody who was refused at this moment heard the same figure.
      this.comeBackAfter(error.retryAfter * 1_000 + Math.random() * this.#hint.jitterMs);
    }
    this.#lost(1006, '');
  }

  #refusedAgain(error: Error): boolean {
    if (this.#refusedOnce) this.end('refused', error);
    else this.#renewToken = this.#refusedOnce = true;
    return this.#state === 'closed';
  }

  // --- the end of a try -----------------------------------------------------------------------------------------------------

  #lost(code: number, reason: string): void {
    const wasOpen = this.#state === 'open';
    const error = new Error(`the server closed the session with ${code}${reason === '' ? '' : ` (${reason})`}`);
    const reaction = afterClose(code);
    if (reaction === 'stop') {
      this.end('refused', error);
      return;
    }
    if (reaction === 'refresh-token') {
      if (!wasOpen && this.#refusedAgain(error)) return;
      this.#renewToken = true;
    }
    this.#letGo();
    if (wasOpen && (code < 4000 || performance.now() - this.#openedAt >= stableMs)) this.#tries = 0;
    this.#deadline = setTimeout(
      () => {
        this.#move('delayOver');
        void this.#connect();
      },
      this.#delay(reaction === 'wait'),
    );
    this.#tries++;
    this.#notBeforeMs = 0;
    this.#move('lost', () => this.#hooks.lost(code === closeCodes.frameTooLarge));
  }

  #delay(flooded: boolean): number {
    const random = Math.random();
    if (flooded) return floodedMs + random * this.#hint.jitterMs;
    // A first try is made when the server said; it has spread its clients itself.
    if (this.#tries === 0 && this.#notBeforeMs > 0) return this.#notBeforeMs;
    return Math.max(this.#notBeforeMs, reconnectDelay(this.#tries, this.#hint, random));
  }

  /** Nothing that is under way counts any more. */
  #letGo(): void {
    const socket = this.#socket;
    this.#attempt++;
    this.#socket = undefined;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    try {
      socket?.close();
    } catch (error) {
      this.#options.report(error);
    }
  }

  /** Goes to the next state; `first` is told before listeners are. */
  #move(event: ConnectionEvent, first?: () => void): void {
    const next = nextState(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    first?.();
    // A listener, or what was told first, may have moved on.
    if (this.#state === next) this.#hooks.state(next);
  }
}
