/** The jobs that take away what has outlived its promise. Nobody reads such rows any more, so it does not matter when they go, or how often. */
import type { Clock } from '../actors/ports.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Database } from '../persistence/database.ts';
import { createJobLeases } from '../persistence/stores/job-leases.ts';
import { purgeExpired } from '../persistence/stores/upkeep.ts';
import { type Job, JobRunner } from './jobs.ts';

export interface UpkeepParts {
  /** This node's boot id. */
  readonly owner: string;
  readonly database: Database;
  readonly identityStore: { sweep(goOn: () => boolean): Promise<void> };
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'jobRuns' | 'jobLastSuccess'>;
  readonly log: Logger;
}

/** Begins to look for work that is due; alone or among other nodes. */
export function startUpkeep({ owner, database, identityStore, clock, metrics, log }: UpkeepParts): JobRunner {
  const jobs: readonly Job[] = [
    {
      // Tombstones, conflicts, first answers, dead lanes.
      name: 'purge',
      everyMs: 10 * 60_000,
      async run({ goOn }) {
        await purgeExpired(database, clock.now(), undefined, goOn);
      },
    },
    // Sign-ins, codes, tokens. Oftener: anybody can begin a sign-in, and each leaves a row.
    { name: 'identity', everyMs: 60_000, run: ({ goOn }) => identityStore.sweep(goOn) },
  ];
  const runner = new JobRunner({
    owner,
    leases: createJobLeases(database),
    clock,
    jobs,
    log: log.child({ component: 'jobs' }),
    observe(job, outcome) {
      metrics.jobRuns.with(job, outcome).inc();
      if (outcome === 'done') metrics.jobLastSuccess.with(job).set(Math.round(clock.now() / 1_000));
    },
  });
  runner.start();
  return runner;
}
