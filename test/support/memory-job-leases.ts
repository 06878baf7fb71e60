/** Leases of jobs in memory, on a test's clock; held to what the runner needs of the real ones by test/contract/jobs.test.ts. */
import type { Clock } from '../../src/actors/ports.ts';
import type { JobLeases } from '../../src/persistence/stores/job-leases.ts';

interface Row {
  owner: string;
  epoch: number;
  until: number;
  lastRunAt: number | undefined;
}

export class MemoryJobLeases implements JobLeases {
  readonly #clock: Clock;
  readonly #rows = new Map<string, Row>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async tryLease(name: string, owner: string, leaseMs: number, everyMs = 0): Promise<{ readonly epoch: number } | undefined> {
    const now = this.#clock.monotonic();
    const row = this.#rows.get(name) ?? { owner, epoch: 0, until: Number.NEGATIVE_INFINITY, lastRunAt: undefined };
    if (row.until > now || (row.lastRunAt !== undefined && row.lastRunAt + everyMs > now)) return undefined;
    this.#rows.set(name, { ...row, owner, epoch: row.epoch + 1, until: now + leaseMs });
    return { epoch: row.epoch + 1 };
  }

  async renew(name: string, owner: string, epoch: number, leaseMs: number): Promise<boolean> {
    const row = this.#mine(name, owner, epoch);
    if (row !== undefined) row.until = this.#clock.monotonic() + leaseMs;
    return row !== undefined;
  }

  async done(name: string, owner: string, epoch: number): Promise<boolean> {
    const row = this.#mine(name, owner, epoch);
    if (row !== undefined) Object.assign(row, { until: Number.NEGATIVE_INFINITY, lastRunAt: this.#clock.monotonic() });
    return row !== undefined;
  }

  /** As if the holder's time were over. */
  end(name: string): void {
    const row = this.#rows.get(name);
    if (row !== undefined) row.until = this.#clock.monotonic();
  }

  lastRunAt(name: string): number | undefined {
    return this.#rows.get(name)?.lastRunAt;
  }

  #mine(name: string, owner: string, epoch: number): Row | undefined {
    const row = this.#rows.get(name);
    return row !== undefined && row.owner === owner && row.epoch === epoch && row.until > Number.NEGATIVE_INFINITY ? row : undefined;
  }
}
