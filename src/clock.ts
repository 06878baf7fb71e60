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

/** A change of the wall clock by more than this is a step, not the slewing by which clocks are kept right. */
const stepMs = 1_000;

/**
 * The machine's clock, plus an offset that only the dev door may grow. A step of the machine's clock is not believed until `confirm` has
 * said that it was right: a lock, a code or a payment's time must not be undone by a clock that was set wrong.
 */
export class SystemClock implements Clock {
  #offsetMs = 0;
  /** Wall time less monotonic time, as last believed. */
  #base = Date.now() - performance.now();
  readonly #waiting = new Map<NodeJS.Timeout, Waiting>();

  now(): number {
    const wall = Date.now();
    const base = wall - performance.now();
    if (Math.abs(base - this.#base) > stepMs) return Math.round(this.#base + performance.now()) + this.#offsetMs;
    this.#base = base;
    return wall + this.#offsetMs;
  }

  /** A step of the machine's clock that is not believed, ms; 0 while it runs as it should. */
  get steppedMs(): number {
    const stepped = Date.now() - performance.now() - this.#base;
    return Math.abs(stepped) > stepMs ? stepped : 0;
  }

  /**
   * What a clock that all nodes share says: `wallMs`, known to within `withinMs`. Gives how far the machine's clock is ahead of it, ms; where
   * that is more than a step this clock goes by the shared one from here on, until the machine's is right again.
   */
  confirm(wallMs: number, withinMs: number): number {
    const aheadMs = Date.now() - wallMs;
    const passed = performance.now();
    if (Math.abs(aheadMs) <= stepMs + withinMs) this.#base = wallMs + aheadMs - passed;
    else if (Math.abs(this.#base + passed - wallMs) > stepMs + withinMs) this.#base = wallMs - passed;
    return aheadMs;
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
