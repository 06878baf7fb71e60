/**
 * Work that is due now and then and that one node at a time does: each job, or each shard of one, has a lease in the database. Every node looks
 * for it often and one gets it; when that one dies in the middle, another begins the job anew once the lease is over. For a moment two may run, when
 * a node stood still past its lease: a job must do no harm when it is done twice or only in part, and asks `goOn` between its pieces.
 */
import type { CancelTimer, Clock } from '../actors/ports.ts';
import { jitter } from '../ids.ts';
import type { JobLeases } from '../persistence/stores/job-leases.ts';

/** What a run of a job is told. */
export interface JobTurn {
  /** Which of `shards` this run does, from 0. */
  readonly shard: number;
  readonly shards: number;
  /** False: another node may have the job now, or this one stops; come to an end. */
  readonly goOn: () => boolean;
}

export interface Job {
  readonly name: string;
  /** A run that was done is not repeated sooner, by the database's clock; up to a lease later. */
  readonly everyMs: number;
  /** So many nodes may share the job, as `name#0`, `name#1` … Default 1, as `name`. */
  readonly shards?: number;
  /** Begins from the start each time. A throw leaves the job to whoever looks when the lease is over. */
  readonly run: (turn: JobTurn) => Promise<void>;
}

/**
 * How a run ended. `lost`: another node has taken the job, and the run counts for nothing; `stopped`: this node ends. After all but `done` the job
 * is due again when its lease is over.
 */
export type JobOutcome = 'done' | 'failed' | 'lost' | 'stopped';

export interface JobRunnerOptions {
  /** This node's boot id. */
  readonly owner: string;
  readonly leases: JobLeases;
  readonly clock: Clock;
  readonly jobs: readonly Job[];
  readonly log: { warn(fields: object, message: string): void };
  readonly observe?: (name: string, outcome: JobOutcome) => void;
  /** Default 30,000. */
  readonly leaseMs?: number;
}

const defaultLeaseMs = 30_000;

export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #leaseMs: number;
  readonly #looks = new Map<string, CancelTimer>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? defaultLeaseMs;
  }

  /** Begins to look for work; the first time after a random part of a lease. */
  start(): void {
    for (const job of this.#options.jobs) {
      const shards = job.shards ?? 1;
      for (let shard = 0; shard < shards; shard++) this.#lookLater(shards === 1 ? job.name : `${job.name}#${shard}`, job, shard, shards);
    }
  }

  /** Takes no job any more, and resolves when the running ones have come to an end. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const cancel of this.#looks.values()) cancel();
    await Promise.all(this.#running);
  }

  #lookLater(name: string, job: Job, shard: number, shards: number): void {
    if (this.#closed) return;
    // Often enough that a dead node's job is found soon after its lease, and never all nodes at once.
    const waitMs = Math.round(Math.min(job.everyMs, this.#leaseMs) * (0.5 + 0.5 * jitter()));
    const look = async (): Promise<void> => {
      await this.#look(name, job, shard, shards);
      this.#lookLater(name, job, shard, shards);
    };
    this.#looks.set(
      name,
      this.#options.clock.after(waitMs, () => {
        const looking: Promise<void> = look().finally(() => this.#running.delete(looking));
        this.#running.add(looking);
      }),
    );
  }

  async #look(name: string, job: Job, shard: number, shards: number): Promise<void> {
    const { leases, owner, clock, log, observe } = this.#options;
    const askedAt = clock.monotonic();
    try {
      const lease = await leases.tryLease(name, owner, this.#leaseMs, job.everyMs);
      if (lease === undefined || this.#closed) return;
      observe?.(name, await this.#run(name, lease.epoch, askedAt + this.#leaseMs, (goOn) => job.run({ shard, shards, goOn })));
    } catch (error) {
      // The database is away: whoever can reach it looks again.
      log.warn({ event: 'job.not_looked', name, err: error }, 'it is not known whether a job is due');
    }
  }

  /** `until`: when the lease may be over, by the monotonic clock. */
  async #run(name: string, epoch: number, until: number, run: (goOn: () => boolean) => Promise<void>): Promise<JobOutcome> {
    const { leases, owner, clock, log } = this.#options;
    let held = true;
    let brokenOff = false;
    let cancel: CancelTimer = () => {};
    const renewLater = (): void => {
      cancel = clock.after(this.#leaseMs / 3, () => {
        const askedAt = clock.monotonic();
        leases.renew(name, owner, epoch, this.#leaseMs).then(
          (renewed) => {
            if (renewed) until = Math.max(until, askedAt + this.#leaseMs);
            else held = false;
          },
          // Not renewed; the lease ends by `until` unless the next try comes through.
          () => {},
        );
        renewLater();
      });
    };
    const holds = (): boolean => held && clock.monotonic() < until;
    renewLater();
    try {
      await run(() => {
        brokenOff ||= this.#closed || !holds();
        return !brokenOff;
      });
      if (brokenOff) return holds() ? 'stopped' : 'lost';
      return (await leases.done(name, owner, epoch)) ? 'done' : 'lost';
    } catch (error) {
      log.warn({ event: 'job.failed', name, err: error }, 'a job failed; it is tried again');
      return 'failed';
    } finally {
      cancel();
    }
  }
}
