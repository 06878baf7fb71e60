/** What the reads of actors and vaults promise, on each engine (ports.ts, `ActorStore` and `VaultStore`), and the upkeep statements. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { slotOf } from '../../src/actors/runtime/slots.ts';
import type { Database } from '../../src/persistence/database.ts';
import { createActorStore } from '../../src/persistence/stores/actor-store.ts';
import { claimSlots } from '../../src/persistence/stores/slots.ts';
import { forgetTombstones, purgeExpired, readDbEpoch, readinessProbe } from '../../src/persistence/stores/upkeep.ts';
import { createVaultStore } from '../../src/persistence/stores/vault-store.ts';
import { limits } from '../../src/protocol/limits.ts';
import { clock, engines, entryOf, openJournal, rowOf, type TestJournal } from './databases.ts';

describe.each(engines)('stores on $name', (engine) => {
  let db: Database;
  let opened: TestJournal;
  beforeAll(async () => {
    db = await engine.open();
    opened = await openJournal(db);
  });
  afterAll(async () => {
    await opened.journal.close();
    await db.close();
  });

  it('know nothing of what was never written', async () => {
    const actors = createActorStore(db);
    const vaults = createVaultStore(db);
    expect(await actors.load('vault:nobody')).toBeUndefined();
    expect(await actors.records('vault:nobody')).toEqual([]);
    expect(await actors.idempotency('vault:nobody', 'none')).toBeUndefined();
    expect(await vaults.index('vault:nobody')).toEqual([]);
    expect(await vaults.values('vault:nobody', ['k'])).toEqual([]);
    expect(await vaults.values('vault:nobody', [])).toEqual([]);
    expect(await vaults.conflicts('vault:nobody', 10)).toEqual([]);
  });

  it('an actor without a snapshot has null in its place', async () => {
    await opened.append(entryOf('vault:bare', 0));
    expect(await createActorStore(db).load('vault:bare')).toEqual({ seq: 1, machineVersion: 1, snapshot: null });
  });

  it('an entry without a snapshot leaves the stored one', async () => {
    await opened.append(entryOf('vault:kept', 0, { snapshot: { a: 1 } }));
    await opened.append(entryOf('vault:kept', 1, { machineVersion: 2 }));
    expect(await createActorStore(db).load('vault:kept')).toEqual({ seq: 2, machineVersion: 2, snapshot: { a: 1 } });
  });

  it('records come in order of seq', async () => {
    const record = (seq: number) => ({ seq, machineVersion: 1, event: { type: `e${seq}` }, at: seq, stateAfter: 's' });
    await opened.append(entryOf('payment:rec', 0, { seq: 3, records: [record(1), record(2), record(3)] }));
    await opened.append(entryOf('payment:rec', 3, { seq: 12, records: [record(4), record(12)] }));
    expect((await createActorStore(db).records('payment:rec')).map(({ event }) => event.type)).toEqual(['e1', 'e2', 'e3', 'e4', 'e12']);
  });

  it('due timers come oldest first, up to the instant and the limit', async () => {
    await opened.append(
      entryOf('payment:timers', 0, {
        timers: [
          { id: 'c', dueAt: 1_300 },
          { id: 'a', dueAt: 1_100 },
          { id: 'b', dueAt: 1_200 },
          { id: 'd', dueAt: 1_201 },
        ],
      }),
    );
    const { timers } = createActorStore(db);
    expect((await timers(1_200, 10)).map(({ id }) => id)).toEqual(['a', 'b']);
    expect((await timers(5_000, 3)).map(({ id }) => id)).toEqual(['a', 'b', 'd']);
    await opened.append(entryOf('payment:timers', 1, { timersDone: ['a', 'b', 'c', 'd'] }));
  });

  it('the outbox gives the oldest first, each with its address and age', async () => {
    await opened.append(entryOf('payment:o1', 0, { outbox: [{ id: 'o1/0', type: 't', payload: { n: 1 } }] }));
    await opened.append(entryOf('payment:o2', 0, { outbox: [{ id: 'o2/0', type: 't', payload: { n: 2 } }] }));
    const rows = await createActorStore(db).outbox(10);
    expect(rows.map(({ id, address, payload }) => [id, address, payload])).toEqual([
      ['o1/0', 'payment:o1', { n: 1 }],
      ['o2/0', 'payment:o2', { n: 2 }],
    ]);
    expect(rows[0]!.createdAt).toBeLessThanOrEqual(rows[1]!.createdAt);
    expect(await createActorStore(db).outbox(1)).toHaveLength(1);
    await opened.append(entryOf('payment:o1', 1, { outboxDone: ['o1/0'] }));
    expect((await createActorStore(db).outbox(10)).map(({ id }) => id)).toEqual(['o2/0']);
  });

  it('timers and outbox rows are read by slot; those of earlier releases, which stored none, count as slot 0', async () => {
    const { timers, outbox } = createActorStore(db);
    const people = Array.from({ length: 6 }, (_, index) => `user:slots-${index}`);
    for (const [index, address] of people.entries()) {
      const effects = [{ id: `${address}/1/0`, type: 't', payload: {} }];
      await opened.append(entryOf(address, 0, { outbox: effects, timers: [{ id: 't', dueAt: 10 + index }] }));
    }
    const [first, , third] = people as [string, string, string];
    // A timer that is set again stays in its slot.
    await opened.append(entryOf(third, 1, { timers: [{ id: 't', dueAt: 99 }] }));
    const both = [slotOf(third), slotOf(first)];
    expect(new Set(both).size).toBe(2);
    expect((await timers(100, 10, both)).map(({ address, dueAt }) => [address, dueAt])).toEqual([
      [first, 10],
      [third, 99],
    ]);
    expect((await timers(98, 10, both)).map(({ address }) => address)).toEqual([first]);
    expect((await timers(100, 1, both)).map(({ address }) => address)).toEqual([first]);
    expect((await outbox(10, both)).map(({ address }) => address)).toEqual([first, third]);
    expect(await outbox(1, both)).toHaveLength(1);
    expect(await timers(100, 10, [])).toEqual([]);
    expect(await outbox(10, [])).toEqual([]);

    await db.query('update timers set slot = null where address = any ($1)', [[first]]);
    await db.query('update outbox set slot = null where address = any ($1)', [[first]]);
    expect(await timers(100, 10, [slotOf(first)])).toEqual([]);
    expect((await timers(100, 10, [0])).map(({ address }) => address)).toEqual([first]);
    expect((await outbox(10, [0])).map(({ address }) => address)).toEqual([first]);
    expect((await timers(100, 10)).filter(({ address }) => people.includes(address))).toHaveLength(people.length);
    for (const [index, address] of people.entries()) {
      await opened.append(entryOf(address, index === 2 ? 2 : 1, { outboxDone: [`${address}/1/0`], timersDone: ['t'] }));
    }
  });

  it('what a node of the release before commits is taken, without a slot of its rows', async () => {
    // The parameters of tmcp_commit as 0001-core.sql has them: 53, of which only slots, one actor, one effect and one timer are set.
    const [claimed] = await claimSlots(db, 'before', [0]);
    const params: Record<number, string> = {
      3: '{0}',
      4: `{${claimed!.epoch}}`,
      5: '{user:before}',
      6: '{user}',
      7: '{0}',
      8: '{0}',
      9: '{1}',
    };
    Object.assign(params, {
      10: `{${claimed!.epoch}}`,
      11: '{1}',
      12: '{NULL}',
      43: '{before/1}',
      44: '{user:before}',
      45: '{t}',
      46: '{"{}"}',
    });
    Object.assign(params, { 48: '{user:before}', 49: '{t}', 50: '{7}' });
    const all = Array.from({ length: 53 }, (_, index) => params[index] ?? '{}');
    const list = ["'lane-before'", '1', '5', ...all.slice(3).map((text) => `'${text}'`)].join(', ');
    expect(await db.query(`select tmcp_commit(${list}) as fresh`)).toEqual([{ fresh: true }]);
    expect(await db.query(`select tmcp_commit(${list}) as fresh`)).toEqual([{ fresh: false }]);
    const { timers, outbox } = createActorStore(db);
    expect((await timers(10, 10, [0])).map(({ address, dueAt }) => [address, dueAt])).toEqual([['user:before', 7]]);
    expect((await outbox(10, [0])).map(({ id }) => id)).toEqual(['before/1']);
    expect(await db.query("select slot from timers where address = 'user:before'")).toEqual([{ slot: null }]);
    await db.script("delete from timers where address = 'user:before'; delete from outbox where address = 'user:before'");
  });

  it('a vault index is in byte order of the keys, and values leave tombstones out', async () => {
    const keys = ['b', 'a', 'Z', 'ä', 'a b', '_'];
    await opened.append(
      entryOf('vault:index', 0, { storage: [...keys.map((key) => rowOf(key, 1)), rowOf('gone', 2, { value: null, deleted: true })] }),
    );
    const vaults = createVaultStore(db);
    expect((await vaults.index('vault:index')).map(({ key }) => key)).toEqual(['Z', '_', 'a', 'a b', 'b', 'gone', 'ä']);
    expect((await vaults.values('vault:index', ['gone', 'a'])).map(({ key }) => key)).toEqual(['a']);
  });

  it('conflicts come newest first, up to the limit', async () => {
    const conflict = (opId: string, at: number) => ({
      key: 'k',
      opId,
      value: null,
      kind: 'remove' as const,
      clientAt: 1,
      at,
      resolution: 'lww',
    });
    await opened.append(
      entryOf('vault:conflicts', 0, { conflicts: [conflict('1', 10), conflict('2', 30), conflict('3', 20), conflict('4', 30)] }),
    );
    expect((await createVaultStore(db).conflicts('vault:conflicts', 3)).map(({ opId }) => opId)).toEqual(['4', '2', '3']);
  });

  it('a later answer under a scope takes the place of an expired one', async () => {
    const row = (text: string) => ({ scope: 'user:i|op|k', inputHash: text, result: new TextEncoder().encode(text), expiresAt: 9 });
    await opened.append(entryOf('user:i', 0, { idempotency: [row('one')] }));
    await opened.append(entryOf('user:i', 1, { idempotency: [row('two')] }));
    expect((await createActorStore(db).idempotency('user:i', 'user:i|op|k'))?.inputHash).toBe('two');
  });

  it('a claim raises exactly the slots it names', async () => {
    const before = await db.query<{ slot: number; epoch: number }>('select slot, epoch from slots order by slot');
    const claimed = await claimSlots(db, 'node-b', [7, 3, 7]);
    expect(claimed).toEqual([
      { slot: 3, epoch: before[3]!.epoch + 1 },
      { slot: 7, epoch: before[7]!.epoch + 1 },
    ]);
    const after = await db.query<{ slot: number; epoch: number; owner: string }>('select slot, epoch, owner from slots order by slot');
    expect(after.filter(({ epoch }, slot) => epoch !== before[slot]!.epoch).map(({ slot, owner }) => [slot, owner])).toEqual([
      [3, 'node-b'],
      [7, 'node-b'],
    ]);
  });

  it('the readiness probe commits its row', async () => {
    await readinessProbe(db, 'node-a', clock);
    await readinessProbe(db, 'node-a', clock);
    expect(await db.query('select node from probe')).toEqual([{ node: 'node-a' }]);
  });

  it('the database keeps one epoch', async () => {
    const epoch = await readDbEpoch(db);
    expect(epoch).toMatch(/^[0-9a-f-]{36}$/);
    expect(await readDbEpoch(db)).toBe(epoch);
  });

  it('upkeep takes away what is past its time, and nothing younger', async () => {
    const now = limits.tombstoneMs * 2;
    const old = now - limits.tombstoneMs - 1;
    const young = now - limits.tombstoneMs;
    const dead = { value: null, deleted: true };
    const conflict = (opId: string, at: number) => ({
      key: 'k',
      opId,
      value: null,
      kind: 'set' as const,
      clientAt: 1,
      at,
      resolution: 'lww',
    });
    const answer = (scope: string, expiresAt: number) => ({ scope, inputHash: '', result: new Uint8Array(1), expiresAt });
    await opened.append(
      entryOf('vault:purge', 0, {
        storage: [
          rowOf('old', 1, { ...dead, updatedAt: old }),
          rowOf('young', 1, { ...dead, updatedAt: young }),
          rowOf('alive', 1, { updatedAt: 1 }),
        ],
        conflicts: [conflict('old', old), conflict('young', young)],
        idempotency: [answer('purge|old', now - 1), answer('purge|young', now)],
      }),
    );
    const purged = await purgeExpired(db, now);
    expect(purged.tombstones).toBeGreaterThan(0);
    const vaults = createVaultStore(db);
    expect((await vaults.index('vault:purge')).map(({ key }) => key)).toEqual(['alive', 'young']);
    expect((await vaults.conflicts('vault:purge', 9)).map(({ opId }) => opId)).toEqual(['young']);
    const actors = createActorStore(db);
    expect(await actors.idempotency('vault:purge', 'purge|old')).toBeUndefined();
    expect(await actors.idempotency('vault:purge', 'purge|young')).toBeDefined();
    expect(await opened.append(entryOf('vault:purge', 1))).toBeUndefined();
  });

  it('upkeep goes on until nothing is past its time, or for so many rounds', async () => {
    const now = limits.tombstoneMs * 2;
    const answers = (from: number) =>
      Array.from({ length: 1_100 }, (_, n) => ({ scope: `many|${from + n}`, inputHash: '', result: new Uint8Array(1), expiresAt: 1 }));
    await opened.append(entryOf('vault:many', 0, { idempotency: answers(0) }));
    await opened.append(entryOf('vault:many', 1, { idempotency: answers(1_100) }));
    expect((await purgeExpired(db, now, undefined, () => false)).answers).toBe(0);
    expect((await purgeExpired(db, now, 1)).answers).toBe(1_000);
    expect((await purgeExpired(db, now)).answers).toBe(1_200);
    expect((await purgeExpired(db, now)).answers).toBe(0);
  });

  it('a load gets what is alive and the newest 20,000 tombstones; forgotten ones are taken away up to their version', async () => {
    const vaults = createVaultStore(db);
    await opened.append(entryOf('vault:dead', 0, { storage: [rowOf('alive', 1, {})] }));
    await db.query(
      `insert into storage (vault, key, version, size_bytes, created_at, updated_at, client_at, deleted)
       select 'vault:dead', 'k' || n, n, 0, 0, 0, 0, true from generate_series(2, 25001) n`,
    );
    const index = await vaults.index('vault:dead');
    expect(index).toHaveLength(20_001);
    expect(index.filter(({ deleted }) => deleted).reduce((least, { version }) => Math.min(least, version), Number.POSITIVE_INFINITY)).toBe(
      5_002,
    );
    expect(index.some(({ key }) => key === 'alive')).toBe(true);
    await forgetTombstones(db, 'vault:dead', 12_001);
    await forgetTombstones(db, 'vault:dead', 12_001);
    expect(await vaults.index('vault:dead')).toHaveLength(13_001);
    await forgetTombstones(db, 'vault:other', 30_000);
    expect(await vaults.index('vault:dead')).toHaveLength(13_001);
  });
});
