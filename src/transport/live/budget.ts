/** How often something may happen: the last `count` instants of it within a window. Pure; time comes from the caller. */
export class Budget {
  readonly #count: number;
  readonly #windowMs: number;
  #times: number[] = [];

  constructor(count: number, windowMs: number) {
    this.#count = count;
    this.#windowMs = windowMs;
  }

  /** Notes one more at `now` (monotonic ms). True when it is the `count`th within the window. */
  spend(now: number): boolean {
    const times = this.#times;
    times.push(now);
    if (times.length > this.#count) times.shift();
    return times.length === this.#count && now - (times[0] as number) < this.#windowMs;
  }
}
