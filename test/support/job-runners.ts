/** Runners of jobs whose time a test moves and whose work it ends by hand. */
import { JobRunner, type Job, type JobOutcome, type JobTurn } from '../../src/app/jobs.ts';
import type { JobLeases } from '../../src/persistence/stores/job-leases.ts';
import { ManualClock } from './manual-clock.ts';

export const leaseMs = 30_000;

interface Run extends JobTurn {
  end(): void;
  fail(error: Error): void;
}

export interface TestRunner {
  readonly clock: ManualClock;
  /** What was begun, oldest first. */
  readonly runs: Run[];
  readonly outcomes: [string, JobOutcome][];
  readonly warnings: object[];
  readonly runner: JobRunner;
  /** Lets time pass until it has looked for work at least once, and waits for what came of that. */
  look(): Promise<void>;
  /** Waits for what is under way with the leases. */
  settled(): Promise<void>;
}

/** A runner that has started. `clock`: its own, unless it is shared with others. */
export function startRunner(owner: string, leases: JobLeases, job: Partial<Job> = {}, clock: ManualClock = new ManualClock()): TestRunner {
  const pending = new Set<Promise<unknown>>();
  const watched = <A extends readonly unknown[], R>(call: (...args: A) => Promise<R>) => {
    return (...args: A): Promise<R> => {
      const promise = call(...args);
      const ended = promise.then(
        () => {},
        () => {},
      );
      pending.add(ended);
      void ended.then(() => pending.delete(ended));
      return promise;
    };
  };
  const runs: Run[] = [];
  const outcomes: [string, JobOutcome][] = [];
  const warnings: object[] = [];
  const runner = new JobRunner({
    owner,
    leases: {
      tryLease: watched((name, by, ms, everyMs) => leases.tryLease(name, by, ms, everyMs)),
      renew: watched((name, by, epoch, ms) => leases.renew(name, by, epoch, ms)),
      done: watched((name, by, epoch) => leases.done(name, by, epoch)),
    },
    clock,
    jobs: [
      {
        name: 'job',
        everyMs: 600_000,
        run: (turn) => new Promise((resolve, reject) => runs.push({ ...turn, end: resolve, fail: reject })),
        ...job,
      },
    ],
    log: { warn: (fields) => warnings.push(fields) },
    observe: (name, outcome) => outcomes.push([name, outcome]),
    leaseMs,
  });
  runner.start();
  const settled = async (): Promise<void> => {
    do {
      await Promise.all(pending);
      await new Promise((resolve) => setImmediate(resolve));
    } while (pending.size > 0);
  };
  return {
    clock,
    runs,
    outcomes,
    warnings,
    runner,
    settled,
    async look() {
      clock.advance(leaseMs);
      await settled();
    },
  };
}
