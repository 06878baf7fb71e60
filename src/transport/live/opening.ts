/**
 * `tween.session.open`: verifies the token, then finds the session to go on with or makes a new one. The secret of a session is
 * changed only in the same turn in which the answer leaves, so a socket that dies meanwhile costs nobody a session.
 * Rules: docs/spec/session.md, [LIVE2], [LIVE15] to [LIVE19].
 */
import type { Principal, ResumeRecord } from '../../actors/ports.ts';
import { shardOf } from '../../actors/runtime/slots.ts';
import { newId, newSecret } from '../../ids.ts';
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { sessionLimits } from '../../protocol/operations/session.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { SessionAudit } from './options.ts';
import { ReplayBuffer } from './replay-buffer.ts';
import { hashSecret, isSecret } from './secrets.ts';
import { Session, type SessionSocket } from './session.ts';
import type { SessionHub } from './session-hub.ts';

type Input = InputOf<'tween.session.open'>;
type Result = OutputOf<'tween.session.open'>;
type Resume = NonNullable<Input['resume']>;

/** How clients that lose their sockets all at once are spread. */
const reconnect = { min_ms: 250, jitter_ms: 2_000 };

/** An open that went well: the answer, and then the events the client missed. */
export interface Opened {
  readonly session: Session;
  readonly result: Result;
}

export class Opening {
  readonly #hub: SessionHub;

  constructor(hub: SessionHub) {
    this.#hub = hub;
  }

  /**
   * Opens a session for a socket. Undefined when the socket went away meanwhile. Errors: `INVALID_TOKEN`; `SERVICE_UNAVAILABLE`
   * while the node drains or is too busy. When it resolves the session has the socket and the caller must send the answer at once.
   */
  async open(socket: SessionSocket, input: Input): Promise<Opened | undefined> {
    const { options } = this.#hub;
    const busy = options.load?.admission.closedTo('entry');
    if (busy !== undefined) throw busy;
    const began = options.clock.monotonic();
    const token = input.token ?? socket.token;
    if (token === undefined) throw new TmcpError('INVALID_TOKEN');
    const principal = await options.verifier.verify(token);
    const deviceId = input.device?.id ?? '';
    const found =
      input.resume === undefined || !socket.isLive ? undefined : await this.#resumable(input.resume, principal, deviceId, socket);
    // From here on nothing waits: what is checked now holds when the answer leaves.
    const refusal = this.#lateRefusal(principal, began);
    if (!socket.isLive || refusal !== undefined) {
      // The session was found and not used: it goes back to waiting for its client.
      if (found?.phase === 'detached') this.#hub.keep(found);
      if (refusal !== undefined) throw refusal;
      return undefined;
    }
    return this.#begin(socket, principal, deviceId, found, input.resume);
  }

  /** What may have happened while the token was verified and the session looked up. */
  #lateRefusal(principal: Principal, began: number): TmcpError | undefined {
    if (this.#hub.drainSpreadMs !== undefined) return new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 });
    const withdrawn = principal.expiresAt <= this.#hub.options.clock.now() || this.#hub.revokedSince(principal, began);
    return withdrawn ? new TmcpError('INVALID_TOKEN') : undefined;
  }

  #begin(socket: SessionSocket, principal: Principal, deviceId: string, found: Session | undefined, resume: Resume | undefined): Opened {
    const { clock, node, dbEpoch } = this.#hub.options;
    const session = found ?? new Session(this.#newSessionId(), principal, deviceId);
    const secret = newSecret();
    session.secretHash = hashSecret(secret);
    if (found === undefined) {
      this.#hub.happen(session, undefined, 'opened');
      this.#hub.add(session);
    } else {
      this.#hub.happen(session, undefined, 'resumed');
      session.generation++;
      session.identify(principal);
      this.#hub.options.onResumed?.(session.id, session.generation);
      session.events.rewind(resume?.seq ?? 0);
    }
    this.#hub.attach(session, socket);
    const result = {
      session: session.id,
      secret,
      resumed: found !== undefined,
      seq: session.events.seq,
      user_id: principal.userId,
      app_id: principal.appId,
      wallet_id: principal.walletId,
      scopes: [...principal.scopes],
      expires_at: toIso(principal.expiresAt),
      server_time: toIso(clock.now()),
      heartbeat_ms: limits.pingEveryMs,
      reconnect,
      limits: sessionLimits,
      durable: { write: session.watermark.mark, db_epoch: dbEpoch },
      node,
      affinity: shardOf(principal.userId),
    };
    return { session, result };
  }

