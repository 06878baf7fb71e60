/**
 * Nodes that change owners of slots on a real Postgres while others commit, renew and join: each order of the two, held still by a
 * transaction that a test keeps open, and all of it at once.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { slotCount, slotOf } from '../../../src/actors/runtime/slots.ts';
import type { Connection, Database } from '../../../src/persistence/database.ts';
import { FencedError } from '../../../src/persistence/journal/errors.ts';
import { migrate } from '../../../src/persistence/migrate.ts';
import { openPostgres } from '../../../src/persistence/postgres/open.ts';
import { type ClusterStore, createClusterStore, type NodeIdentity } from '../../../src/persistence/stores/cluster-store.ts';
import { entryOf, openJournal } from '../../contract/databases.ts';
import { freshDatabase } from '../../support/postgres.ts';

const ends: (() => Promise<unknown>)[] = [];
let db: Database;
let store: ClusterStore;

beforeEach(async () => {
  const url = await freshDatabase();
  db = await openPostgres(url, { poolSize: 16, statementTimeoutMs: 60_000 });
  ends.push(() => db.close());
  await migrate(db);
  store = createClusterStore(db, { leaseMs: 600_000, lockWaitMs: 60_000 });
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function node(bootId: string, name = `node-${bootId}`): NodeIdentity {
  return { bootId, name, version: '1', configHash: 'same', peerHost: 'h', peerPort: 1, httpUrl: 'u' };
}

async function until(seen: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await seen())) await new Promise((resolve) => setImmediate(resolve));
}

async function waitsForLock(text: string): Promise<boolean> {
  const rows = await db.query(
    "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like $1 and pid <> pg_backend_pid()",
    [`%${text}%`],
  );
  return rows.length > 0;
}

const endLease = (bootId: string) => db.query('update nodes set lease_until = tmcp_now_ms() where boot_id = $1', [bootId]);

/** A transaction that stays open until `commit`. */
async function held(text: string, params: readonly unknown[] = []): Promise<{ rows: unknown[]; commit(): Promise<void> }> {
  const connection: Connection = await db.connect();
  await connection.query('begin');
  const rows = await connection.query(text, params);
  return {
    rows,
    commit: async () => {
      await connection.query('commit');
      connection.release();
    },
  };
}

/** A journal that writes under the epochs in `held`, and a commit of `address` that is on its way and cannot end before `commit`. */
async function commitInFlight(address: string, epoch: number) {
  const epochs = new Map([[slotOf(address), epoch]]);
  const { journal, append } = await journalUnder(epochs);
  expect(await append(entryOf(address, 0))).toBeUndefined();
  const blocker = await held('select 1 from actors where address = $1 for update', [address]);
  const flight = append(entryOf(address, 1));
  await until(() => waitsForLock('tmcp_commit'));
  return { journal, append, flight, commit: () => blocker.commit() };
}

/** Unlike `openJournal` alone: who owns the slots stays as it is. */
async function journalUnder(epochs: ReadonlyMap<number, number>) {
  const before = await db.query<{ slot: number; owner: string | null; epoch: number }>('select slot, owner, epoch from slots');
  const opened = await openJournal(db, { epochOf: (slot) => epochs.get(slot) ?? 0 });
  await db.query(
    'update slots s set owner = o.owner, epoch = o.epoch from unnest($1::int[], $2::text[], $3::bigint[]) o (slot, owner, epoch) where s.slot = o.slot',
    [before.map(({ slot }) => slot), before.map(({ owner }) => owner), before.map(({ epoch }) => epoch)],
  );
  ends.push(() => opened.journal.close());
  return opened;
}

