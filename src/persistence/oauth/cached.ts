/**
 * A short-lived read-through cache for records that other nodes may change: an answer is at most `maxAgeMs` old.
 * Callers that ask for the same key at once share one read. Bounded: the oldest entry goes first.
 */
import type { Clock } from '../../actors/ports.ts';
import { TmcpError } from '../../protocol/errors.ts';

interface Entry<T> {
  value: Promise<T>;
  readonly readAt: number;
  /** When the database last said so. */
  knownAt: number;
}

export interface Cached<T> {
  get(key: string): Promise<T>;
  /** The next `get` reads again: for writers in this process. */
  forget(key: string): void;
}

/** How old an answer may be while the database does not answer: requests with a good token go on through a short outage. */
const staleMs = 60_000;

/**
 * Caches `read`. `maxAgeMs` is milliseconds of monotonic time, counted from before the read. A failed read is not kept: an answer known
 * for at most a minute stands in. Errors: `SERVICE_UNAVAILABLE` when there is none.
 */
export function cached<T>(clock: Clock, read: (key: string) => Promise<T>, maxAgeMs = 1_000, maxEntries = 10_000): Cached<T> {
  const entries = new Map<string, Entry<T>>();
  return {
    get(key) {
      const now = clock.monotonic();
      const known = entries.get(key);
      if (known !== undefined && now - known.readAt < maxAgeMs) return known.value;
      const entry: Entry<T> = { value: read(key), readAt: now, knownAt: known?.knownAt ?? Number.NEGATIVE_INFINITY };
      entry.value = entry.value.then(
        (value) => {
          entry.knownAt = now;
          return value;
        },
        (cause: unknown) => {
          if (known !== undefined && now - known.knownAt < staleMs) return known.value;
          if (entries.get(key) === entry) entries.delete(key);
          throw new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1, cause });
        },
      );
      entries.delete(key);
      entries.set(key, entry);
      if (entries.size > maxEntries) {
        const oldest = entries.keys().next();
        if (oldest.done === false) entries.delete(oldest.value);
      }
      return entry.value;
    },
    forget(key) {
      entries.delete(key);
    },
  };
}
