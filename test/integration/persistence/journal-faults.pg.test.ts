/** A journal on a real Postgres that fails under it: lost answers, killed backends, locks, deadlocks, a server that is gone. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Database } from '../../../src/persistence/database.ts';
import { FencedError } from '../../../src/persistence/journal/errors.ts';
import { migrate } from '../../../src/persistence/migrate.ts';
import { openPostgres } from '../../../src/persistence/postgres/open.ts';
import { createActorStore } from '../../../src/persistence/stores/actor-store.ts';
import { claimSlots } from '../../../src/persistence/stores/slots.ts';
import { readinessProbe } from '../../../src/persistence/stores/upkeep.ts';
import { slotOf } from '../../../src/actors/runtime/slots.ts';
import { freshDatabase, startPostgres } from '../../support/postgres.ts';
import { clock, entryOf, openJournal, rowOf, type TestJournal } from '../../contract/databases.ts';
import { startCuttingProxy } from './cutting-proxy.ts';

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function open(url: string, statementTimeoutMs?: number): Promise<Database> {
  const db = await openPostgres(url, { poolSize: 8, ...(statementTimeoutMs === undefined ? {} : { statementTimeoutMs }) });
  ends.push(() => db.close());
  return db;
}

async function fresh(statementTimeoutMs?: number): Promise<{ url: string; db: Database }> {
  const url = await freshDatabase();
  const db = await open(url, statementTimeoutMs);
  await migrate(db);
  return { url, db };
}

async function journalOn(db: Database, options: Parameters<typeof openJournal>[1] = {}): Promise<TestJournal> {
  const opened = await openJournal(db, options);
  ends.push(() => opened.journal.close());
  return opened;
}

/** Asks again and again until `seen`: what is waited for is another session's doing. */
async function until(seen: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await seen())) await new Promise((resolve) => setImmediate(resolve));
}

/** True while a backend of this database waits for a lock in a statement like `text`. */
async function waitsForLock(db: Database, text: string): Promise<boolean> {
  const rows = await db.query(
    "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like $1 and pid <> pg_backend_pid()",
    [`%${text}%`],
  );
  return rows.length > 0;
}

function record(seq: number) {
  return { seq, machineVersion: 1, event: { type: 'e' }, at: seq, stateAfter: 's' };
}

