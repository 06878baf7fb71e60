/** One step of a user's machine, with the answer that its effects give. */
import { TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { type Advanced, advance } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { Effect } from '../runtime/step.ts';
import { isBlocked } from './factor-rules.ts';
import type { User } from './user-options.ts';
import type { Factor, Method, UserContext, UserEvent } from './user-types.ts';

export interface UserStep {
  readonly message: Message;
  /** The factor the events are about, for the time of its lock. */
  readonly method?: Method;
  /** The answer, when no event was rejected. */
  readonly result: (context: UserContext) => unknown;
  /** Runs when the step is flushed, in the actor's turn. A step with one leaves its answer to a later step, unless it is rejected. */
  readonly onFlushed?: (effects: readonly Effect[]) => void;
}

/** Steps the machine through `events` in one commit; the first rejection among them is the answer. Errors: as `advance`. */
export function stepUser(
  user: User,
  host: ActorContext,
  events: readonly UserEvent[],
  { message, method, result, onFlushed }: UserStep,
): void {
  advance(user.machine, host, events, (advanced) => {
    const rejected = advanced.effects.find(({ type }) => type === 'reject');
    if (rejected !== undefined) return { settle: [{ message, error: rejectionOf(rejected, advanced, method, host.now()) }] };
    if (onFlushed !== undefined) return { after: () => onFlushed(advanced.effects) };
    return { settle: [{ message, result: result(advanced.context) }] };
  });
}

/** The refusal of a locked factor: until when, and in how many seconds to come again; a blocked one says `permanent`. */
export function lockedError(factor: Factor, now: number): TmcpError {
  const { lockedUntil } = factor;
  if (isBlocked(factor) || lockedUntil === null) return new TmcpError('MFA_LOCKED', undefined, { details: { permanent: true } });
  return new TmcpError('MFA_LOCKED', undefined, {
    details: { locked_until: toIso(lockedUntil) },
    retryAfter: Math.max(1, Math.ceil((lockedUntil - now) / 1_000)),
  });
}

function rejectionOf({ params }: Effect, { context }: Advanced<UserContext>, method: Method | undefined, now: number): TmcpError {
  if (params.code === 'MFA_LOCKED' && method !== undefined) return lockedError(context.factors[method], now);
  return new TmcpError(params.code);
}
