/**
 * Tells an `Admission` how the node is: asks the clock to come back again and again, and how late it does is how long the event loop
 * keeps everybody waiting. Also counts what was begun and not answered.
 */
import type { CancelTimer, Clock, Journal } from '../ports.ts';
import { Admission, type WorkClass } from './admission.ts';

export interface LoadProbeOptions {
  readonly clock: Clock;
  readonly journal: Pick<Journal, 'backlog'>;
  readonly journalMaxEntries: number;
  readonly journalMaxBytes: number;
  /** How late the event loop may come round, ms; 0: nothing is refused for it. */
  readonly loopDelayMs: number;
  /** Requests of live sessions that may be unanswered, and messages that may wait in mailboxes. */
  readonly maxInFlight: number;
  /** Messages that wait in mailboxes. */
  readonly waiting: () => number;
  readonly onShed?: (workClass: WorkClass) => void;
}

/** Often enough to see a queue grow, and fifty wake-ups a second. */
const lapEveryMs = 20;

export class LoadProbe {
  readonly admission: Admission;
  /** Requests of live sessions that are running; the transport counts them here. */
  inFlight = 0;
  readonly #clock: Clock;
  #timer: CancelTimer | undefined;

  constructor(options: LoadProbeOptions) {
    const { clock, journal, journalMaxEntries, journalMaxBytes, maxInFlight } = options;
    this.#clock = clock;
    this.admission = new Admission({
      loopDelayMs: options.loopDelayMs,
      lapEveryMs,
      now: clock.monotonic(),
      load: () => {
        const { entries, bytes } = journal.backlog();
        return {
          journal: Math.max(entries / journalMaxEntries, bytes / journalMaxBytes),
          // Whoever waits for the database costs no time, and reads go on while it is away.
          unanswered: Math.max(this.inFlight - entries, options.waiting()) / maxInFlight,
        };
      },
      ...(options.onShed === undefined ? {} : { onShed: options.onShed }),
    });
    this.#next();
  }

  close(): void {
    this.#timer?.();
  }

  #next(): void {
    this.#timer = this.#clock.after(lapEveryMs, () => {
      this.admission.lap(this.#clock.monotonic());
      this.#next();
    });
  }
}
