/**
 * How many sockets a node takes in a second: a bucket. Those it turns away are told to come back one after the other, so that a storm
 * of clients becomes a queue. Pure; time comes from the caller. Rules: docs/spec/session.md, [LIVE45].
 */

/** Seconds. Nobody is sent away for longer. */
const longestWaitS = 60;
/** Seconds over which even the first of those turned away are spread. */
const shortestSpreadS = 5;

export class AcceptBudget {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  /** Clients that were turned away and have not had their time yet. */
  #queue = 0;
  #at: number;

  /** `rate` sockets a second, 0 for no bound; `burst` at once. `now` is monotonic ms. */
  constructor(rate: number, burst: number, now: number) {
    this.#perMs = rate / 1_000;
    this.#burst = Math.max(1, burst);
    this.#tokens = this.#burst;
    this.#at = now;
  }

  /** Takes one. Undefined: it may come in. Otherwise the seconds after which to try again, by `random` in [0, 1) somewhere in the queue. */
  take(now: number, random: number): number | undefined {
    if (this.#perMs === 0) return undefined;
    const grown = (now - this.#at) * this.#perMs;
    this.#at = now;
    this.#tokens = Math.min(this.#burst, this.#tokens + grown);
    this.#queue = Math.max(0, this.#queue - grown);
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return undefined;
    }
    this.#queue += 1;
    const spread = Math.max(shortestSpreadS, this.#queue / this.#perMs / 1_000);
    return 1 + Math.floor(random * Math.min(longestWaitS, spread));
  }
}
