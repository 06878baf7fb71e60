/** A clock that a test moves: timers fire in order of their time, and never by themselves. */
import type { CancelTimer, Clock } from '../../src/actors/ports.ts';

export class ManualClock implements Clock {
  #now: number;
  #monotonic = 0;
  readonly #waiting = new Set<{ readonly dueAt: number; readonly fn: () => void }>();

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  after(ms: number, fn: () => void): CancelTimer {
    const timer = { dueAt: this.#monotonic + Math.max(0, ms), fn };
    this.#waiting.add(timer);
    return () => this.#waiting.delete(timer);
  }

  /** Lets `ms` pass: every timer that becomes due fires at its own time. */
  advance(ms: number): void {
    const until = this.#monotonic + ms;
    for (;;) {
      let next: { readonly dueAt: number; readonly fn: () => void } | undefined;
      for (const timer of this.#waiting) if (timer.dueAt <= until && (next === undefined || timer.dueAt < next.dueAt)) next = timer;
      if (next === undefined) break;
      this.#waiting.delete(next);
      this.#now += Math.max(0, next.dueAt - this.#monotonic);
      this.#monotonic = Math.max(this.#monotonic, next.dueAt);
      next.fn();
    }
    this.#now += until - this.#monotonic;
    this.#monotonic = until;
  }

  /** The wall clock jumps; no time passes. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#waiting.size;
  }
}
