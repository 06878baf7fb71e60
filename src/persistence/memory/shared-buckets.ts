/**
 * Token buckets of one node. A bucket is kept as one instant, the time at which it will be full again: the same rule as the
 * Redis script beside `redis/shared-buckets.ts`, so that both give the same answers.
 */
import type { Clock, SharedBuckets } from '../../actors/ports.ts';
import { ExpiringMap } from './expiring-map.ts';

export interface MemoryBucketsOptions {
  /** Monotonic: a wall clock set back would keep every bucket that was taken from shut until it has caught up. */
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Default 100,000; the bucket that was longest not taken from is forgotten first, and is then full. */
  readonly maxBuckets?: number;
}

export function createMemoryBuckets(options: MemoryBucketsOptions): SharedBuckets {
  const clock = { now: () => options.clock.monotonic() };
  const fullAt = new ExpiringMap<number>({ clock, maxEntries: options.maxBuckets ?? 100_000 });
  return {
    take: async (key, { capacity, windowMs }) => {
      // Whole microseconds: sums of fractions would lose a token.
      const now = Math.round(clock.now() * 1_000);
      const token = Math.max(1, Math.floor((windowMs * 1_000) / capacity));
      const next = Math.max(now, fullAt.get(key) ?? 0) + token;
      const over = next - now - token * capacity;
      if (over > 0) return { ok: false, retryAfterS: Math.ceil(over / 1_000_000) };
      fullAt.set(key, next, (next - now) / 1_000);
      return { ok: true, retryAfterS: 0 };
    },
  };
}