describe('a journal whose Postgres fails', () => {
  it('[D2] [I25] finds a commit whose answer was lost, and writes it once', async () => {
    const { url, db } = await fresh();
    const proxy = await startCuttingProxy(url);
    ends.push(() => proxy.close());
    const { journal, append } = await journalOn(await open(proxy.url));
    for (let seq = 0; seq < 20; seq++) {
      if (seq % 2 === 1) proxy.cutNext(`marker-${seq}`);
      expect(
        await append(entryOf('payment:lost', seq, { snapshot: { value: `marker-${seq}` }, records: [record(seq + 1)] })),
      ).toBeUndefined();
    }
    expect(proxy.cuts()).toBe(10);
    // A cut can fall before the commit has ended, too: then the group is committed by the second try.
    expect(journal.counters.unknown).toBeGreaterThanOrEqual(10);
    expect(journal.counters.failed).toBe(0);
    const store = createActorStore(db);
    expect((await store.load('payment:lost'))?.seq).toBe(20);
    expect((await store.records('payment:lost')).map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  });

  it('[D2] [D1] tells the truth though its backends are killed all the time: no loss, no repeat, no false answer', async () => {
    const { db } = await fresh();
    const { journal, append } = await journalOn(db, { lanes: 3 });
    const target = Number(process.env['TMCP_TEST_KILLS'] ?? 100);
    const actors = 40;
    let killed = 0;
    let answered = 0;
    const kill = async (): Promise<void> => {
      while (killed < target) {
        // Some progress between two kills, or no commit would ever get through.
        const next = answered + 8;
        await until(() => answered >= next);
        const rows = await db.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'active' and query like '%tmcp_commit%' and pid <> pg_backend_pid()",
        );
        killed += rows.length;
      }
    };
    const kinds = ['vault', 'payment', 'user'];
    const write = async (index: number): Promise<{ address: string; steps: number; errors: Error[] }> => {
      const address = `${kinds[index % 3]}:kill-${index}`;
      const errors: Error[] = [];
      let steps = 0;
      for (; killed < target; steps++) {
        const outbox = [{ id: `${address}/${steps}`, type: 't', payload: {} }];
        const error = await append(
          entryOf(address, steps, { records: [record(steps + 1)], storage: [rowOf(`k${steps % 3}`, steps + 1)], outbox }),
        );
        if (error !== undefined) errors.push(error);
        answered++;
      }
      return { address, steps, errors };
    };
    const [said] = await Promise.all([Promise.all(Array.from({ length: actors }, (_, index) => write(index))), kill()]);
    expect(said.flatMap(({ errors }) => errors)).toEqual([]);
    const rows = await db.query<{ address: string; seq: number; records: number; distinct: number; outbox: number }>(
      `select a.address, a.seq, count(r.seq) as records, count(distinct r.seq) as distinct,
        (select count(*) from outbox o where o.address = a.address) as outbox
      from actors a join records r using (address) group by a.address, a.seq`,
    );
    const stored = new Map(rows.map((row) => [row.address, row]));
    for (const { address, steps } of said) {
      expect(stored.get(address)).toEqual({ address, seq: steps, records: steps, distinct: steps, outbox: steps });
    }
    expect(journal.counters.unknown).toBeGreaterThan(0);
    expect(journal.counters.failed).toBe(0);
  }, 300_000);

  it('[D2] writes once though the first try hangs, is given up and commits after all', async () => {
    const { db } = await fresh(60_000);
    const { journal, append } = await journalOn(db, { commitTimeoutMs: 50 });
    expect(await append(entryOf('vault:hang', 0, { records: [record(1)] }))).toBeUndefined();
    const blocker = await db.connect();
    await blocker.query('begin');
    await blocker.query("select 1 from actors where address = 'vault:hang' for update");
    const waiting = append(entryOf('vault:hang', 1, { records: [record(2)] }));
    await until(() => journal.counters.unknown >= 3);
    await blocker.query('commit');
    blocker.release();
    expect(await waiting).toBeUndefined();
    expect(await append(entryOf('vault:hang', 2, { records: [record(3)] }))).toBeUndefined();
    expect((await createActorStore(db).records('vault:hang')).map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });

  it('[A1] a claim waits for a commit in flight, and the next commit of the old owner is refused', async () => {
    const { db } = await fresh();
    const { append } = await journalOn(db);
    await append(entryOf('vault:flight', 0));
    const blocker = await db.connect();
    await blocker.query('begin');
    await blocker.query("select 1 from actors where address = 'vault:flight' for update");
    const inFlight = append(entryOf('vault:flight', 1));
    await until(() => waitsForLock(db, 'tmcp_commit'));
    let claimed = false;
    const claim = claimSlots(db, 'other', [slotOf('vault:flight')]).then((rows) => {
      claimed = true;
      return rows;
    });
    await until(() => waitsForLock(db, 'tmcp_claim_slots'));
    expect(claimed).toBe(false);
    await blocker.query('commit');
    blocker.release();
    expect(await inFlight).toBeUndefined();
    expect(await claim).toHaveLength(1);
    expect(await append(entryOf('vault:flight', 2))).toBeInstanceOf(FencedError);
    expect((await createActorStore(db).load('vault:flight'))?.seq).toBe(2);
  });

  it('[A1] [I22] a commit that began before a claim ended, and waited for it, is refused: a guard of the kind "epoch <= mine" would take it', async () => {
    const { db } = await fresh();
    const { append } = await journalOn(db);
    await append(entryOf('vault:stale', 0));
    const claimer = await db.connect();
    await claimer.query('begin');
    await claimer.query('select * from tmcp_claim_slots($1, $2::int[])', ['other', [slotOf('vault:stale')]]);
    const stale = append(entryOf('vault:stale', 1));
    await until(() => waitsForLock(db, 'tmcp_commit'));
    await claimer.query('commit');
    claimer.release();
    expect(await stale).toBeInstanceOf(FencedError);
    expect((await createActorStore(db).load('vault:stale'))?.seq).toBe(1);
  });

  it('commits synchronously although its session was left with synchronous_commit off', async () => {
    const { db } = await fresh();
    const epochs = await claimSlots(db, 'me');
    const shown = await db.transaction(async (tx) => {
      await tx.query('set local synchronous_commit = off');
      const empty = Array.from({ length: 50 }, () => '{}');
      await tx.query(`select tmcp_commit('lane', 1, 0, ${empty.map((text) => `'${text}'`).join(', ')})`);
      return tx.query('show synchronous_commit');
    });
    expect(epochs).toHaveLength(1024);
    expect(shown).toEqual([{ synchronous_commit: 'on' }]);
  });

  it('[D8] a deadlock is counted and tried again, and nothing is lost', async () => {
    const { db } = await fresh(60_000);
    const { journal, append } = await journalOn(db);
    await Promise.all([append(entryOf('vault:dead-a', 0)), append(entryOf('vault:dead-b', 0))]);
    const other = await db.connect();
    await other.query('begin');
    // The journal's session looks for deadlocks after the usual second and becomes the victim; this one looks much later.
    await other.query("set local deadlock_timeout = '60s'");
    await other.query("update actors set updated_at = 0 where address = 'vault:dead-b'");
    const waiting = Promise.all([append(entryOf('vault:dead-a', 1)), append(entryOf('vault:dead-b', 1))]);
    await until(() => waitsForLock(db, 'tmcp_commit'));
    await other.query("update actors set updated_at = 0 where address = 'vault:dead-a'");
    await other.query('commit');
    other.release();
    expect(await waiting).toEqual([undefined, undefined]);
    expect(journal.counters.conflicts).toBeGreaterThan(0);
    expect((await createActorStore(db).load('vault:dead-b'))?.seq).toBe(2);
  });

  it('[D11] money does not wait for storage whose lane is stuck', async () => {
    const { db } = await fresh(60_000);
    const { append } = await journalOn(db, { lanes: 2 });
    await append(entryOf('vault:stuck', 0));
    const blocker = await db.connect();
    await blocker.query('begin');
    await blocker.query("select 1 from actors where address = 'vault:stuck' for update");
    let stuck = true;
    const waiting = append(entryOf('vault:stuck', 1)).then((error) => {
      stuck = false;
      return error;
    });
    await until(() => waitsForLock(db, 'tmcp_commit'));
    expect(await append(entryOf('payment:free', 0))).toBeUndefined();
    expect(stuck).toBe(true);
    await blocker.query('commit');
    blocker.release();
    expect(await waiting).toBeUndefined();
  });

  it('[D1] [I23] while Postgres is gone entries wait within the bound, past it they are refused, and all that wait are flushed after', async () => {
    const server = await startPostgres();
    ends.push(() => server.stop());
    const db = await open(server.url);
    await migrate(db);
    const { journal, append } = await journalOn(db, { maxEntries: 50 });
    expect(await append(entryOf('vault:down-0', 0))).toBeUndefined();
    await server.kill();
    const waiting = Array.from({ length: 50 }, (_, index) => append(entryOf(`vault:down-${index}`, index === 0 ? 1 : 0)));
    expect(() => journal.append(entryOf('vault:down-99', 0), () => {})).toThrow(expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }));
    await until(() => journal.counters.waits > 2);
    expect(journal.backlog().entries).toBe(50);
    await server.restart();
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => undefined));
    expect(await db.query('select count(*) as n from actors')).toEqual([{ n: 50 }]);
    expect(await append(entryOf('vault:down-99', 0))).toBeUndefined();
  });

  it('closes within its grace though Postgres is gone, and gives no answer that it cannot know', async () => {
    const server = await startPostgres();
    ends.push(() => server.stop());
    const db = await open(server.url);
    await migrate(db);
    const { journal, warnings } = await openJournal(db);
    await server.kill();
    const answers: unknown[] = [];
    journal.append(entryOf('vault:unknown', 0), (error) => answers.push(error));
    await journal.close(20);
    expect(answers).toEqual([]);
    expect(warnings).toContainEqual({ entries: 1 });
  });
});

describe('the readiness probe', () => {
  it('fails when the database does not commit within a second', async () => {
    const { db } = await fresh(60_000);
    await readinessProbe(db, 'n', clock);
    const blocker = await db.connect();
    await blocker.query('begin');
    await blocker.query('lock table probe');
    await expect(readinessProbe(db, 'n', clock)).rejects.toThrow(/1000 ms/);
    await blocker.query('commit');
    blocker.release();
    await readinessProbe(db, 'n', clock);
  });
});
