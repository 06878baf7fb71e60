/**
 * One circuit breaker an operation: 5 failures among its last 10 calls open it for 60 s, then one probe at a time, 10 s
 * apart, until one succeeds. Protocol section 18. State is of this process: each node finds out for itself.
 *
 * The policy is cockatiel's; the window is ours because its `CountBreaker` counts a share, which opens too early while
 * the window fills. Time comes from our clock: cockatiel compares the wall clock with a duration, so the duration given
 * to it is either "still shut" or "due".
 */
import {
  BrokenCircuitError,
  CircuitState,
  circuitBreaker,
  handleWhenResult,
  type CircuitBreakerPolicy,
  type IBackoff,
  type IBreaker,
} from 'cockatiel';
import type { Clock } from '../../actors/ports.ts';

export const breakerWindow = 10;
export const breakerFailures = 5;
export const openMs = 60_000;
export const probeEveryMs = 10_000;

/** A breaker as operators see it. */
export interface BreakerState {
  readonly state: 'closed' | 'open' | 'half_open';
  /** Of the last 10 calls. */
  readonly failures: number;
  readonly totalCalls: number;
  /** Of all calls, in [0, 1]; 1 when there was none. */
  readonly successRate: number;
  /** Epoch ms; null before the first change. */
  readonly lastChangeAt: number | null;
}

/** Opens at the fifth failure among the last ten calls, whether or not there were ten. */
class LastCalls implements IBreaker {
  state: boolean[] = [];

  success(circuit: CircuitState): void {
    if (circuit === CircuitState.HalfOpen) this.state = [];
    this.#push(true);
  }

  failure(circuit: CircuitState): boolean {
    this.#push(false);
    return circuit !== CircuitState.Closed || this.failures >= breakerFailures;
  }

  get failures(): number {
    return this.state.filter((ok) => !ok).length;
  }

  #push(ok: boolean): void {
    this.state = [...this.state, ok].slice(-breakerWindow);
  }
}

/** Guards one operation. */
export class Breaker<R> {
  readonly #clock: Clock;
  readonly #policy: CircuitBreakerPolicy;
  readonly #window = new LastCalls();
  #dueWall = 0;
  #dueMonotonic = 0;
  #totalCalls = 0;
  #totalFailures = 0;
  #lastChangeAt: number | null = null;

  constructor(clock: Clock, isFailure: (result: R) => boolean) {
    this.#clock = clock;
    const countedFailure = (result: unknown): boolean => {
      const failed = isFailure(result as R);
      this.#totalCalls += 1;
      if (failed) this.#totalFailures += 1;
      return failed;
    };
    this.#policy = circuitBreaker(handleWhenResult(countedFailure), {
      breaker: this.#window,
      halfOpenAfter: { next: () => this.#wait(openMs) },
    });
    this.#policy.onStateChange(() => {
      this.#lastChangeAt = clock.now();
    });
  }

  /** Runs `fn`, or gives the ms left to wait without running it. While a probe runs, others are turned away too. */
  async run(
    fn: () => Promise<R>,
  ): Promise<{ readonly ran: true; readonly result: R } | { readonly ran: false; readonly retryAfterMs: number }> {
    if (this.#policy.state === CircuitState.HalfOpen) return { ran: false, retryAfterMs: probeEveryMs };
    try {
      return { ran: true, result: await this.#policy.execute(fn) };
    } catch (error) {
      if (error instanceof BrokenCircuitError) return { ran: false, retryAfterMs: Math.max(1, Math.ceil(this.#leftMs())) };
      throw error;
    }
  }

  get view(): BreakerState {
    const names = {
      [CircuitState.Closed]: 'closed',
      [CircuitState.Open]: 'open',
      [CircuitState.HalfOpen]: 'half_open',
      [CircuitState.Isolated]: 'open',
    } as const;
    return {
      state: names[this.#policy.state],
      failures: this.#window.failures,
      totalCalls: this.#totalCalls,
      successRate: this.#totalCalls === 0 ? 1 : (this.#totalCalls - this.#totalFailures) / this.#totalCalls,
      lastChangeAt: this.#lastChangeAt,
    };
  }

  /** Asked for at each opening: 60 s at first, 10 s after a probe that failed. */
  #wait(ms: number): IBackoff<unknown> {
    this.#dueWall = this.#clock.now() + ms;
    this.#dueMonotonic = this.#clock.monotonic() + ms;
    const leftMs = () => this.#leftMs();
    return {
      get duration() {
        return leftMs() > 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
      },
      next: () => this.#wait(probeEveryMs),
    };
  }

  /** By the clock that is further on: a wall clock set back must not hold the breaker open, and one moved by hand must count. */
  #leftMs(): number {
    return Math.min(this.#dueWall - this.#clock.now(), this.#dueMonotonic - this.#clock.monotonic());
  }
}
