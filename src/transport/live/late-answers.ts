/**
 * Refusals that are answered a little later. A peer that asks again as soon as it is refused costs as much refused as served, so it is
 * made to wait by the only means there is: its requests stay in flight. Rules: docs/spec/session.md, [LIVE48].
 */
import type { CancelTimer, Clock } from '../../actors/ports.ts';

/** How often what is due is looked for: apart enough to cost nothing, close enough that answers do not come in heaps. */
const lookEveryMs = 50;

interface Waiting<T> {
  readonly dueAt: number;
  readonly late: T;
}

export class LateAnswers<T> {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #answer: (late: T) => void;
  /** One line for each delay, oldest first: within a line what came first is due first. */
  readonly #lines = new Map<number, Waiting<T>[]>();
  #count = 0;
  #timer: CancelTimer | undefined;

  /** `most`: how many may wait; more are not taken. */
  constructor(clock: Clock, most: number, answer: (late: T) => void) {
    this.#clock = clock;
    this.#most = most;
    this.#answer = answer;
  }

  /** Takes one, to be answered after `delayMs`, which is one of a few values. False: too many wait, it must be answered now. */
  add(late: T, delayMs: number): boolean {
    if (this.#count >= this.#most) return false;
    let line = this.#lines.get(delayMs);
    if (line === undefined) {
      line = [];
      this.#lines.set(delayMs, line);
    }
    line.push({ dueAt: this.#clock.monotonic() + delayMs, late });
    this.#count++;
    if (this.#timer === undefined) this.#look();
    return true;
  }

  #look(): void {
    this.#timer = this.#clock.after(lookEveryMs, () => {
      const now = this.#clock.monotonic();
      for (const line of this.#lines.values()) {
        const left = line.findIndex(({ dueAt }) => dueAt > now);
        const due = line.splice(0, left < 0 ? line.length : left);
        this.#count -= due.length;
        for (const { late } of due) this.#answer(late);
      }
      this.#timer = undefined;
      if (this.#count > 0) this.#look();
    });
  }
}
