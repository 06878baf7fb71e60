/**
 * The calls of a client: each has an id and a deadline, waits for a connection and for room, and is settled once. A call that is safe
 * to repeat is sent again after a lost connection, with the same id; another is then rejected, for its outcome is not known. Bounded:
 * `maxCalls` and `maxBytes` of calls that are not settled, and the server's figure of calls that run.
 */
import type { InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
import { encodeMsgpack } from '../protocol/codec.ts';
import { TmcpError } from '../protocol/errors.ts';
import { limits } from '../protocol/limits.ts';
import { prescan } from '../protocol/prescan.ts';
import { CallTimeoutError, ConnectionLostError } from './client-errors.ts';
import type { ServerMessage } from './server-message.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** Send again after a lost connection; by default for reads and for inputs with an idempotency key or an operation id. */
  readonly repeat?: boolean;
}

/** Sends a frame on the connection of the moment. */
export type SendFrame = (frame: Uint8Array) => void;

interface Call {
  readonly id: number;
  readonly method: string;
  readonly repeat: boolean;
  readonly bytes: number;
  /** Let go once it is sent and will not be sent again. */
  frame: Uint8Array | undefined;
  /** Settled, but the server has not answered: it still takes one of the places the server has. */
  done: boolean;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export const maxCalls = 10_000;
export const maxBytes = 16 * 1024 * 1024;
/** Places of the server's figure that are left to what is sent beside calls: heartbeats, acknowledgements, a new token. */
const reserved = 4;
const readMethods = /\.(get[A-Z]?\w*|list|batchGet|usage|pull|status)$/;

/** Whether a call may be sent twice: a read, or a write that the server recognises when it comes again. */
export function isSafeToRepeat(method: string, params: unknown): boolean {
  const { idempotency_key: key, op_id: opId } = (params ?? {}) as { readonly idempotency_key?: unknown; readonly op_id?: unknown };
  return key !== undefined || opId !== undefined || readMethods.test(method);
}

export class Calls {
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, Call>();
  readonly #sent = new Map<number, Call>();
  #open = 0;
  #bytes = 0;
  #nextId = 1;
  #send: SendFrame | undefined;
  #room = 0;
  #frameBytes: number = limits.frameBytes;
  #ended: Error | undefined;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Calls that are not settled. */
  get size(): number {
    return this.#open;
  }

  /**
   * Asks for an operation. Errors: `TmcpError` (the server's refusal; `SERVICE_UNAVAILABLE` when it was never sent), `ConnectionLostError`,
   * `CallTimeoutError`, the signal's reason. What cannot be sent at all is refused here, so that it never costs the session.
   */
  start<M extends MethodName>(method: M, params: InputOf<M>, options: CallOptions = {}): Promise<OutputOf<M>> {
    const { signal } = options;
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    return new Promise<OutputOf<M>>((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#ended !== undefined) throw this.#ended;
      const session = method.startsWith('tween.session.');
      if (session && this.#send === undefined) throw new TmcpError('SERVICE_UNAVAILABLE', `${method}: there is no session`);
      const id = this.#nextId++;
      const frame = this.#frame(id, method, params, session);
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#waiting.delete(id);
        if (call.done) return;
        call.done = true;
        call.frame = undefined;
        this.#open--;
        this.#bytes -= call.bytes;
        then();
      };
      const call: Call = {
        id,
        method,
        repeat: !session && (options.repeat ?? isSafeToRepeat(method, params)),
        bytes: frame.length,
        frame,
        done: false,
        resolve: (result) => settle(() => (resolve as (value: unknown) => void)(result)),
        reject: (error) => settle(() => reject(error)),
      };
      const late = (): Error =>
        this.#sent.has(id)
          ? new CallTimeoutError(method, timeoutMs)
          : new TmcpError('SERVICE_UNAVAILABLE', `${method}: there was no connection within ${timeoutMs} ms, it was not sent`);
      const timer = setTimeout(() => call.reject(late()), timeoutMs);
      const onAbort = (): void => call.reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#open++;
      this.#bytes += call.bytes;
      if (session) this.#transmit(call);
      else {
        this.#waiting.set(id, call);
        this.#pump();
      }
    });
  }

  /** A session is open: what waits is sent, oldest first. */
  opened(send: SendFrame, told: { readonly frame_bytes: number; readonly in_flight: number }): void {
    this.#send = send;
    this.#room = Math.max(1, told.in_flight - reserved);
    this.#frameBytes = told.frame_bytes;
    this.#pump();
  }

  /** The connection is gone. `tooLarge`: because a frame was; the largest call is then refused and not sent again. */
  lost(tooLarge = false): void {
    this.#send = undefined;
    const sent = [...this.#sent.values()].filter((call) => !call.done);
    this.#sent.clear();
    const culprit = tooLarge
      ? sent.reduce<Call | undefined>((most, call) => (most === undefined || call.bytes > most.bytes ? call : most), undefined)
      : undefined;
    culprit?.reject(new TmcpError('PAYLOAD_TOO_LARGE', `${culprit.method}: the server takes no frame of ${culprit.bytes} bytes`));
    const again = sent.filter((call) => call.repeat && !call.done);
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const call of [...again, ...waiting]) this.#waiting.set(call.id, call);
    for (const call of sent) if (!call.repeat) call.reject(new ConnectionLostError(call.method));
  }

  /** Nothing is sent any more: every call is rejected, those to come as well. */
  end(reason: Error): void {
    this.#ended = reason;
    this.#send = undefined;
    for (const call of [...this.#sent.values(), ...this.#waiting.values()]) call.reject(reason);
    this.#sent.clear();
  }

  /** An answer came. False: nobody waits for it. */
  answer(message: Exclude<ServerMessage, { readonly kind: 'event' }>): boolean {
    const call = this.#sent.get(message.id as number);
    if (call === undefined) return false;
    this.#sent.delete(call.id);
    if (message.kind === 'answer') call.resolve(message.result);
    else call.reject(message.error);
    this.#pump();
    return true;
  }

  #frame(id: number, method: string, params: unknown, session: boolean): Uint8Array {
    if (!session && (this.#open >= maxCalls || this.#bytes >= maxBytes)) {
      throw new TmcpError('SERVICE_UNAVAILABLE', `${this.#open} calls of ${this.#bytes} bytes already wait for an answer`, {
        retryAfter: 1,
      });
    }
    const frame = encodeMsgpack({ id, method, params });
    if (frame.length > this.#frameBytes)
      throw new TmcpError('PAYLOAD_TOO_LARGE', `${method}: a frame holds at most ${this.#frameBytes} bytes`);
    const fault = prescan(frame);
    if (fault !== undefined) throw new TmcpError('INVALID_REQUEST', `${method}: the parameters cannot be sent (${fault.reason})`);
    // A view of the encoder's memory: kept for long it would hold its neighbours.
    return frame.slice();
  }

  #pump(): void {
    for (const call of this.#waiting.values()) {
      if (this.#send === undefined || this.#sent.size >= this.#room) return;
      this.#waiting.delete(call.id);
      this.#transmit(call);
    }
  }

  #transmit(call: Call): void {
    const { frame } = call;
    this.#sent.set(call.id, call);
    if (!call.repeat) call.frame = undefined;
    if (frame !== undefined) this.#send?.(frame);
  }
}
