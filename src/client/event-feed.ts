/**
 * The numbers of a session's events: which are new, which came twice, where one is missing, and when to acknowledge. The server
 * keeps what is not acknowledged for a resume; an acknowledgement an event would double the traffic.
 */

/** `gap`: the event is new, but some before it never came. */
export type Taken = 'new' | 'repeat' | 'gap' | 'invalid';

/** An acknowledgement goes out this long after the first event it covers, */
const ackWithinMs = 100;
/** or as soon as this many wait for it: the server's buffer holds 1,000. */
const ackAtEvents = 32;

export class EventFeed {
  readonly #send: (seq: number) => void;
  #seq = 0;
  #acked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `send` tells the server that everything up to a number arrived. */
  constructor(send: (seq: number) => void) {
    this.#send = send;
  }

  /** The last number that arrived; a resume goes on after it. */
  get seq(): number {
    return this.#seq;
  }

  /** A session was opened whose next event is `seq` + 1. Opening told the server so: nothing waits to be acknowledged. */
  begin(seq: number): void {
    this.pause();
    this.#seq = seq;
    this.#acked = seq;
  }

  /** There is no connection to acknowledge on. */
  pause(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** An event arrived. After a gap the count goes on from it, so each gap is told once. */
  take(seq: unknown): Taken {
    if (!Number.isSafeInteger(seq) || (seq as number) < 1) return 'invalid';
    const number = seq as number;
    const taken = number <= this.#seq ? 'repeat' : number === this.#seq + 1 ? 'new' : 'gap';
    if (taken !== 'repeat') this.#seq = number;
    return taken;
  }

  /** What arrived was handed on: it may be acknowledged. */
  handled(): void {
    const waiting = this.#seq - this.#acked;
    if (waiting >= ackAtEvents) this.#ack();
    else if (waiting > 0) this.#timer ??= setTimeout(() => this.#ack(), ackWithinMs);
  }

  #ack(): void {
    this.pause();
    this.#acked = this.#seq;
    this.#send(this.#seq);
  }
}
