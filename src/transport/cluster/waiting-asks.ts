/**
 * The asks of one link that wait for an answer, by number. No promise and no timer each: a number, a callback, and an instant that
 * one sweep compares. Numbers are not used again while an answer to an earlier one may still come.
 */
import { PeerError, type PeerErrorKind, type PeerMeters, type PeerReply } from './peer.ts';

interface Waiting {
  readonly reply: PeerReply;
  /** Monotonic ms. */
  readonly askedAt: number;
  readonly dueAt: number;
  answered: boolean;
}

/** Small integers are cheap; a thousand million asks later nothing of the first is under way. */
const numbers = 2 ** 30;

export class WaitingAsks {
  readonly #meters: PeerMeters;
  /** Called with what a caller's reply threw. */
  readonly #fault: (thrown: unknown) => void;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor(meters: PeerMeters, fault: (thrown: unknown) => void) {
    this.#meters = meters;
    this.#fault = fault;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** The number that `add` gives next. */
  get next(): number {
    return this.#next;
  }

  /** Waits for the answers to ask number `next` until `dueAt` (monotonic ms). */
  add(reply: PeerReply, now: number, dueAt: number): void {
    this.#waiting.set(this.#next, { reply, askedAt: now, dueAt, answered: false });
    this.#next = (this.#next + 1) % numbers;
  }

  /** Hands on an answer; one to an ask that has ended is dropped. */
  answer(id: number, value: unknown, last: boolean, now: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    if (!waiting.answered) {
      waiting.answered = true;
      this.#meters.roundTrip.observe((now - waiting.askedAt) / 1_000);
    }
    if (last) this.#waiting.delete(id);
    try {
      waiting.reply(null, value, last);
    } catch (thrown) {
      this.#fault(thrown);
    }
  }

  /** Ends one ask with an error. */
  fail(id: number, kind: PeerErrorKind, detail: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    this.#end(waiting, new PeerError(kind, detail));
  }

  /** Ends all asks that wait now with an error. */
  failAll(kind: PeerErrorKind, detail: string): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    const error = new PeerError(kind, detail);
    for (const waiting of all) this.#end(waiting, error);
  }

  /** Ends those that are due with `late`. */
  sweep(now: number): void {
    for (const [id, waiting] of this.#waiting) if (waiting.dueAt <= now) this.fail(id, 'late', 'no answer within the deadline');
  }

  #end(waiting: Waiting, error: PeerError): void {
    this.#meters.errors[error.kind].inc();
    try {
      waiting.reply(error);
    } catch (thrown) {
      this.#fault(thrown);
    }
  }
}
