/**
 * One frame's way: decode, envelope, the operation, encode, send. For an open session and an actor in memory it runs to the end
 * without a promise. It counts what must be counted to close a peer that misbehaves, and leaves closing to the hub.
 * Rules: docs/spec/session.md, [LIVE20] to [LIVE29], [LIVE33] to [LIVE40].
 */
import type { TmcpError as Refusal } from '../../protocol/errors.ts';
import { Overloaded } from '../../actors/runtime/admission.ts';
import type { Call } from '../../actors/runtime/gate.ts';
import { newId } from '../../ids.ts';
import { decodeFrame, encode, UndecodableFrame } from '../../protocol/codec.ts';
import {
  type AnswerEnvelope,
  errorEnvelope,
  type ParsedItem,
  type ParsedNotification,
  type ParsedRequest,
  parseEnvelope,
  type RequestId,
  resultEnvelope,
} from '../../protocol/envelope.ts';
import type { InputOf } from '../../protocol/catalogue.ts';
import { asTmcpError, invalidRequest, rpcCodes, TmcpError } from '../../protocol/errors.ts';
import { issuesOf } from '../../actors/runtime/validators.ts';
import { limits } from '../../protocol/limits.ts';
import { toIso } from '../../protocol/schemas.ts';
import { Batch } from './batch.ts';
import { Budget } from './budget.ts';
import { LateAnswers } from './late-answers.ts';
import { type Method, methodTable } from './method-table.ts';
import { Opening } from './opening.ts';
import type { Pulse } from './pulse.ts';
import type { Session, SessionSocket } from './session.ts';
import type { SessionHub } from './session-hub.ts';
import { SessionOperations } from './session-operations.ts';
import { AcceptedWrite } from './watermark.ts';

/** Frames a socket may spend before it is open: enough to ask for everything once by mistake. */
const framesBeforeOpen = 100;
/** Refused opens of one socket; each costs a signature check. */
const failedOpens = 3;
/** Pings, pongs and `tween.session.ping` of one peer; they cost it nothing and are no use in numbers. */
const controlFrames = 200;
const controlWindowMs = 10_000;
/** Requests of one peer that a busy node refuses at once, within a window; the next ones it refuses after a while. */
const refusedAtOnce = 16;
const refusedWindowMs = 10_000;
/** Seconds. As long as the hint, which grows with the refusals, but not past what clients wait for an answer. */
const longestPutOffS = 5;
/** On the whole node; each takes some hundred bytes. */
const mostPutOff = 100_000;
const openMethod = 'tween.session.open';

/** A refused request that is answered later; without an id it was a notification. */
interface PutOff {
  readonly socket: SessionSocket;
  readonly id: RequestId | undefined;
  readonly batch: Batch | undefined;
  readonly error: Refusal;
  readonly requestId: string;
}

export class FrameHandler {
  readonly #hub: SessionHub;
  readonly #pulse: Pulse;
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #opening: Opening;
  readonly #sessionOperations: SessionOperations;
  readonly #unknown: { inc(): void };
  /** Request ids are this and a count: unique, and cheap for every message that never shows one. */
  readonly #requests = `${newId('req')}.`;
  #count = 0;
  readonly #load: { inFlight: number };
  readonly #late: LateAnswers<PutOff>;

  constructor(hub: SessionHub, pulse: Pulse) {
    this.#hub = hub;
    this.#pulse = pulse;
    this.#methods = methodTable(hub.options.gate, hub.options.metrics);
    this.#opening = new Opening(hub);
    this.#sessionOperations = new SessionOperations(hub);
    this.#load = hub.options.load ?? { inFlight: 0 };
    this.#late = new LateAnswers(hub.options.clock, mostPutOff, (late) => this.#answerLate(late));
    this.#unknown = hub.options.metrics.liveMessages.with('unknown', 'error');
  }

