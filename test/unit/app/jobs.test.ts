/** When a runner looks, renews, gives up and ends, by the clock. */
import { describe, expect, it } from 'vitest';
import type { JobLeases } from '../../../src/persistence/stores/job-leases.ts';
import { leaseMs, startRunner } from '../../support/job-runners.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryJobLeases } from '../../support/memory-job-leases.ts';

function alone(everyMs = 600_000) {
  const clock = new ManualClock();
  const leases = new MemoryJobLeases(clock);
  return { leases, ...startRunner('a', leases, { everyMs }, clock) };
}

describe('a runner of jobs', () => {
  it('looks within a lease, not at once, and not all nodes at the same moment', async () => {
    const waits = new Set<number>();
    for (let i = 0; i < 5; i++) {
      const { clock, runs, settled } = alone();
      let waited = 0;
      while (runs.length === 0 && waited < leaseMs) {
        clock.advance(100);
        await settled();
        waited += 100;
      }
      expect(runs).toHaveLength(1);
      expect(waited).toBeGreaterThanOrEqual(leaseMs / 2);
      waits.add(waited);
    }
    expect(waits.size).toBeGreaterThan(1);
  });

  it('runs again when the interval has passed, and not before', async () => {
    const { clock, runs, settled, look, outcomes, leases } = alone(100_000);
    await look();
    runs[0]!.end();
    await settled();
    const doneAt = leases.lastRunAt('job')!;
    while (clock.monotonic() < doneAt + 99_000) {
      clock.advance(1_000);
      await settled();
    }
    expect(runs).toHaveLength(1);
    await look();
    await look();
    expect(runs).toHaveLength(2);
    runs[1]!.end();
    await settled();
    expect(outcomes).toEqual([
      ['job', 'done'],
      ['job', 'done'],
    ]);
  });

  it('keeps the lease of a run that takes long, however often it is renewed', async () => {
    const { clock, runs, settled, look, outcomes, leases } = alone();
    await look();
    for (let i = 0; i < 20; i++) {
      clock.advance(leaseMs / 3);
      await settled();
      expect(await leases.tryLease('job', 'b', leaseMs)).toBeUndefined();
    }
    expect(runs[0]!.goOn()).toBe(true);
    runs[0]!.end();
    await settled();
    expect(outcomes).toEqual([['job', 'done']]);
  });

  it('[CLU13] tells a run to end before its lease can be over while the database is away', async () => {
    const clock = new ManualClock();
    const memory = new MemoryJobLeases(clock);
    const leases: JobLeases = {
      tryLease: (...args) => memory.tryLease(...args),
      renew: () => Promise.reject(new Error('the database is away')),
      done: () => Promise.reject(new Error('the database is away')),
    };
    const { runs, settled, outcomes, warnings } = startRunner('a', leases, {}, clock);
    while (runs.length === 0) {
      clock.advance(100);
      await settled();
    }
    const [run] = runs;
    clock.advance(leaseMs - 100);
    await settled();
    expect(run!.goOn()).toBe(true);
    clock.advance(100);
    expect(run!.goOn()).toBe(false);
    run!.end();
    await settled();
    expect(outcomes).toEqual([['job', 'lost']]);
    expect(warnings).toEqual([]);
  });

  it('a run that throws is noted, and the job is due again when its lease is over', async () => {
    const { runs, settled, look, outcomes, warnings, leases } = alone();
    await look();
    runs[0]!.fail(new Error('no'));
    await settled();
    expect(outcomes).toEqual([['job', 'failed']]);
    expect(warnings).toEqual([expect.objectContaining({ event: 'job.failed', name: 'job' })]);
    expect(leases.lastRunAt('job')).toBeUndefined();
    expect(await leases.tryLease('job', 'b', leaseMs)).toBeUndefined();
    await look();
    await look();
    expect(runs).toHaveLength(2);
  });

  it('a database that is away when it looks is told once a look, and looked for again', async () => {
    const clock = new ManualClock();
    const memory = new MemoryJobLeases(clock);
    let away = true;
    const leases: JobLeases = {
      tryLease: (...args) => (away ? Promise.reject(new Error('away')) : memory.tryLease(...args)),
      renew: (...args) => memory.renew(...args),
      done: (...args) => memory.done(...args),
    };
    const { look, runs, warnings } = startRunner('a', leases, {}, clock);
    await look();
    expect(runs).toEqual([]);
    expect(warnings).toEqual([expect.objectContaining({ event: 'job.not_looked', name: 'job' })]);
    away = false;
    await look();
    expect(runs).toHaveLength(1);
  });

  it('a node that stops waits for what runs, which is told to end and is left to another', async () => {
    const { runs, look, outcomes, runner, leases, clock, settled } = alone();
    await look();
    let closed = false;
    const closing = runner.close().then(() => {
      closed = true;
    });
    await settled();
    expect(closed).toBe(false);
    expect(runs[0]!.goOn()).toBe(false);
    runs[0]!.end();
    await closing;
    expect(outcomes).toEqual([['job', 'stopped']]);
    expect(leases.lastRunAt('job')).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('a run that comes to its end while the node stops is done', async () => {
    const { runs, look, outcomes, runner } = alone();
    await look();
    const closing = runner.close();
    runs[0]!.end();
    await closing;
    expect(outcomes).toEqual([['job', 'done']]);
  });
});