describe('owners that change while others work', () => {
  it('[A1] [C1] a claim waits for a commit in flight, that commit is kept, and the next under its epoch is refused', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const slot = slotOf('user:flight');
    const [mine] = await store.claim('a', [slot]);
    const { append, flight, commit } = await commitInFlight('user:flight', mine!.epoch);
    await endLease('a');
    let ended = false;
    const claim = store.claim('b', [slot]).then((claimed) => {
      ended = true;
      return claimed;
    });
    await until(() => waitsForLock('tmcp_claim'));
    expect(ended).toBe(false);
    await commit();
    expect(await flight).toBeUndefined();
    expect(await claim).toEqual([{ slot, epoch: mine!.epoch + 1 }]);
    expect(await append(entryOf('user:flight', 2))).toBeInstanceOf(FencedError);
    expect(await db.query("select seq, epoch from actors where address = 'user:flight'")).toEqual([{ seq: 2, epoch: mine!.epoch }]);
  });

  it('[A1] a hand-over waits for a commit in flight, and so does a release', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const slot = slotOf('user:flight');
    const [mine] = await store.claim('a', [slot]);
    const first = await commitInFlight('user:flight', mine!.epoch);
    const moved = store.handOver('a', 'b', [slot]);
    await until(() => waitsForLock('tmcp_hand_over'));
    await first.commit();
    expect(await first.flight).toBeUndefined();
    expect(await moved).toEqual([{ slot, epoch: mine!.epoch + 1 }]);
    expect(await first.append(entryOf('user:flight', 2))).toBeInstanceOf(FencedError);

    const blocker = await held('select pg_advisory_xact_lock_shared(1953325936, $1::int)', [slot]);
    const released = store.release('b');
    await until(() => waitsForLock('tmcp_release'));
    await blocker.commit();
    await released;
    expect(await db.query('select owner, epoch from slots where slot = $1', [slot])).toEqual([{ owner: null, epoch: mine!.epoch + 2 }]);
  });

  it('[D11] a claim leaves out slots that stay busy for longer than it waits, and takes the others', async () => {
    const hasty = createClusterStore(db, { leaseMs: 600_000, lockWaitMs: 20 });
    await store.join(node('a'));
    const blockers = await Promise.all([3, 5].map((slot) => held('select pg_advisory_xact_lock_shared(1953325936, $1::int)', [slot])));
    expect((await hasty.claim('a', [2, 3, 4, 5, 6])).map(({ slot }) => slot)).toEqual([2, 4, 6]);
    for (const blocker of blockers) await blocker.commit();
    expect((await hasty.claim('a', [2, 3, 4, 5, 6])).map(({ slot }) => slot)).toEqual([2, 3, 4, 5, 6]);
    expect(await db.query("select current_setting('lock_timeout') as t")).toEqual([{ t: '0' }]);
  });

  it('[D11] a claim that is in vain does not touch a live owner’s slot, whose commit may take as long as it likes', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const slot = slotOf('user:busy');
    const [mine] = await store.claim('a', [slot]);
    const { flight, commit } = await commitInFlight('user:busy', mine!.epoch);
    expect(await store.claim('b', [slot])).toEqual([]);
    expect(await store.claim('a', [slot])).toEqual([mine]);
    await commit();
    expect(await flight).toBeUndefined();
  });

  it('[A1] [C1] a lapsed node that renews while it is being claimed waits, and then sees that it owns the slot no more', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const [mine] = await store.claim('a', [7]);
    await endLease('a');
    const claim = await held('select * from tmcp_claim($1, $2::int[], 1000)', ['b', [7]]);
    expect(claim.rows).toEqual([{ slot: 7, epoch: mine!.epoch + 1 }]);
    const beating = store.heartbeat('a', 'live', null);
    await until(() => waitsForLock('tmcp_heartbeat'));
    await claim.commit();
    expect((await beating)!.slots[7]).toEqual({ owner: 'b', epoch: mine!.epoch + 1, leased: true });
  });

  it('[A1] [C1] a claim that meets a lapsed node’s renewal waits for it, and then takes nothing', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const [mine] = await store.claim('a', [7]);
    await endLease('a');
    const beat = await held("select * from tmcp_heartbeat('a', 'live', 'null', 600000)");
    const claim = store.claim('b', [7]);
    await until(() => waitsForLock('tmcp_claim'));
    await beat.commit();
    expect(await claim).toEqual([]);
    expect(await db.query('select owner, epoch from slots where slot = 7')).toEqual([{ owner: 'a', epoch: mine!.epoch }]);
  });

  it('[A1] [C1] an owner that joins anew under its boot id while its slots are being claimed waits, and then sees that they are gone', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const [mine] = await store.claim('a', [7]);
    await db.query("delete from nodes where boot_id = 'a'");
    const claim = await held('select * from tmcp_claim($1, $2::int[], 1000)', ['b', [7]]);
    const joining = store.join(node('a'));
    await until(() => waitsForLock('tmcp_join'));
    await claim.commit();
    await joining;
    expect((await store.heartbeat('a', 'live', null))!.slots[7]).toMatchObject({ owner: 'b', epoch: mine!.epoch + 1 });
  });

  it('[A1] a hand-over that meets the receiver’s turn to drain waits for it, and then moves nothing', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    await store.claim('a', [7]);
    const beat = await held("select * from tmcp_heartbeat('b', 'draining', 'null', 600000)");
    const moving = store.handOver('a', 'b', [7]);
    await until(() => waitsForLock('tmcp_hand_over'));
    await beat.commit();
    expect(await moving).toEqual([]);
    expect(await db.query('select owner from slots where slot = 7')).toEqual([{ owner: 'a' }]);
  });

  it('[D8] a claim locks the rows of nodes in the order of their boot ids, so that two of them never wait in a ring', async () => {
    for (const bootId of ['d', 'c', 'b', 'a']) await store.join(node(bootId));
    await store.claim('a', [1]);
    await store.claim('b', [2]);
    await store.claim('c', [3]);
    for (const bootId of ['a', 'b', 'c']) await endLease(bootId);
    const blocker = await held("select 1 from nodes where boot_id = 'b' for update");
    const claim = store.claim('d', [1, 2, 3]);
    await until(() => waitsForLock('tmcp_claim'));
    const free = await db.query('select boot_id from nodes order by boot_id for update skip locked');
    expect(free).toEqual([{ boot_id: 'c' }, { boot_id: 'd' }]);
    await blocker.commit();
    expect((await claim).map(({ slot }) => slot)).toEqual([1, 2, 3]);
  });

  it('[C8] a join that meets the renewal of a lapsed node of its name waits for it, and is then refused', async () => {
    await store.join(node('a', 'n'));
    await endLease('a');
    const beat = await held("select * from tmcp_heartbeat('a', 'live', 'null', 600000)");
    const joining = store.join(node('b', 'n')).then(
      () => undefined,
      (error: unknown) => error,
    );
    await until(() => waitsForLock('tmcp_join'));
    await beat.commit();
    expect(await joining).toMatchObject({ reason: 'name' });
  });

  it('[D8] [A1] claims, renewals, hand-overs, releases, joins and commits all at once end without a deadlock, and no epoch has two owners', async () => {
    const seed = Number(process.env['TMCP_TEST_SEED'] ?? 1);
    const rounds = Number(process.env['TMCP_TEST_ROUNDS'] ?? 60);
    const random = randomOf(seed);
    const slots = Array.from({ length: 48 }, (_, index) => index * 21);
    const bootIds = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const bootId of bootIds) await store.join(node(bootId));
    /** `slot:epoch` → who was told that it owns the slot under that epoch. */
    const told = new Map<string, string>();
    const twice: string[] = [];
    const failures: unknown[] = [];
    const tell = (owner: string, changed: readonly { slot: number; epoch: number }[]): void => {
      for (const { slot, epoch } of changed) {
        const before = told.get(`${slot}:${epoch}`);
        if (before !== undefined && before !== owner) twice.push(`${slot}:${epoch} is ${before}'s and ${owner}'s`);
        told.set(`${slot}:${epoch}`, owner);
      }
    };
    const some = (): number[] => slots.filter(() => random() < 0.5).sort(() => random() - 0.5);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;

    const commitSome = async (lane: string, group: number): Promise<void> => {
      const chosen = some().sort((x, y) => x - y);
      const current = new Map(
        (await db.query<{ slot: number; epoch: number }>('select slot, epoch from slots where slot = any ($1::int[])', [chosen])).map(
          ({ slot, epoch }) => [slot, epoch],
        ),
      );
      const pairs = [`{${chosen.join(',')}}`, `{${chosen.map((slot) => current.get(slot)).join(',')}}`];
      const rest = Array.from({ length: 50 }, () => "'{}'").join(', ');
      try {
        await db.query(`select tmcp_commit($1, $2, 0, $3, $4, ${rest})`, [lane, group, ...pairs]);
      } catch (error) {
        if ((error as { code?: string }).code !== 'TM001') throw error;
      }
    };
    const actor = async (bootId: string, index: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        const what = random();
        if (what < 0.35) tell(bootId, await store.claim(bootId, some()));
        else if (what < 0.55) {
          const beat = await store.heartbeat(bootId, random() < 0.9 ? 'live' : 'draining', { round });
          for (const [slot, { owner, epoch }] of (beat?.slots ?? []).entries()) if (owner === bootId) tell(bootId, [{ slot, epoch }]);
          if (beat === undefined) await store.join(node(bootId)).catch(() => undefined);
        } else if (what < 0.7) {
          const to = pick(bootIds);
          tell(to, await store.handOver(bootId, to, some()));
        } else if (what < 0.76) await store.release(bootId, some());
        else if (what < 0.8) await store.requestDrain(`node-${pick(bootIds)}`);
        else if (what < 0.84) await endLease(pick(bootIds));
        else if (what < 0.87) await store.leave(bootId);
        else if (what < 0.9) await store.join(node(bootId)).catch(() => undefined);
        else await commitSome(`${bootId}-${index}`, round + 1);
      }
    };
    const committer = async (index: number): Promise<void> => {
      for (let round = 0; round < rounds * 2; round++) await commitSome(`lane-${index}`, round + 1);
    };
    const all = [...bootIds, ...bootIds].map((bootId, index) => actor(bootId, index));
    for (let index = 0; index < 4; index++) all.push(committer(index));
    for (const end of await Promise.allSettled(all)) if (end.status === 'rejected') failures.push(end.reason);
    expect(failures).toEqual([]);
    expect(twice).toEqual([]);
    expect(told.size).toBeGreaterThan(slots.length);
    const [count] = await db.query<{ deadlocks: number }>(
      'select deadlocks::int as deadlocks from pg_stat_database where datname = current_database()',
    );
    expect(count).toEqual({ deadlocks: 0 });
    expect(await db.query('select count(*)::int as n from slots')).toEqual([{ n: slotCount }]);
  }, 120_000);
});

/** A generator whose numbers a seed repeats (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
