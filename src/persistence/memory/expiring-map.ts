/** A map whose entries end after a time and whose size is bounded: the least recently written goes first. */
import type { Clock } from '../../actors/ports.ts';

interface Held<V> {
  readonly value: V;
  readonly expiresAt: number;
  readonly weight: number;
}

export interface ExpiringMapOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly maxEntries: number;
  /** Sum of the weights given to `set`. Default: no bound. */
  readonly maxWeight?: number;
}

export class ExpiringMap<V> {
  readonly #options: ExpiringMapOptions;
  readonly #held = new Map<string, Held<V>>();
  #weight = 0;

  constructor(options: ExpiringMapOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#held.size;
  }

  /** The value, unless its time is over (at its last millisecond it is there no more). */
  get(key: string): V | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    if (held.expiresAt > this.#options.clock.now()) return held.value;
    this.delete(key);
    return undefined;
  }

  /** Keeps `value` for `ttlMs`, and drops the oldest where a bound is passed. */
  set(key: string, value: V, ttlMs: number, weight = 0): void {
    this.delete(key);
    this.#held.set(key, { value, expiresAt: this.#options.clock.now() + ttlMs, weight });
    this.#weight += weight;
    const maxWeight = this.#options.maxWeight ?? Number.POSITIVE_INFINITY;
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= this.#options.maxEntries && this.#weight <= maxWeight) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    this.#weight -= held.weight;
  }
}
