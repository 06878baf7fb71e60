/**
 * The one owner of a uWebSockets.js socket. Nothing else holds the `ws`; it is let go before it is closed and when it was closed,
 * so a late answer finds nothing to send on. Accounts for what waits to be written: reading stops past 1 MiB, the socket is closed past
 * 8 MiB. Rules: docs/spec/session.md, [LIVE20] to [LIVE24].
 */
import type { WireFormat } from '../../protocol/codec.ts';
import { limits } from '../../protocol/limits.ts';
import type { WebSocket } from '../uws.ts';
import type { Budget } from './budget.ts';

/** The part of a uWebSockets.js socket that is used here. */
export type RawSocket = Pick<WebSocket<unknown>, 'send' | 'end' | 'close' | 'ping' | 'cork' | 'getBufferedAmount'>;

/** What `send` of uWebSockets.js says. */
const sent = 1;
const dropped = 2;

/** A frame that may not be handled yet, as a copy. */
export interface WaitingFrame {
  readonly bytes: Uint8Array;
  readonly isBinary: boolean;
}

export type SendOutcome = 'sent' | 'paused' | 'slow' | 'gone';

const waitingFrames = 64;
const waitingBytes = 2 * limits.frameBytes;

/** `S` is the kind of session; a parameter because a session knows its socket. */
export class LiveSocket<S = unknown> {
  readonly format: WireFormat;
  readonly ip: string;
  /** The session, once it is open. */
  session: S | undefined;
  /** The token of the upgrade, until the session is open. */
  token: string | undefined;
  /** While a token is being verified for `tween.session.open`, later frames wait. */
  verifying = false;
  /** Requests that are running. */
  inFlight = 0;
  /** Monotonic time, as of the last tick of the pulse, at which the peer was last heard. */
  heardAt: number;
  /** Monotonic time at which the pulse must look at this socket again. */
  dueAt = 0;
  /** The same in wall time, for what depends on the token's expiry. */
  dueAtWall = Number.POSITIVE_INFINITY;
  pingAt = 0;
  /** Monotonic time since which reading has stopped; undefined while it goes on. */
  pausedAt: number | undefined;
  controlFrames = 0;
  controlSince = 0;
  framesBeforeOpen = 0;
  failedOpens = 0;
  undecodable: Budget | undefined;
  refusals: Budget | undefined;
  /** Requests turned away because the node was too busy, since `turnedAwaySince`. */
  turnedAway = 0;
  turnedAwaySince = 0;
  /** Of the requests in flight those that are refused and not told so yet. */
  putOff = 0;
  #abandoned: (() => boolean) | undefined;
  #ws: RawSocket | undefined;
  #congested = false;
  #waiting: WaitingFrame[] | undefined;
  #waitingBytes = 0;

  constructor(format: WireFormat, ip: string, now: number) {
    this.format = format;
    this.ip = ip;
    this.heardAt = now;
  }

  /** Takes the socket over. Called once. */
  adopt(ws: RawSocket): void {
    this.#ws = ws;
  }

  /** The socket was closed: it must not be touched again. */
  release(): void {
    this.#ws = undefined;
    this.#waiting = undefined;
  }

  get isLive(): boolean {
    return this.#ws !== undefined;
  }

  /** Whether nobody is there any more to be answered; for requests that wait. Made once a socket. */
  get abandoned(): () => boolean {
    this.#abandoned ??= () => this.#ws === undefined;
    return this.#abandoned;
  }

  /** True while the peer's frames must wait. */
  get isHeld(): boolean {
    return this.pausedAt !== undefined || this.verifying;
  }

  /**
   * Sends a frame. `slow`: the peer is too far behind and must be closed. A frame larger than the bound is let through
   * where nothing else waits, so that one large answer does not end a session that reads. `now` is monotonic.
   */
  send(frame: Uint8Array | string, now: number): SendOutcome {
    const ws = this.#ws;
    if (ws === undefined) return 'gone';
    const before = this.#congested ? ws.getBufferedAmount() : 0;
    if (before > limits.closeAtBufferedBytes) return 'slow';
    const status = ws.send(frame, typeof frame !== 'string');
    if (status === sent) return 'sent';
    if (status === dropped) return 'slow';
    this.#congested = true;
    const waiting = ws.getBufferedAmount();
    if (waiting > limits.closeAtBufferedBytes && before > 0) return 'slow';
    if (waiting > limits.pauseReadAtBytes && this.pausedAt === undefined) this.pausedAt = now;
    return this.pausedAt === undefined ? 'sent' : 'paused';
  }

  /** Bytes that wait to be written. */
  get buffered(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  /** The peer took some bytes. True when reading may go on again. */
  drained(): boolean {
    const waiting = this.buffered;
    if (waiting === 0) this.#congested = false;
    if (this.pausedAt === undefined || waiting > limits.pauseReadAtBytes) return false;
    this.pausedAt = undefined;
    return true;
  }

  ping(): void {
    this.#ws?.ping();
  }

  /** Runs `write` with what it sends put together into few packets. */
  cork(write: () => void): void {
    this.#ws?.cork(write);
  }

  /** Keeps a copy of a frame for later. False: the peer sent more than may wait. `bytes` may be memory of uWebSockets.js. */
  hold(bytes: Uint8Array, isBinary: boolean): boolean {
    this.#waiting ??= [];
    this.#waitingBytes += bytes.byteLength;
    if (this.#waiting.length >= waitingFrames || this.#waitingBytes > waitingBytes) return false;
    this.#waiting.push({ bytes: bytes.slice(), isBinary });
    return true;
  }

  /** The oldest held frame. */
  nextHeld(): WaitingFrame | undefined {
    const frame = this.#waiting?.shift();
    if (frame === undefined) this.#waiting = undefined;
    else this.#waitingBytes -= frame.bytes.byteLength;
    return frame;
  }

  get hasHeld(): boolean {
    return this.#waiting !== undefined && this.#waiting.length > 0;
  }

  /** Closes with a code. The close handler runs before this returns. */
  close(code: number, reason = ''): void {
    const ws = this.#ws;
    this.release();
    ws?.end(code, reason);
  }

  /** Cuts the connection without a close frame, for a peer that is gone. */
  terminate(): void {
    const ws = this.#ws;
    this.release();
    ws?.close();
  }
}