  /** A frame arrived. `bytes` may be memory of uWebSockets.js: it is decoded or copied before this returns. */
  receive(socket: SessionSocket, bytes: Uint8Array, isBinary: boolean): void {
    socket.heardAt = this.#pulse.now;
    if (bytes.byteLength > (socket.session === undefined ? limits.frameBytesBeforeOpen : limits.frameBytes)) {
      this.#hub.happen(socket.session, socket, 'tooLarge');
    } else if (socket.isHeld || socket.hasHeld) {
      if (!socket.hold(bytes, isBinary)) this.#hub.happen(socket.session, socket, 'slow');
    } else this.#handle(socket, bytes, isBinary);
  }

  /** Handles what was held, oldest first, until the socket is held again. */
  release(socket: SessionSocket): void {
    while (!socket.isHeld && socket.isLive) {
      const frame = socket.nextHeld();
      if (frame === undefined) return;
      this.#handle(socket, frame.bytes, frame.isBinary);
    }
  }

  /** A ping or pong arrived. */
  control(socket: SessionSocket): void {
    socket.heardAt = this.#pulse.now;
    if (this.#pulse.now - socket.controlSince >= controlWindowMs) {
      socket.controlSince = this.#pulse.now;
      socket.controlFrames = 0;
    }
    if (++socket.controlFrames >= controlFrames) this.#hub.happen(socket.session, socket, 'flooded');
  }

  #handle(socket: SessionSocket, bytes: Uint8Array, isBinary: boolean): void {
    const { session, format } = socket;
    if (session === undefined && ++socket.framesBeforeOpen > framesBeforeOpen) {
      this.#hub.happen(undefined, socket, 'violated');
      return;
    }
    if (session !== undefined && session.principal.expiresAt <= this.#hub.options.clock.now()) {
      this.#hub.happen(session, socket, 'expired');
      return;
    }
    if (isBinary !== (format === 'msgpack')) {
      this.#undecodable(socket, 'frame-kind');
      return;
    }
    let value: unknown;
    try {
      value = decodeFrame(format, bytes);
    } catch (error) {
      if (!(error instanceof UndecodableFrame)) throw error;
      this.#undecodable(socket, error.reason);
      return;
    }
    const parsed = parseEnvelope(value, format);
    if (parsed.kind !== 'batch') {
      this.#item(socket, parsed, undefined);
      return;
    }
    const expected = parsed.items.reduce((count, item) => (item.kind === 'notification' ? count : count + 1), 0);
    const batch = expected === 0 ? undefined : new Batch(expected, (answers) => this.#send(socket, answers));
    for (const item of parsed.items) this.#item(socket, item, batch);
  }

