/**
 * The sessions of this node: by id, by user, with and without a socket. Carries out what the lifecycle says, delivers events,
 * ends what was revoked. It never decodes a frame. Rules: docs/spec/session.md, [LIVE1] to [LIVE19].
 */
import type { EventStamp, Principal, ResumeRecord, Revocation, UserEvent } from '../../actors/ports.ts';
import { jitter } from '../../ids.ts';
import { type CloseCode, closeCodes } from '../../protocol/close-codes.ts';
import { limits } from '../../protocol/limits.ts';
import { EventFrame } from './event-frame.ts';
import type { SessionHappening } from './lifecycle.ts';
import { KeptSessions, recordOf } from './kept-sessions.ts';
import type { LiveOptions } from './options.ts';
import type { KeptEvent } from './replay-buffer.ts';
import type { Session, SessionSocket } from './session.ts';

/** A revocation that arrived, for opens that began before it did. */
interface Heard {
  readonly revocation: Revocation;
  readonly at: number;
}

const heardKept = 1_000;
/** Nobody comes back sooner than this after a drain. */
const reconnectFloorMs = 100;

/** What the client may read in the close frame; the code says the rest. */
const reasons: Readonly<Partial<Record<CloseCode | 1000, string>>> = {
  [closeCodes.frameTooLarge]: 'frame too large',
  [closeCodes.draining]: 'draining',
  [closeCodes.overloaded]: 'too far behind',
  [closeCodes.protocolViolation]: 'protocol violation',
  [closeCodes.tokenInvalid]: 'token expired or invalid',
  [closeCodes.accessRevoked]: 'access revoked',
  [closeCodes.notOpenedInTime]: 'not opened in time',
  [closeCodes.replaced]: 'replaced by a resume',
  [closeCodes.flooding]: 'flooding',
  [closeCodes.internalFailure]: 'internal failure',
};

export class SessionHub {
  readonly options: LiveOptions;
  readonly kept: KeptSessions;
  /** While the node drains: how far apart its clients are told to come back, ms. */
  drainSpreadMs: number | undefined;
  readonly #sessions = new Map<string, Session>();
  /** Most users have one session, and a set of one costs more than the session's own numbers. */
  readonly #byUser = new Map<string, Session | Set<Session>>();
  /** Sessions without a socket, the one that lost it first in front. */
  readonly #detached = new Set<Session>();
  readonly #unsaid = new Set<Session>();
  #sayAt = Number.NEGATIVE_INFINITY;
  #saying = false;
  #heard: Heard[] = [];
  readonly #unsubscribe: (() => void)[];

  constructor(options: LiveOptions) {
    this.options = options;
    this.kept = new KeptSessions(options, (session) => this.happen(session, undefined, 'taken'));
    this.#unsubscribe = [
      options.bus.subscribe(
        (event, stamp) => this.#publish(event, stamp),
        (userId) => this.#byUser.has(userId),
      ),
      options.revocations.subscribe((revocation) => this.#revoke(revocation)),
    ];
  }

  /** Sessions in memory, with or without a socket. */
  get size(): number {
    return this.#sessions.size;
  }

