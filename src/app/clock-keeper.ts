/**
 * Compares the machine's clock with the database's, which all nodes share, once a second. Actors, tokens and timers then go by the right time
 * whatever the machine says (`SystemClock.confirm`); but the OAuth library reads the machine's clock itself, so while that is wrong by more than
 * tokens may differ the node is not ready and serves no OAuth. Protocol faults of that kind would sign people out.
 */
import type { CancelTimer } from '../actors/ports.ts';
import type { SystemClock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Database } from '../persistence/database.ts';
import type { IdentityHandler } from '../transport/http/identity-route.ts';

export interface ClockKeeperOptions {
  readonly database: Database;
  readonly clock: SystemClock;
  readonly log: Logger;
}

const lookEveryMs = 1_000;
/** As far as clocks may differ where tokens are checked. */
const toleratedMs = 30_000;
/** An answer that took longer says too little. */
const answerWithinMs = 2_000;

export class ClockKeeper {
  readonly #options: ClockKeeperOptions;
  #aheadMs = 0;
  #toldOff = false;
  #next: CancelTimer | undefined;
  #closed = false;

  constructor(options: ClockKeeperOptions) {
    this.#options = options;
  }

  /** The machine's clock is wrong by so much that what reads it must not be trusted. */
  get off(): boolean {
    // A step is seen at once, before the database was asked.
    return Math.max(Math.abs(this.#aheadMs), Math.abs(this.#options.clock.steppedMs)) > toleratedMs;
  }

  /** Looks, and then every second. Resolves after the first look; a database that does not answer leaves things as they are. */
  async start(): Promise<void> {
    await this.#look();
    if (this.#closed) return;
    this.#next = this.#options.clock.after(lookEveryMs, () => void this.start());
  }

  /** Errors: throws while the machine's clock is off. */
  ready(): void {
    if (this.off)
      throw new Error(
        `the machine's clock is ${Math.round((this.#aheadMs || this.#options.clock.steppedMs) / 1_000)} s ahead of the database's`,
      );
  }

  /** Identity, silent while the machine's clock is off. */
  guard(identity: IdentityHandler): IdentityHandler {
    return {
      handle: (request) => (this.off ? Promise.resolve(unavailable) : identity.handle(request)),
    };
  }

  close(): void {
    this.#closed = true;
    this.#next?.();
  }

  async #look(): Promise<void> {
    const { database, clock, log } = this.#options;
    const askedAt = clock.monotonic();
    try {
      const [row] = await database.query<{ now: number }>('select tmcp_now_ms()::float8 as now', [], 'clock');
      const tookMs = clock.monotonic() - askedAt;
      if (row === undefined || tookMs > answerWithinMs) return;
      // The answer was made somewhere between the question and now.
      this.#aheadMs = clock.confirm(row.now + tookMs / 2, tookMs / 2);
      if (this.off === this.#toldOff) return;
      this.#toldOff = this.off;
      const say = this.off ? 'error' : 'info';
      log[say](
        { event: 'clock.off', state: this.off ? 'off' : 'right', waitMs: Math.round(this.#aheadMs) },
        "the machine's clock against the database's",
      );
    } catch {
      // The database is away, which others tell; the last comparison stands.
    }
  }
}

const unavailable = {
  status: 503,
  headers: [
    ['content-type', 'application/json'],
    ['retry-after', '5'],
  ],
  body: Buffer.from('{"error":"temporarily_unavailable","error_description":"this node cannot tell the time"}'),
} as const;
