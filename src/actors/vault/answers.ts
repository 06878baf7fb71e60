/**
 * How a vault answers: through the commit where there is one, at once for an accepted write, and in any case so that a kept
 * idempotency key is let go. Rules [STO3], [STO12], [STO13].
 */
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { Draft } from './draft.ts';
import { changedEvent, conflictEvent } from './events.ts';
import type { VaultState } from './vault-state.ts';

/** Answers a refusal. */
export function refuse(message: Message, error: TmcpError, context: ActorContext): void {
  // The host lets a key go only for answers that pass through it.
  if (message.idempotency === undefined) message.reply(error);
  else context.settleWhenFlushed({ message, error });
}

/** Answers a read: at once, or, when it saw a durable write that is not flushed (`seen` is its commit), after that. */
export function answerRead(state: VaultState, context: ActorContext, message: Message, result: unknown, seen: number): void {
  if (seen > state.flushed) context.settleWhenFlushed({ message, result });
  else message.reply(null, result);
}

/** Refuses an accepted write past the bound. Errors: `SERVICE_UNAVAILABLE`, to be tried again after a second. */
export function checkAcceptedBound(state: VaultState, message: Message): void {
  if (message.durable !== undefined && state.accepted >= limits.acceptedPerUser) {
    throw new TmcpError('SERVICE_UNAVAILABLE', 'Too many accepted writes are not durable yet', { retryAfter: 1 });
  }
}

/**
 * Commits a change and answers its message. An accepted write is answered here and its `durable` called at the flush; every
 * successful accepted answer has `durable: false` and is followed by exactly one such call, also when it changed nothing.
 * Errors: throws what the journal throws, with nothing changed.
 */
export function finish(state: VaultState, context: ActorContext, message: Message, draft: Draft, result: object): void {
  const { durable } = message;
  const settled = durable === undefined ? message : { ...message, reply: settleAccepted(state, durable) };
  if (draft.empty) {
    if (durable !== undefined) acceptNow(state, message, result);
    context.settleWhenFlushed({ message: settled, result });
    return;
  }
  commit(state, context, draft, message.who?.sessionId, durable === undefined, { message: settled, result });
  if (durable !== undefined) acceptNow(state, message, result);
}

/** Commits a change that nobody waits for. Errors: as `finish`. */
export function commit(
  state: VaultState,
  context: ActorContext,
  draft: Draft,
  session: string | undefined,
  durable: boolean,
  settlement?: { readonly message: Message; readonly result: unknown },
): void {
  const number = state.commits + 1;
  const changes = [...draft.changes.values()];
  const { losers } = draft;
  const write = draft.write();
  const forgotten = write.snapshot === undefined ? 0 : state.dropped;
  context.commit(write, settlement === undefined ? [] : [settlement], () => {
    state.flushed = number;
    state.hot.trim(number);
    if (forgotten > state.forgotten) {
      state.forgotten = forgotten;
      state.onForgotten?.(forgotten);
    }
    if (changes.length > 0) context.publish(changedEvent(state, changes, session));
    if (losers.length > 0) context.publish(conflictEvent(state, losers, session));
  });
  state.commits = number;
  if (durable) state.lastDurable = number;
  draft.apply(number, durable);
}

function acceptNow(state: VaultState, message: Message, result: object): void {
  state.accepted++;
  message.reply(null, { ...result, durable: false });
}

function settleAccepted(state: VaultState, durable: NonNullable<Message['durable']>): Message['reply'] {
  return (error) => {
    state.accepted--;
    durable(error);
  };
}