  /** The id also names the node that has the session, for whoever resumes it elsewhere. */
  #newSessionId(): string {
    const { home } = this.#hub.options;
    return home === undefined ? newId('session') : `${newId('session')}.${home}`;
  }

  /** The session to go on with; undefined: a new one is opened. Errors: `INVALID_TOKEN` for the token of somebody else. */
  async #resumable(resume: Resume, principal: Principal, deviceId: string, socket: SessionSocket): Promise<Session | undefined> {
    const local = this.#hub.find(resume.session);
    return local === undefined
      ? this.#fromStore(resume, principal, deviceId, socket)
      : this.#here(local, resume, principal, deviceId, socket);
  }

  async #here(
    session: Session,
    resume: Resume,
    principal: Principal,
    deviceId: string,
    socket: SessionSocket,
  ): Promise<Session | undefined> {
    const refusal = judge(session.secretHash, session.principal, session.deviceId, resume, principal, deviceId);
    if (refusal !== undefined) return this.#refuse(refusal, resume.session, principal, socket);
    const hash = session.secretHash;
    if (session.phase === 'detached' && !(await this.#hub.kept.claim(session))) {
      this.#hub.happen(session, undefined, 'taken');
      return undefined;
    }
    // Somebody may have resumed it with the same secret while the record was claimed.
    if (session.secretHash !== hash) return this.#refuse('secret', resume.session, principal, socket);
    if (session.phase !== 'open' && session.phase !== 'detached') return undefined;
    if (session.events.after(resume.seq) !== undefined) return session;
    // Its events are gone: the session ends, and with it the socket that it may still have.
    this.#hub.replace(session, 'replaced by a resume');
    return undefined;
  }

  async #fromStore(resume: Resume, principal: Principal, deviceId: string, socket: SessionSocket): Promise<Session | undefined> {
    const record = await this.#hub.kept.takeForeign(resume.session, hashSecret(resume.secret));
    // Nothing to tell anybody: a client that was away for longer than the window looks like this.
    if (record === undefined) return undefined;
    const refusal = judge(record.secretHash, record, record.deviceId, resume, principal, deviceId);
    if (refusal !== undefined) {
      this.#hub.kept.giveBack(record);
      return this.#refuse(refusal, resume.session, principal, socket);
    }
    const events = bufferOf(record);
    if (record.gap || events.after(resume.seq) === undefined) return undefined;
    // An event that this node heard before the session came, and its former node had not heard when it wrote the record, would be skipped.
    if (this.#hub.options.trail?.missed(record) === true) return undefined;
    const session = new Session(record.session, principal, record.deviceId, events, record.generation);
    session.phase = 'detached';
    session.secretHash = record.secretHash;
    session.seen = record.seen;
    this.#hub.add(session);
    return session;
  }

  #refuse(reason: SessionAudit['reason'], session: string, principal: Principal, socket: SessionSocket): undefined {
    const { audit, log } = this.#hub.options;
    const { userId, appId } = principal;
    log.warn(
      { event: 'session.resume_refused', reason, sessionId: session, userId, appId, clientIp: socket.ip },
      'refused to resume a session',
    );
    audit?.({ type: 'session.resume_refused', reason, session, userId, appId, ip: socket.ip });
    if (reason === 'owner') throw new TmcpError('INVALID_TOKEN');
    return undefined;
  }
}

/** Who asks is looked at only after the secret was right: a wrong one tells nothing about the session. */
function judge(
  secretHash: string,
  owner: Pick<Principal, 'userId' | 'appId'>,
  ownerDevice: string,
  resume: Resume,
  principal: Principal,
  deviceId: string,
): SessionAudit['reason'] | undefined {
  if (!isSecret(resume.secret, secretHash)) return 'secret';
  if (owner.userId !== principal.userId || owner.appId !== principal.appId) return 'owner';
  return ownerDevice === deviceId ? undefined : 'device';
}

function bufferOf(record: ResumeRecord): ReplayBuffer {
  const events = record.events.map(({ seq, method, params }) => ({
    seq,
    method,
    params: params as Readonly<Record<string, unknown>>,
    bytes: JSON.stringify(params).length + method.length + 16,
  }));
  return new ReplayBuffer(record.seq, events);
}
