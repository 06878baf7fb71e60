/**
 * A short-lived read-through cache for records that other nodes may change: an answer is at most `maxAgeMs` old.
 * Callers that ask for the same key at once share one read. Bounded: the oldest entry goes first.
 */
import type { Clock } from '../../actors/ports.ts';

interface Entry<T> {
  readonly value: Promise<T>;
  readonly readAt: number;
}

export interface Cached<T> {
  get(key: string): Promise<T>;
  /** The next `get` reads again: for writers in this process. */
  forget(key: string): void;
}

/** Caches `read`. `maxAgeMs` is milliseconds of monotonic time, counted from before the read. A failed read is not kept. */
export function cached<T>(clock: Clock, read: (key: string) => Promise<T>, maxAgeMs = 1_000, maxEntries = 10_000): Cached<T> {
  const entries = new Map<string, Entry<T>>();
  return {
    get(key) {
      const now = clock.monotonic();
      const known = entries.get(key);
      if (known !== undefined && now - known.readAt < maxAgeMs) return known.value;
      const entry: Entry<T> = { value: read(key), readAt: now };
      entries.delete(key);
      entries.set(key, entry);
      entry.value.catch(() => {
        if (entries.get(key) === entry) entries.delete(key);
      });
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
