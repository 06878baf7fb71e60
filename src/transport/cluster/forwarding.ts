/**
 * Messages between nodes: what an actor's mailbox needs, as arrays on a peer link, and the answers back. It knows how a message looks on the
 * wire and nothing of who owns what.
 */
import type { Address } from '../../actors/ports.ts';
import type { LimitState } from '../../actors/runtime/limiter.ts';
import type { Charge, Message } from '../../actors/runtime/message.ts';
import type { ForwardFailure } from '../../actors/runtime/router.ts';
import { type ErrorCode, TmcpError } from '../../protocol/errors.ts';
import { type CallerReference, CallersKnown, CallersSent } from './caller-table.ts';

/** How an ask ended without its answer. */
export type AskError = Error & { readonly kind: Exclude<ForwardFailure, 'moved'> };

/** Sends a body to a node; its answers come to `reply`, the last one with `last`. */
export type Ask = (
  node: string,
  body: unknown,
  options: { readonly deadlineMs: number; readonly trace?: string },
  reply: (error: AskError | null, value?: unknown, last?: boolean) => void,
) => void;

export type Answer = (value: unknown, last: boolean) => void;

/** `address, type, input, caller, request id, scope, input hash, bucket, limit class, flags`. */
export type WireMessage = readonly [
  Address,
  string,
  unknown,
  CallerReference,
  string | null,
  string | null,
  string | null,
  string | null,
  string | null,
  number,
];

const flag = { durable: 1, limit: 2, repeatable: 4 } as const;
const answers = { result: 0, refusal: 1, moved: 2, durable: 3, unknownCaller: 4 } as const;

export interface ForwardingOptions {
  readonly onFault: (error: TmcpError, type: string, requestId: string | undefined) => void;
  /** Why an operation is turned away on a busy node, whichever node's client asks for it. */
  readonly busy: (type: string) => TmcpError | undefined;
}

export class Forwarding {
  readonly #ask: Ask;
  readonly #sent = new Map<string, CallersSent>();
  readonly #known = new Map<string, CallersKnown>();
  /** Sessions that were resumed, by the highest generation heard of. */
  readonly #generations = new Map<string, number>();
  readonly #onFault: ForwardingOptions['onFault'];
  readonly #busy: ForwardingOptions['busy'];

  constructor(ask: Ask, options: ForwardingOptions) {
    this.#ask = ask;
    this.#onFault = options.onFault;
    this.#busy = options.busy;
  }

