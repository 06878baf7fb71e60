/** Of many runners of a job one runs it at a time, on each kind of leases. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startUpkeep } from '../../src/app/upkeep.ts';
import { createLogger } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { Database } from '../../src/persistence/database.ts';
import { createJobLeases, type JobLeases } from '../../src/persistence/stores/job-leases.ts';
import { startRunner } from '../support/job-runners.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryJobLeases } from '../support/memory-job-leases.ts';
import { engines } from './databases.ts';

interface Kind {
  readonly leases: JobLeases;
  end(name: string): Promise<unknown>;
  everRun(name: string): Promise<boolean>;
  close(): Promise<unknown>;
}

const kinds: readonly { readonly name: string; open(): Promise<Kind> }[] = [
  {
    name: 'memory',
    async open() {
      // Nobody moves it: a lease ends when the test says so, as with a database.
      const leases = new MemoryJobLeases(new ManualClock());
      return {
        leases,
        end: async (name) => leases.end(name),
        everRun: async (name) => leases.lastRunAt(name) !== undefined,
        close: async () => {},
      };
    },
  },
  ...engines.map((engine) => ({
    name: engine.name,
    async open() {
      const db: Database = await engine.open();
      return {
        leases: createJobLeases(db),
        end: (name: string) => db.query('update job_leases set lease_until = tmcp_now_ms() where name = $1', [name]),
        everRun: async (name: string) =>
          (await db.query('select 1 from job_leases where name = $1 and last_run_at is not null', [name])).length > 0,
        close: () => db.close(),
      };
    },
  })),
];

describe.each(kinds)('runners of a job with leases in $name', ({ open }) => {
  let kind: Kind;
  let count = 0;
  let name: string;
  beforeAll(async () => {
    kind = await open();
  });
  afterAll(() => kind.close());
  beforeEach(() => {
    name = `job-${++count}`;
  });
  const pair = () => ['a', 'b'].map((owner) => startRunner(owner, kind.leases, { name })) as [Runner, Runner];

  it('[CLU13] one runs, the other does not; once it is done neither does before its time', async () => {
    const [a, b] = pair();
    await Promise.all([a.look(), b.look()]);
    expect(a.runs.length + b.runs.length).toBe(1);
    const [running, other] = a.runs.length === 1 ? [a, b] : [b, a];
    await other.look();
    expect(other.runs).toEqual([]);
    running.runs[0]!.end();
    await running.settled();
    expect(running.outcomes).toEqual([[name, 'done']]);
    await Promise.all([a.look(), b.look()]);
    expect(a.runs.length + b.runs.length).toBe(1);
    await Promise.all([a.runner.close(), b.runner.close()]);
  });

  it('[CLU13] another begins anew when the holder is dead, and the dead one’s late end counts for nothing', async () => {
    const [a, b] = pair();
    await a.look();
    await kind.end(name);
    await b.look();
    expect(b.runs).toHaveLength(1);
    a.runs[0]!.end();
    await a.settled();
    expect(a.outcomes).toEqual([[name, 'lost']]);
    expect(await kind.everRun(name)).toBe(false);
    b.runs[0]!.end();
    await b.settled();
    expect(b.outcomes).toEqual([[name, 'done']]);
    expect(await kind.everRun(name)).toBe(true);
    await Promise.all([a.runner.close(), b.runner.close()]);
  });

  it('[CLU13] who lost the lease learns it with the next renewal and is told to end', async () => {
    const [a, b] = pair();
    await a.look();
    await kind.end(name);
    await b.look();
    expect(a.runs[0]!.goOn()).toBe(true);
    a.clock.advance(10_000);
    await a.settled();
    expect(a.runs[0]!.goOn()).toBe(false);
    expect(b.runs[0]!.goOn()).toBe(true);
    for (const { runs } of [a, b]) runs[0]!.end();
    await Promise.all([a.runner.close(), b.runner.close()]);
    expect([a.outcomes, b.outcomes]).toEqual([[[name, 'lost']], [[name, 'done']]]);
  });

  it('shards are jobs of their own', async () => {
    const a = startRunner('a', kind.leases, { name, shards: 3 });
    const b = startRunner('b', kind.leases, { name, shards: 3 });
    await Promise.all([a.look(), b.look()]);
    const runs = [...a.runs, ...b.runs];
    expect(runs.map(({ shard }) => shard).sort()).toEqual([0, 1, 2]);
    for (const run of runs) run.end();
    await Promise.all([a.settled(), b.settled()]);
    expect([...a.outcomes, ...b.outcomes].sort()).toEqual([0, 1, 2].map((shard) => [`${name}#${shard}`, 'done']));
    await Promise.all([a.runner.close(), b.runner.close()]);
  });
});

describe('upkeep', () => {
  it('takes away what has expired, once over all nodes, and says when', async () => {
    const db = await (engines[0] as (typeof engines)[number]).open();
    const nodes = ['a', 'b'].map((owner) => {
      const clock = new ManualClock();
      const metrics = createMetrics(false);
      let swept = 0;
      const identityStore = {
        async sweep(goOn: () => boolean) {
          if (goOn()) swept++;
        },
      };
      const runner = startUpkeep({ owner, database: db, identityStore, clock, metrics, log: createLogger({ logLevel: 'silent' }) });
      return { clock, metrics, runner, swept: () => swept };
    });
    try {
      await db.query("insert into idempotency (scope, input_hash, result, expires_at) values ('old', 'x', '', 1)");
      for (const { clock } of nodes) clock.advance(30_000);
      let done: object[] = [];
      while (done.length < 2) {
        done = await db.query('select name from job_leases where last_run_at is not null');
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const { clock } of nodes) clock.advance(30_000);
      // Waits for those that look.
      await Promise.all(nodes.map(({ runner }) => runner.close()));
      expect(await db.query('select epoch from job_leases')).toEqual([{ epoch: 1 }, { epoch: 1 }]);
      expect(await db.query('select scope from idempotency')).toEqual([]);
      expect(nodes.map(({ swept }) => swept()).sort()).toEqual([0, 1]);
      const text = (await Promise.all(nodes.map(({ metrics }) => metrics.text()))).join('\n');
      for (const job of ['purge', 'identity']) {
        expect(text.match(new RegExp(`^job_runs_total\\{job="${job}",outcome="done"\\} 1$`, 'gm'))).toHaveLength(1);
        const at = Date.UTC(2026, 0, 1) / 1_000;
        const told = new RegExp(`^job_last_success_timestamp_seconds\\{job="${job}"\\} (\\d+)$`, 'm').exec(text)?.[1];
        expect(Number(told) - at).toBeGreaterThanOrEqual(15);
        expect(Number(told) - at).toBeLessThanOrEqual(90);
      }
    } finally {
      await Promise.all(nodes.map(({ runner }) => runner.close()));
      await db.close();
    }
  });
});

type Runner = ReturnType<typeof startRunner>;