  #item(socket: SessionSocket, item: ParsedItem, batch: Batch | undefined): void {
    if (item.kind === 'invalid') {
      this.#unknown.inc();
      this.#answer(
        socket,
        batch,
        this.#refusal(socket, item.id, new TmcpError('INVALID_REQUEST', item.reason), this.#requestId(), rpcCodes.notARequest),
      );
      return;
    }
    const { session } = socket;
    const method = this.#methods.get(item.method);
    if (session === undefined) this.#beforeOpen(socket, item, method, batch);
    else if (method === undefined) {
      this.#unknown.inc();
      this.#refuse(socket, item, batch, new TmcpError('NOT_FOUND', 'There is no such method'), rpcCodes.unknownMethod);
    } else if (method.operation.handledBy === 'session') this.#sessionOperation(socket, session, item, method, batch);
    else this.#call(socket, session, item, method, batch);
  }

  #beforeOpen(socket: SessionSocket, item: ParsedRequest | ParsedNotification, method: Method | undefined, batch: Batch | undefined): void {
    if (item.method !== openMethod || method === undefined || socket.verifying) {
      this.#refuse(socket, item, batch, new TmcpError('INVALID_TOKEN', 'The session is not open'));
      return;
    }
    const issues = issuesOf(method.operation, item.params);
    if (issues.length > 0) {
      this.#refuse(socket, item, batch, invalidRequest(issues));
      return;
    }
    const started = this.#hub.options.clock.monotonic();
    socket.verifying = true;
    this.#opening.open(socket, item.params as InputOf<typeof openMethod>).then(
      (opened) => {
        socket.verifying = false;
        if (opened === undefined) return;
        this.#pulse.opened(socket);
        this.#settle(socket, item, method, batch, started, null, opened.result);
        this.#hub.flush(opened.session);
        this.release(socket);
      },
      (error: unknown) => {
        socket.verifying = false;
        this.#settle(socket, item, method, batch, started, this.#asRefusal(error, item.method));
        // A busy node says nothing about the peer.
        if (error instanceof Overloaded) this.release(socket);
        else if (++socket.failedOpens >= failedOpens) this.#hub.happen(undefined, socket, 'expired');
        else this.release(socket);
      },
    );
  }

  #sessionOperation(
    socket: SessionSocket,
    session: Session,
    item: ParsedRequest | ParsedNotification,
    method: Method,
    batch: Batch | undefined,
  ): void {
    if (item.method === 'tween.session.ping') this.control(socket);
    const started = this.#hub.options.clock.monotonic();
    // What is answered at once is never in flight: a client that waits for 64 answers may still acknowledge events.
    if (item.method === 'tween.session.refresh' && this.#isFull(socket, item, batch)) return;
    socket.inFlight++;
    this.#sessionOperations.run(method.operation, session, item.params, (error, result) => {
      socket.inFlight--;
      this.#settle(socket, item, method, batch, started, error === null ? null : this.#asRefusal(error, item.method), result);
    });
  }

  #call(socket: SessionSocket, session: Session, item: ParsedRequest | ParsedNotification, method: Method, batch: Batch | undefined): void {
    if (this.#isFull(socket, item, batch)) return;
    const { operation } = method;
    const started = this.#hub.options.clock.monotonic();
    const requestId = this.#requestId();
    const write = operation.accepted && item.params['durability'] === 'accepted' ? this.#acceptedWrite(session) : undefined;
    const { abandoned } = socket;
    const call: Call =
      write === undefined
        ? { requestId, startedAt: started, abandoned }
        : { requestId, startedAt: started, abandoned, durable: (error) => write.settled(error) };
    socket.inFlight++;
    this.#load.inFlight++;
    this.#hub.options.gate.call(operation, session.principal, item.params, call, (error, result) => {
      this.#load.inFlight--;
      if (error instanceof Overloaded && this.#putOff(socket, item, batch, error, requestId)) {
        method.failed.inc();
        return;
      }
      socket.inFlight--;
      this.#settle(
        socket,
        item,
        method,
        batch,
        started,
        error,
        error === null && write !== undefined ? write.answered(result) : result,
        requestId,
      );
    });
  }

  #acceptedWrite(session: Session): AcceptedWrite {
    return new AcceptedWrite(session.watermark, {
      durable: (write) => {
        if (session.watermark.durable(write)) this.#hub.sayDurable(session);
      },
      failed: (error) => {
        this.#hub.options.log.error(
          { event: 'live.write_lost', sessionId: session.id, err: error },
          'an accepted write cannot be committed',
        );
        this.#hub.happen(session, session.socket, 'failed');
      },
    });
  }

  #isFull(socket: SessionSocket, item: ParsedRequest | ParsedNotification, batch: Batch | undefined): boolean {
    if (socket.inFlight < limits.inFlight) return false;
    if (socket.putOff > 0 && socket.session !== undefined) {
      // It neither waits for its answers nor keeps to its number: refusing it on and on would cost as much as serving it.
      this.#hub.sendAway(socket.session, this.#hub.options.load?.admission.comeBackMs() ?? 0);
      return true;
    }
    this.#refuse(
      socket,
      item,
      batch,
      new TmcpError('TOO_MANY_IN_FLIGHT', undefined, { retryAfter: 1, details: { limit: limits.inFlight } }),
    );
    this.#ignoredRefusal(socket);
    return true;
  }

  /** The end of one request: counted, and answered unless it was a notification. Never throws: it runs in an actor's turn. */
  #settle(
    socket: SessionSocket,
    item: ParsedRequest | ParsedNotification,
    method: Method,
    batch: Batch | undefined,
    started: number,
    error: Refusal | null,
    result?: unknown,
    requestId?: string,
  ): void {
    method.seconds.observe((this.#hub.options.clock.monotonic() - started) / 1_000);
    if (error === null) {
      method.ok.inc();
      if (item.kind === 'request') this.#answer(socket, batch, resultEnvelope(socket.format, item.id, result));
      return;
    }
    method.failed.inc();
    if (error.code === 'INTERNAL_ERROR') this.#fault(error, item.method, requestId);
    if (item.kind === 'request') this.#answer(socket, batch, this.#refusal(socket, item.id, error, requestId ?? this.#requestId()));
    if (error.code === 'RATE_LIMIT_EXCEEDED') {
      this.#hub.options.metrics.rateLimited.with(method.operation.limit).inc();
      this.#ignoredRefusal(socket);
    }
  }

  #refuse(
    socket: SessionSocket,
    item: ParsedRequest | ParsedNotification,
    batch: Batch | undefined,
    error: TmcpError,
    rpcCode?: number,
  ): void {
    if (item.kind === 'request') this.#answer(socket, batch, this.#refusal(socket, item.id, error, this.#requestId(), rpcCode));
  }

  #refusal(socket: SessionSocket, id: RequestId | null, error: TmcpError, requestId: string, rpcCode?: number): AnswerEnvelope {
    return errorEnvelope(socket.format, id, error, { requestId, timestamp: toIso(this.#hub.options.clock.now()) }, rpcCode);
  }

  #answer(socket: SessionSocket, batch: Batch | undefined, answer: AnswerEnvelope): void {
    if (batch === undefined) this.#send(socket, answer);
    else batch.add(answer);
  }

  #send(socket: SessionSocket, answer: AnswerEnvelope | readonly AnswerEnvelope[]): void {
    if (!socket.isLive) return;
    try {
      this.#hub.send(socket, encode(socket.format, answer));
    } catch (error) {
      this.#hub.options.log.error({ event: 'live.encode_failed', err: error }, 'an answer could not be encoded');
      this.#hub.happen(socket.session, socket, 'failed');
    }
  }

  #undecodable(socket: SessionSocket, reason: string): void {
    this.#unknown.inc();
    const error = new TmcpError('INVALID_REQUEST', 'The frame cannot be decoded', { details: { reason } });
    this.#send(socket, this.#refusal(socket, null, error, this.#requestId(), rpcCodes.undecodable));
    socket.undecodable ??= new Budget(limits.undecodablePerMinute, 60_000);
    if (socket.undecodable.spend(this.#hub.options.clock.monotonic())) this.#hub.happen(socket.session, socket, 'violated');
  }

  #ignoredRefusal(socket: SessionSocket): void {
    socket.refusals ??= new Budget(limits.ignoredRefusals, limits.ignoredRefusalsWindowMs);
    if (socket.refusals.spend(this.#hub.options.clock.monotonic())) this.#hub.happen(socket.session, socket, 'flooded');
  }

  /** Keeps a refusal for later, where the peer was refused often of late. False: it is answered now. */
  #putOff(
    socket: SessionSocket,
    item: ParsedRequest | ParsedNotification,
    batch: Batch | undefined,
    error: Refusal,
    requestId: string,
  ): boolean {
    const { now } = this.#pulse;
    if (now - socket.turnedAwaySince >= refusedWindowMs) {
      socket.turnedAwaySince = now;
      socket.turnedAway = 0;
    }
    if (++socket.turnedAway <= refusedAtOnce) return false;
    const late = { socket, id: item.kind === 'request' ? item.id : undefined, batch, error, requestId };
    if (!this.#late.add(late, Math.min(longestPutOffS, error.retryAfter ?? 1) * 1_000)) return false;
    socket.putOff++;
    return true;
  }

  #answerLate({ socket, id, batch, error, requestId }: PutOff): void {
    socket.inFlight--;
    socket.putOff--;
    if (id !== undefined) this.#answer(socket, batch, this.#refusal(socket, id, error, requestId));
  }

  #asRefusal(error: unknown, method: string): TmcpError {
    const refusal = asTmcpError(error);
    if (refusal.code === 'INTERNAL_ERROR') this.#fault(refusal, method);
    return refusal;
  }

  #fault(error: TmcpError, operation: string, requestId?: string): void {
    this.#hub.options.log.error({ event: 'live.fault', operation, requestId, err: error.cause ?? error }, 'a request failed');
  }

  #requestId(): string {
    return this.#requests + ++this.#count;
  }
}
