/**
 * Rate buckets of a user in an app. They live with the user's actor's node, so they are exact without a shared store; they
 * outlive the actor's passivation, and a bucket that is full again is forgotten. Monotonic time: a clock that jumps refills
 * nothing. Protocol section 28.
 */
import { buckets } from '../../protocol/rate-limits.ts';
import { TmcpError } from '../../protocol/errors.ts';
import type { LimitClass } from '../../protocol/operation.ts';
import type { Clock } from '../ports.ts';

/** The state of one bucket after a take, as the headers show it. */
export interface LimitState {
  readonly ok: boolean;
  readonly limit: number;
  readonly remaining: number;
  readonly burst: number;
  readonly burstRemaining: number;
  /** Seconds until one more is allowed; 0 when it is now. */
  readonly retryAfterS: number;
  /** Seconds until the bucket is full. */
  readonly resetAfterS: number;
  readonly windowS: number;
}

/** The name of the bucket of a user in an app. */
export function bucketKey(who: { readonly userId: string; readonly appId: string }, limitClass: LimitClass): string {
  return `${limitClass}|${who.userId}|${who.appId}`;
}

/** Takes one from a message's bucket and says how it stands. Gives the refusal, if it is one. */
export function charge(
  limiter: UserLimiter,
  { bucket, limitClass }: { readonly bucket: string; readonly limitClass: Exclude<LimitClass, 'none'> },
  onLimit: ((state: LimitState) => void) | undefined,
): TmcpError | undefined {
  const state = limiter.take(bucket, limitClass);
  onLimit?.(state);
  if (state.ok) return undefined;
  return new TmcpError('RATE_LIMIT_EXCEEDED', undefined, {
    retryAfter: state.retryAfterS,
    details: { limit: state.limit, window: state.windowS, class: limitClass },
  });
}

interface Level {
  tokens: number;
  at: number;
}

const maxKeys = 500_000;

export class UserLimiter {
  readonly #clock: Clock;
  readonly #factor: number;
  readonly #levels = new Map<string, Level>();

  /** `factor` multiplies every bucket: 1 as the protocol says, 1000 for `relaxed`. */
  constructor(clock: Clock, factor: number) {
    this.#clock = clock;
    this.#factor = factor;
  }

  get size(): number {
    return this.#levels.size;
  }

  /** Takes one from a bucket; `key` is its `bucketKey`. */
  take(key: string, limitClass: Exclude<LimitClass, 'none'>): LimitState {
    const bucket = buckets[limitClass];
    const limit = bucket.limit * this.#factor;
    const burst = bucket.burst * this.#factor;
    const capacity = limit + burst;
    const perMs = limit / bucket.windowMs;
    const now = this.#clock.monotonic();
    let level = this.#levels.get(key);
    if (level === undefined) {
      if (this.#levels.size >= maxKeys) this.#evict();
      level = { tokens: capacity, at: now };
      this.#levels.set(key, level);
    } else {
      level.tokens = Math.min(capacity, level.tokens + (now - level.at) * perMs);
      level.at = now;
    }
    const ok = level.tokens >= 1;
    if (ok) level.tokens -= 1;
    const { tokens } = level;
    return {
      ok,
      limit,
      remaining: Math.floor(Math.min(tokens, limit)),
      burst,
      burstRemaining: Math.floor(Math.max(0, tokens - limit)),
      retryAfterS: ok ? 0 : Math.ceil((1 - tokens) / perMs / 1000),
      resetAfterS: Math.ceil((capacity - tokens) / perMs / 1000),
      windowS: bucket.windowMs / 1000,
    };
  }

  /** Forgets the oldest tenth: they are most likely full again. Bounds memory against made-up keys. */
  #evict(): void {
    let left = maxKeys / 10;
    for (const key of this.#levels.keys()) {
      this.#levels.delete(key);
      if (--left <= 0) return;
    }
  }
}
