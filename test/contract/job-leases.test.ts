/** What the leases of upkeep jobs promise, on each engine (stores/job-leases.ts). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/persistence/database.ts';
import { createJobLeases, type JobLeases } from '../../src/persistence/stores/job-leases.ts';
import { engines } from './databases.ts';

const leaseMs = 60_000;

describe.each(engines)('job leases on $name', (engine) => {
  let db: Database;
  let jobs: JobLeases;
  beforeAll(async () => {
    db = await engine.open();
    jobs = createJobLeases(db);
  });
  afterAll(() => db.close());

  const endLease = (name: string) => db.query('update job_leases set lease_until = tmcp_now_ms() where name = $1', [name]);

  it('of many nodes that want a job at once one has it', async () => {
    const owners = Array.from({ length: 10 }, (_, index) => `node-${index}`);
    const got = await Promise.all(owners.map((owner) => jobs.tryLease('at-once', owner, leaseMs)));
    expect(got.filter((lease) => lease !== undefined)).toEqual([{ epoch: 1 }]);
  });

  it('a job is one run at a time, also on one node, and free again when the run is done', async () => {
    const first = (await jobs.tryLease('again', 'a', leaseMs))!;
    expect(await jobs.tryLease('again', 'a', leaseMs)).toBeUndefined();
    expect(await jobs.done('again', 'a', first.epoch)).toBe(true);
    expect(await jobs.tryLease('again', 'b', leaseMs)).toEqual({ epoch: first.epoch + 1 });
  });

  it('[A1] another node goes on when the lease is over, and what the former holder says then changes nothing', async () => {
    const first = (await jobs.tryLease('taken', 'a', leaseMs))!;
    expect(await jobs.tryLease('taken', 'b', leaseMs)).toBeUndefined();
    await endLease('taken');
    const second = (await jobs.tryLease('taken', 'b', leaseMs))!;
    expect(second.epoch).toBe(first.epoch + 1);
    const before = await db.query("select * from job_leases where name = 'taken'");
    expect(await jobs.renew('taken', 'a', first.epoch, leaseMs)).toBe(false);
    expect(await jobs.done('taken', 'a', first.epoch)).toBe(false);
    expect(await jobs.renew('taken', 'a', second.epoch, leaseMs)).toBe(false);
    expect(await db.query("select * from job_leases where name = 'taken'")).toEqual(before);
    expect(await jobs.renew('taken', 'b', second.epoch, leaseMs)).toBe(true);
    expect(await jobs.done('taken', 'b', second.epoch)).toBe(true);
  });

  it('the same node that comes back under a new epoch does not speak for its former run', async () => {
    const first = (await jobs.tryLease('self', 'a', leaseMs))!;
    await endLease('self');
    const second = (await jobs.tryLease('self', 'a', leaseMs))!;
    expect(await jobs.done('self', 'a', first.epoch)).toBe(false);
    expect(await jobs.done('self', 'a', second.epoch)).toBe(true);
  });

  it('a lapsed lease that nobody took can be renewed, and one that was ended cannot', async () => {
    const lease = (await jobs.tryLease('lapsed', 'a', leaseMs))!;
    await endLease('lapsed');
    expect(await jobs.renew('lapsed', 'a', lease.epoch, leaseMs)).toBe(true);
    expect(await jobs.tryLease('lapsed', 'b', leaseMs)).toBeUndefined();
    expect(await jobs.done('lapsed', 'a', lease.epoch)).toBe(true);
    expect(await jobs.renew('lapsed', 'a', lease.epoch, leaseMs)).toBe(false);
    expect(await jobs.done('lapsed', 'a', lease.epoch)).toBe(false);
  });

  it('a job that was done is not taken again before its time, and one that broke off is', async () => {
    const first = (await jobs.tryLease('spaced', 'a', leaseMs, 600_000))!;
    await endLease('spaced');
    const second = (await jobs.tryLease('spaced', 'b', leaseMs, 600_000))!;
    expect(second.epoch).toBe(first.epoch + 1);
    await jobs.done('spaced', 'b', second.epoch);
    expect(await jobs.tryLease('spaced', 'a', leaseMs, 600_000)).toBeUndefined();
    await db.query("update job_leases set last_run_at = tmcp_now_ms() - 600000 where name = 'spaced'");
    expect(await jobs.tryLease('spaced', 'a', leaseMs, 600_000)).toEqual({ epoch: second.epoch + 1 });
  });

  it('jobs of different names do not know each other', async () => {
    expect(await jobs.tryLease('one', 'a', leaseMs)).toEqual({ epoch: 1 });
    expect(await jobs.tryLease('two', 'b', leaseMs)).toEqual({ epoch: 1 });
    expect(await jobs.done('one', 'b', 1)).toBe(false);
    expect(await jobs.renew('none', 'a', 1, leaseMs)).toBe(false);
  });
});