  /** Nodes that are gone: their tables go. */
  keep(nodes: ReadonlySet<string>): void {
    for (const node of this.#sent.keys()) if (!nodes.has(node)) this.#sent.delete(node);
    for (const node of this.#known.keys()) if (!nodes.has(node)) this.#known.delete(node);
  }

  /** A session was resumed on this node. */
  resumed(session: string, generation: number): void {
    if ((this.#generations.get(session) ?? 0) >= generation) return;
    this.#generations.delete(session);
    this.#generations.set(session, generation);
    if (this.#generations.size > mostGenerations) this.#generations.delete(this.#generations.keys().next().value as string);
  }

  /** Sends a message. It is answered, or `failed` is called, once. */
  send(node: string, address: Address, message: Message, leftMs: number, failed: (why: ForwardFailure) => void): void {
    let callers = this.#sent.get(node);
    if (callers === undefined) {
      callers = new CallersSent();
      this.#sent.set(node, callers);
    }
    const { type, input, who, requestId, idempotency, limit, onLimit, durable, repeatable, trace } = message;
    const flags =
      (durable === undefined ? 0 : flag.durable) | (onLimit === undefined ? 0 : flag.limit) | (repeatable === true ? flag.repeatable : 0);
    const body: WireMessage = [
      address,
      type,
      input,
      callers.refer(who),
      requestId ?? null,
      idempotency?.scope ?? null,
      idempotency?.inputHash ?? null,
      limit?.bucket ?? null,
      limit?.limitClass ?? null,
      flags,
    ];
    const options = trace === undefined ? { deadlineMs: leftMs } : { deadlineMs: leftMs, trace };
    let answered = false;
    this.#ask(node, ['m', body], options, (error, value) => {
      if (error !== null) {
        if (answered) durable?.(error);
        else failed(error.kind);
        return;
      }
      const [kind, ...rest] = value as [number, ...unknown[]];
      switch (kind) {
        case answers.result:
          answered = true;
          if (rest[1] !== null) onLimit?.(rest[1] as LimitState);
          message.reply(null, rest[0]);
          break;
        case answers.refusal:
          answered = true;
          if (rest[1] !== null) onLimit?.(rest[1] as LimitState);
          message.reply(refusalFrom(rest[0] as WireRefusal));
          break;
        case answers.moved:
          failed('moved');
          break;
        case answers.durable:
          durable?.(rest[0] === null ? null : new Error(String(rest[0])));
          break;
        default:
          if (who !== null) callers.forgotten(who);
          failed('moved');
      }
    });
  }

  /** Reads a message that another node sent. `deadline`: monotonic, when nobody waits any more. `deliver` gives it on, or says that its actor is not here. */
  receive(
    from: string,
    body: WireMessage,
    trace: string | undefined,
    deadline: number,
    answer: Answer,
    deliver: (address: Address, message: Message, moved: () => void) => void,
  ): void {
    let callers = this.#known.get(from);
    if (callers === undefined) {
      callers = new CallersKnown();
      this.#known.set(from, callers);
    }
    const [address, type, input, reference, requestId, scope, inputHash, bucket, limitClass, flags] = body;
    const who = callers.resolve(reference);
    if (who === undefined) {
      answer([answers.unknownCaller], true);
      return;
    }
    if (who?.sessionId !== undefined && who.generation !== undefined) {
      if (who.generation < (this.#generations.get(who.sessionId) ?? 0)) {
        answer([answers.refusal, refusalOf(new TmcpError('INVALID_TOKEN', 'The session was resumed elsewhere')), null], true);
        return;
      }
      if (who.generation > 0) this.resumed(who.sessionId, who.generation);
    }
    const busy = who === null ? undefined : this.#busy(type);
    if (busy !== undefined) {
      answer([answers.refusal, refusalOf(busy), null], true);
      return;
    }
    let state: LimitState | null = null;
    const wantsDurable = (flags & flag.durable) !== 0;
    let answered = false;
    let settled = false;
    const message: Message = {
      type,
      input,
      who,
      reply: (error, result) => {
        if (error === null) {
          // An accepted write is told again when it is committed, unless that came first.
          answered = true;
          const accepted = wantsDurable && (result as { readonly durable?: unknown } | null)?.durable === false;
          answer([answers.result, result ?? null, state], !accepted || settled);
          return;
        }
        if (error.code === 'INTERNAL_ERROR') this.#onFault(error, type, requestId ?? undefined);
        answer([answers.refusal, refusalOf(error), state], true);
      },
      ...(requestId === null ? {} : { requestId }),
      ...(scope === null || inputHash === null ? {} : { idempotency: { scope, inputHash } }),
      ...(wantsDurable
        ? {
            durable: (error: Error | null) => {
              settled = true;
              answer([answers.durable, error === null ? null : error.message], answered);
            },
          }
        : {}),
      limit: bucket === null || limitClass === null ? undefined : { bucket, limitClass: limitClass as Charge['limitClass'] },
      onLimit:
        (flags & flag.limit) === 0
          ? undefined
          : (now) => {
              state = now;
            },
      repeatable: (flags & flag.repeatable) !== 0,
      deadline,
      trace,
    };
    deliver(address, message, () => answer([answers.moved], true));
  }
}

const mostGenerations = 50_000;

type WireRefusal = readonly [string, string, number | null, Readonly<Record<string, unknown>> | null];

function refusalOf(error: TmcpError): WireRefusal {
  return [error.code, error.message, error.retryAfter ?? null, error.details ?? null];
}

function refusalFrom([code, message, retryAfter, details]: WireRefusal): TmcpError {
  return new TmcpError(code as ErrorCode, message, {
    ...(retryAfter === null ? {} : { retryAfter }),
    ...(details === null ? {} : { details }),
  });
}