  get detached(): number {
    return this.#detached.size;
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  /** Takes a new session in; it has no socket yet. A user's session too many ends the oldest one. */
  add(session: Session): void {
    this.#makeRoom(session.principal);
    this.#sessions.set(session.id, session);
    const { userId } = session.principal;
    const own = this.#byUser.get(userId);
    if (own === undefined) this.#byUser.set(userId, session);
    else if (own instanceof Set) own.add(session);
    else this.#byUser.set(userId, new Set([own, session]));
  }

  /** Ends sessions of a user in an app until there is room for one more: first those without a socket, always the oldest. No app can end another's. */
  #makeRoom({ userId, appId }: Principal): void {
    const bound = this.options.maxSessionsPerUser ?? 0;
    if (bound === 0) return;
    const own = [...(this.#ofUser(userId) ?? [])].filter(({ principal }) => principal.appId === appId);
    const byAge = [...own.filter(({ phase }) => phase === 'detached'), ...own.filter(({ phase }) => phase === 'open')];
    for (const session of byAge.slice(0, Math.max(0, own.length - bound + 1))) this.replace(session, 'too many sessions');
  }

  /** Ends a session in favour of another: its socket, if it has one, is closed with 4409, and it cannot be resumed. */
  replace(session: Session, reason: string): void {
    if (session.phase === 'open') {
      this.happen(session, undefined, 'resumed', reason);
      this.happen(session, undefined, 'lost');
    }
    this.happen(session, undefined, 'windowOver');
  }

  /** Sends a peer away that asks too much of a busy node, with a hint when to come back; it may resume. */
  sendAway(session: Session, comeBackMs: number): void {
    const { socket } = session;
    if (socket === undefined) return;
    if (session.phase === 'open' && socket.pausedAt === undefined)
      this.deliver(session, new EventFrame('tween.session.draining', { reconnect_after_ms: comeBackMs }), 'draining');
    this.happen(session, socket, 'slow', 'asking too much of a busy server');
  }

  /** Gives an open session its socket. */
  attach(session: Session, socket: SessionSocket): void {
    this.#detached.delete(session);
    session.socket = socket;
    socket.session = session;
    socket.token = undefined;
    this.scheduleExpiry(session);
  }

  /** Sets when the pulse looks at the session's token again. */
  scheduleExpiry(session: Session): void {
    const { socket, principal } = session;
    if (socket !== undefined) socket.dueAtWall = session.expiryTold ? principal.expiresAt : principal.expiresAt - limits.expiringNoticeMs;
  }

  /** Something happened to a session, or to a socket that has none yet. What the lifecycle says is done before this returns. `reason` stands in a close frame. */
  happen(session: Session | undefined, socket: SessionSocket | undefined, event: SessionHappening, reason?: string): void {
    const { phase, effects } = this.options.lifecycle(session?.phase ?? 'opening', event);
    if (session !== undefined) session.phase = phase;
    for (const effect of effects) {
      switch (effect.type) {
        case 'closeSocket':
          this.#closeSocket(session, session === undefined ? socket : session.socket, effect.code, reason);
          break;
        case 'keep':
          if (session !== undefined) this.keep(session);
          break;
        case 'forget':
          if (session !== undefined) this.#forget(session);
          break;
        case 'announceDrain':
          if (session !== undefined) this.#announceDrain(session);
          break;
      }
    }
  }

  /** A socket was closed, by whichever side. */
  socketClosed(socket: SessionSocket): void {
    socket.release();
    const { session } = socket;
    if (session?.socket !== socket) return;
    session.socket = undefined;
    this.happen(session, undefined, 'lost');
  }

  /**
   * Lets go of a session for a node that resumes it: its socket here is closed with 4409 before the record leaves, so that nothing it still
   * sends is done. Undefined: it is not here, or the secret is another.
   */
  async surrender(id: string, secretHash: string): Promise<ResumeRecord | undefined> {
    const session = this.#sessions.get(id);
    if (session === undefined || session.secretHash !== secretHash) return undefined;
    if (session.phase === 'detached' && !(await this.kept.claim(session))) return undefined;
    // Whoever came first while the record was claimed has it.
    if (this.#sessions.get(id) !== session || session.secretHash !== secretHash) return undefined;
    const record = recordOf(session, this.options);
    this.happen(session, session.socket, 'taken');
    return record;
  }

  /** Events of users who live on other nodes may have been lost: their sessions end, and their clients pull afresh. */
  gap(here: (userId: string) => boolean): void {
    for (const session of [...this.#sessions.values()]) {
      if (!here(session.principal.userId)) this.happen(session, session.socket, 'gap');
    }
  }

  // --- events ---------------------------------------------------------------------------------------------------------------

  /** Numbers an event and sends it, or keeps it for when the socket can take it or the session is resumed. */
  deliver(session: Session, event: EventFrame, key?: string): void {
    const { events, socket } = session;
    const { method, params } = event;
    if (socket !== undefined && socket.pausedAt === undefined && !events.hasUnsent) {
      const frame = event.numbered(socket.format, events.seq + 1);
      events.append(method, params, frame.length);
      events.markSent(events.seq);
      this.send(socket, frame);
      return;
    }
    if (key !== undefined && events.coalesce(method, params, event.bytes, key)) {
      if (socket === undefined) this.kept.outdated(session);
      return;
    }
    const held = events.append(method, params, event.bytes, key);
    if (socket !== undefined) {
      if (!held) this.happen(session, socket, 'slow');
    } else if (held) this.kept.outdated(session);
    // Nobody can resume past dropped events, so there is nothing to keep them for.
    else this.happen(session, undefined, 'windowOver');
  }

  /** Sends what waited for the socket, oldest first, until it is behind again. */
  flush(session: Session): void {
    const { socket } = session;
    if (socket !== undefined) this.sendEvents(session, socket, session.events.unsent());
  }

  /** Sends numbered events, the first of which follows what the peer has. */
  sendEvents(session: Session, socket: SessionSocket, events: readonly KeptEvent[]): void {
    if (events.length === 0) return;
    const { format } = socket;
    socket.cork(() => {
      for (const { seq, method, params } of events) {
        if (socket.pausedAt !== undefined || !socket.isLive) return;
        session.events.markSent(seq);
        this.send(socket, new EventFrame(method, params).numbered(format, seq));
      }
    });
  }

  /** Sends a frame; a peer that is too far behind is closed. */
  send(socket: SessionSocket, frame: Uint8Array | string): void {
    if (socket.send(frame, this.options.clock.monotonic()) === 'slow') this.happen(socket.session, socket, 'slow');
  }

  /** Notes that the session's watermark moved; the event follows within `limits.watermarkEveryMs`. */
  sayDurable(session: Session): void {
    this.#unsaid.add(session);
    if (this.#saying) return;
    this.#saying = true;
    const { clock } = this.options;
    const wait = Math.max(1, this.#sayAt + limits.watermarkEveryMs - clock.monotonic());
    clock.after(Math.ceil(wait), () => {
      this.#saying = false;
      this.#sayAt = clock.monotonic();
      const sessions = [...this.#unsaid];
      this.#unsaid.clear();
      for (const unsaid of sessions) {
        if (unsaid.phase === 'closed') continue;
        const params = { write: unsaid.watermark.mark, db_epoch: this.options.dbEpoch };
        this.deliver(unsaid, new EventFrame('tween.session.durable', params), 'durable');
      }
    });
  }

  #publish(event: UserEvent, stamp?: EventStamp): void {
    const own = this.#ofUser(event.userId);
    if (own === undefined) return;
    const frame = new EventFrame(event.method, event.params);
    // This may run in an actor's turn, which must not see a throw of ours.
    try {
      for (const session of own) {
        if (event.appId !== undefined && event.appId !== session.principal.appId) continue;
        if (event.exceptSession !== undefined && event.exceptSession === session.id) continue;
        // It came with the session's record, and now comes again on a slower way.
        if (stamp !== undefined && session.seen !== undefined && stamp.seq <= (session.seen[stamp.origin] ?? 0)) continue;
        if (event.scopes !== undefined && !event.scopes.some((scope) => session.principal.scopes.has(scope))) continue;
        this.deliver(session, frame, event.key);
      }
    } catch (error) {
      this.options.log.error({ event: 'live.publish_failed', method: event.method, err: error }, 'an event could not be delivered');
    }
  }

  #ofUser(userId: string): Iterable<Session> | undefined {
    const own = this.#byUser.get(userId);
    return own === undefined || own instanceof Set ? own : [own];
  }

  // --- the end of sessions ------------------------------------------------------------------------------------------------------

  /** Lets go of sessions whose resume window is over. `now` is wall time. */
  sweepDetached(now: number): void {
    for (const session of this.#detached) {
      if (session.keptUntil > now && this.#detached.size <= this.options.maxConnections) return;
      this.happen(session, undefined, 'windowOver');
    }
  }

  /** Whether what the principal stands on was withdrawn since `monotonic`: for opens that were under way meanwhile. */
  revokedSince(principal: Principal, monotonic: number): boolean {
    return this.#heard.some(({ revocation, at }) => at >= monotonic && matches(revocation, principal));
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#unsaid.clear();
  }

  #revoke(revocation: Revocation): void {
    this.#heard.push({ revocation, at: this.options.clock.monotonic() });
    if (this.#heard.length > heardKept) this.#heard = this.#heard.slice(heardKept / 2);
    const candidates = revocation.userId === undefined ? this.#sessions.values() : (this.#ofUser(revocation.userId) ?? []);
    for (const session of [...candidates]) {
      if (matches(revocation, session.principal)) this.happen(session, session.socket, 'revoked');
    }
  }

  #closeSocket(
    session: Session | undefined,
    socket: SessionSocket | undefined,
    code: number,
    reason = reasons[code as CloseCode] ?? '',
  ): void {
    if (session !== undefined) session.socket = undefined;
    if (socket === undefined) return;
    this.options.metrics.liveCloses.with(String(code)).inc();
    if (this.options.log.enabled('debug')) {
      this.options.log.debug(
        { event: 'live.closed', closeCode: code, ...(session === undefined ? {} : { sessionId: session.id }) },
        'closed a live socket',
      );
    }
    socket.close(code, reason);
  }

  #announceDrain(session: Session): void {
    const reconnectAfterMs = reconnectFloorMs + Math.floor(jitter() * (this.drainSpreadMs ?? 0));
    this.deliver(session, new EventFrame('tween.session.draining', { reconnect_after_ms: reconnectAfterMs }), 'draining');
  }

  /** Keeps a session without a socket for the resume window, counted from now. */
  keep(session: Session): void {
    session.socket = undefined;
    session.keptUntil = this.options.clock.now() + limits.resumeMs;
    this.#detached.add(session);
    this.kept.put(session);
  }

  #forget(session: Session): void {
    this.#sessions.delete(session.id);
    this.#detached.delete(session);
    this.#unsaid.delete(session);
    const { userId } = session.principal;
    const own = this.#byUser.get(userId);
    if (own instanceof Set) own.delete(session);
    if (own === session || (own instanceof Set && own.size === 0)) this.#byUser.delete(userId);
    // Past its window the record ends by itself, and a taken one is gone; any other must go now.
    if (session.stored) this.kept.remove(session);
  }
}

function matches(revocation: Revocation, principal: Principal): boolean {
  if (revocation.tokenId !== undefined) return revocation.tokenId === principal.tokenId;
  if (revocation.grantId !== undefined) return revocation.grantId === principal.grantId;
  return revocation.userId === principal.userId && (revocation.appId === undefined || revocation.appId === principal.appId);
}
