/**
 * The state of one session: who it is, its numbers, its events, and the socket it has at the moment. Data; `SessionHub` moves it
 * along. Kept small: an idle node is mostly these.
 */
import type { Principal } from '../../actors/ports.ts';
import type { SessionPhase } from './lifecycle.ts';
import type { LiveSocket } from './live-socket.ts';
import { ReplayBuffer } from './replay-buffer.ts';
import { Watermark } from './watermark.ts';

/** A socket whose session, once it is open, is one of these. */
export type SessionSocket = LiveSocket<Session>;

export class Session {
  readonly id: string;
  /** SHA-256 of the resume secret, base64url. */
  secretHash: string;
  principal: Principal;
  readonly deviceId: string;
  /** How often it was resumed. */
  generation: number;
  phase: SessionPhase = 'opening';
  socket: SessionSocket | undefined;
  readonly events: ReplayBuffer;
  #watermark: Watermark | undefined;
  /** Whether the client was told that its token expires soon. */
  expiryTold = false;
  /** Wall time at which a session without a socket is let go. */
  keptUntil = 0;
  /** Whether a resume record of this session lies in the store. */
  stored: boolean | 'perhaps' = false;
  /** The last thing that is done with the store for this session; each waits for the one before. */
  storing: Promise<void> | undefined;
  /** Events up to these numbers of their publishers came with the session from its former node. */
  seen: Readonly<Record<string, number>> | undefined;
  /** A new record is due: events came in after the last one. */
  storeAgain = false;

  constructor(id: string, principal: Principal, deviceId: string, events = new ReplayBuffer(), generation = 0) {
    this.id = id;
    this.generation = generation;
    this.secretHash = '';
    this.deviceId = deviceId;
    this.events = events;
    this.principal = principal;
    this.identify(principal);
  }

  get watermark(): Watermark {
    this.#watermark ??= new Watermark();
    return this.#watermark;
  }

  /** Takes the caller a token names; the session's own id and device stay. */
  identify(principal: Principal): void {
    const { id: sessionId, generation } = this;
    this.principal = { ...principal, sessionId, generation, ...(this.deviceId === '' ? {} : { deviceId: this.deviceId }) };
    this.expiryTold = false;
  }
}
