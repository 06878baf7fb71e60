/** The answers of one batch: collected in the order in which they come, sent as one array when the last is there. */
import type { AnswerEnvelope } from '../../protocol/envelope.ts';

export class Batch {
  readonly #answers: AnswerEnvelope[] = [];
  #left: number;
  readonly #done: (answers: readonly AnswerEnvelope[]) => void;

  /** `expected`: how many items will be answered, at least one. */
  constructor(expected: number, done: (answers: readonly AnswerEnvelope[]) => void) {
    this.#left = expected;
    this.#done = done;
  }

  add(answer: AnswerEnvelope): void {
    this.#answers.push(answer);
    if (--this.#left === 0) this.#done(this.#answers);
  }
}
