/**
 * The only reader of time. Everything that waits or stamps asks a `Clock`, so that `tmcp dev` can move it and tests can
 * own it. Wall time is for what users see and rows keep; monotonic time is for leases and durations.
 */
import type { Clock, CancelTimer } from './actors/ports.ts';

interface Waiting {
  /** By `#elapsed`. */
  readonly dueAt: number;
  readonly fn: () => void;
}

/** The machine's clock, plus an offset that only the dev door may grow. */
export class SystemClock implements Clock {
  #offsetMs = 0;
  readonly #waiting = new Map<NodeJS.Timeout, Waiting>();

  now(): number {
    return Date.now() + this.#offsetMs;
  }

  monotonic(): number {
    return performance.now();
  }

  after(ms: number, fn: () => void): CancelTimer {
    // Node runs a timer longer than 2^31-1 ms at once; such a wait is cut into pieces.
    const longest = 2 ** 31 - 1;
    let handle: NodeJS.Timeout;
    const dueAt = this.#elapsed() + ms;
    const arm = (): void => {
      const left = Math.max(0, Math.ceil(dueAt - this.#elapsed()));
      handle = setTimeout(
        () => {
          this.#waiting.delete(handle);
          if (dueAt > this.#elapsed()) arm();
          else fn();
        },
        Math.min(left, longest),
      );
      handle.unref();
      this.#waiting.set(handle, { dueAt, fn });
    };
    arm();
    return () => {
      clearTimeout(handle);
      this.#waiting.delete(handle);
    };
  }

  /** How far it was moved ahead of the machine's clock, ms. */
  get aheadMs(): number {
    return this.#offsetMs;
  }

  /** Moves the clock forward by `ms` (milliseconds, > 0) and fires what has become due, in order. */
  advance(ms: number): void {
    this.#offsetMs += ms;
    const now = this.#elapsed();
    const due = [...this.#waiting].filter(([, waiting]) => waiting.dueAt <= now);
    due.sort(([, a], [, b]) => a.dueAt - b.dueAt);
    for (const [handle, waiting] of due) {
      clearTimeout(handle);
      if (this.#waiting.delete(handle)) waiting.fn();
    }
  }

  /** What timers go by: the machine's monotonic clock, so that a wall clock set back an hour delays nothing by an hour, plus the offset. */
  #elapsed(): number {
    return performance.now() + this.#offsetMs;
  }
}
