/** What membership and the ownership of slots promise, on each engine (stores/cluster-store.ts). In titles: rows of the fault list. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { slotCount, slotOf } from '../../src/actors/runtime/slots.ts';
import type { Database } from '../../src/persistence/database.ts';
import { FencedError } from '../../src/persistence/journal/errors.ts';
import { type ClusterStore, createClusterStore, type NodeIdentity, NodeRefusedError } from '../../src/persistence/stores/cluster-store.ts';
import { claimSlots } from '../../src/persistence/stores/slots.ts';
import { engines, entryOf, openJournal } from './databases.ts';

const hour = 3600_000;
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

function node(bootId: string, more: Partial<NodeIdentity> = {}): NodeIdentity {
  const name = `node-${bootId}`;
  return { bootId, name, version: '1.0.0', configHash: 'same', peerHost: '10.0.0.1', peerPort: 7600, httpUrl: 'http://10.0.0.1', ...more };
}

async function refusalOf(joining: Promise<void>): Promise<NodeRefusedError> {
  const error = await joining.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(NodeRefusedError);
  return error as NodeRefusedError;
}

describe.each(engines)('a cluster store on $name', (engine) => {
  let db: Database;
  let store: ClusterStore;
  beforeAll(async () => {
    db = await engine.open();
    // Long enough that no lease ends by itself; tests end them by hand.
    store = createClusterStore(db, { leaseMs: 60_000 });
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await db.script('delete from nodes; update slots set owner = null');
  });

  const endLease = (bootId: string, agoMs = 0) =>
    db.query('update nodes set lease_until = tmcp_now_ms() - $2::int where boot_id = $1', [bootId, agoMs]);
  const epochs = async () => (await db.query<{ epoch: number }>('select epoch from slots order by slot')).map(({ epoch }) => epoch);
  const ownersOf = async (slots: readonly number[]) =>
    (await db.query<{ owner: string | null }>('select owner from slots where slot = any ($1::int[]) order by slot', [[...slots]])).map(
      ({ owner }) => owner,
    );
  const slotsOf = (claimed: readonly { slot: number }[]) => claimed.map(({ slot }) => slot);

  it('a node that has joined sees itself, its peers and every slot with each heartbeat', async () => {
    await store.join(node('a', { version: '1.2.3', peerHost: 'h', peerPort: 1, httpUrl: 'u' }));
    await store.join(node('b'));
    await store.claim('b', [0, 1023]);
    const load = { sessions: 5, text: 'ü"\\' };
    const beat = (await store.heartbeat('a', 'live', load))!;
    expect(beat.drainRequested).toBe(false);
    expect(beat.nodes.map(({ name }) => name)).toEqual(['node-a', 'node-b']);
    const [self] = beat.nodes;
    const expected = { bootId: 'a', name: 'node-a', version: '1.2.3', peerHost: 'h', peerPort: 1, httpUrl: 'u', state: 'live', load };
    expect(self).toMatchObject({ ...expected, drainRequested: false });
    expect(self!.leaseLeftMs).toBeGreaterThan(0);
    expect(self!.leaseLeftMs).toBeLessThanOrEqual(60_000);
    expect(self!.startedAt).toBeGreaterThan(0);
    expect(beat.slots).toHaveLength(slotCount);
    expect(beat.slots.map(({ epoch }) => epoch)).toEqual(await epochs());
    expect(beat.slots.flatMap(({ owner, leased }, slot) => (owner === null ? [] : [[slot, owner, leased]]))).toEqual([
      [0, 'b', true],
      [1023, 'b', true],
    ]);
    expect(beat.slots[1]).toMatchObject({ owner: null, leased: false });
    expect((await store.nodes())[0]).toMatchObject({ ...expected, drainRequested: false });
  });

  it('a node without a load or a slot has none', async () => {
    await store.join(node('a'));
    const beat = (await store.heartbeat('a', 'draining', undefined))!;
    expect(beat.nodes[0]).toMatchObject({ load: null, state: 'draining' });
    expect(beat.slots.every(({ owner, leased }) => owner === null && !leased)).toBe(true);
  });

  it('an owner whose lease is over is named, and not leased; it is no peer any more', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    await store.claim('b', [5]);
    await endLease('b');
    const beat = (await store.heartbeat('a', 'live', null))!;
    expect(beat.nodes.map(({ bootId }) => bootId)).toEqual(['a']);
    expect(beat.slots[5]).toMatchObject({ owner: 'b', leased: false });
    expect((await store.nodes()).map(({ bootId, leaseLeftMs }) => [bootId, leaseLeftMs > 0])).toEqual([
      ['a', true],
      ['b', false],
    ]);
  });

  it('[C7] a node with another configuration is refused while a node lives, and takes the place of those whose lease is over', async () => {
    await store.join(node('a'));
    const refusal = await refusalOf(store.join(node('b', { configHash: 'other' })));
    expect(refusal).toMatchObject({ reason: 'config', other: 'node-a' });
    expect(refusal.leaseLeftMs).toBeGreaterThan(0);
    expect((await store.nodes()).map(({ bootId }) => bootId)).toEqual(['a']);
    await endLease('a');
    await store.join(node('b', { configHash: 'other' }));
    expect(await store.heartbeat('a', 'live', null)).toBeUndefined();
    expect((await refusalOf(store.join(node('a')))).reason).toBe('config');
  });

  it('[C8] a name with a live lease is refused, and belongs to the later node once the lease is over', async () => {
    await store.join(node('a', { name: 'n' }));
    const refusal = await refusalOf(store.join(node('b', { name: 'n' })));
    expect(refusal).toMatchObject({ reason: 'name', other: 'n' });
    expect(refusal.message).toContain('n');
    await endLease('a');
    await store.join(node('b', { name: 'n' }));
    expect(await store.heartbeat('a', 'live', null)).toBeUndefined();
    expect((await refusalOf(store.join(node('a', { name: 'n' })))).reason).toBe('name');
    await store.join(node('b', { name: 'n' }));
  });

  it('[C8] of many nodes that join at once under one name exactly one is taken', async () => {
    const ends = await Promise.allSettled(range(0, 12).map((index) => store.join(node(`boot-${index}`, { name: 'one' }))));
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject({ reason: 'name' });
    expect(await store.nodes()).toHaveLength(1);
  });

  it('[C7] of many nodes that join at once with two configurations only those of one are taken', async () => {
    await Promise.allSettled(range(0, 12).map((index) => store.join(node(`boot-${index}`, { configHash: `c${index % 2}` }))));
    const hashes = await db.query<{ n: number }>('select count(distinct config_hash)::int as n from nodes');
    expect(hashes).toEqual([{ n: 1 }]);
    expect(await store.nodes()).toHaveLength(6);
  });

  it('a join forgets nodes whose lease ended over an hour ago, and no younger ones', async () => {
    for (const bootId of ['old', 'young', 'live']) await store.join(node(bootId));
    await endLease('old', hour + 1_000);
    await endLease('young', hour - 60_000);
    await store.join(node('new'));
    expect((await store.nodes()).map(({ bootId }) => bootId)).toEqual(['live', 'new', 'young']);
  });

  it('a heartbeat renews a lapsed lease and keeps its slots, and is none for a node without a row', async () => {
    await store.join(node('a'));
    const [claimed] = await store.claim('a', [3]);
    await endLease('a');
    expect((await store.nodes())[0]!.leaseLeftMs).toBeLessThanOrEqual(0);
    expect((await store.heartbeat('a', 'live', null))!.slots[3]).toEqual({ owner: 'a', epoch: claimed!.epoch, leased: true });
    expect((await store.nodes())[0]!.leaseLeftMs).toBeGreaterThan(0);
    expect(await store.heartbeat('nobody', 'live', null)).toBeUndefined();
  });

  it('a request to drain reaches the node of that name with its next heartbeat', async () => {
    await store.join(node('a', { name: 'n' }));
    await store.join(node('b'));
    expect(await store.requestDrain('n')).toBe(true);
    expect(await store.requestDrain('n')).toBe(true);
    expect(await store.requestDrain('other')).toBe(false);
    expect((await store.heartbeat('a', 'live', null))!.drainRequested).toBe(true);
    const beat = (await store.heartbeat('b', 'live', null))!;
    expect(beat.drainRequested).toBe(false);
    expect(beat.nodes.find(({ name }) => name === 'n')?.drainRequested).toBe(true);
    await endLease('a');
    expect(await store.requestDrain('n')).toBe(false);
  });

  it('a claim takes slots that nobody owns under a raised epoch, and gives those already ours as they are', async () => {
    await store.join(node('a'));
    const before = await epochs();
    expect(await store.claim('a', [9, 4, 9])).toEqual([
      { slot: 4, epoch: before[4]! + 1 },
      { slot: 9, epoch: before[9]! + 1 },
    ]);
    expect(await store.claim('a', [9, 10])).toEqual([
      { slot: 9, epoch: before[9]! + 1 },
      { slot: 10, epoch: before[10]! + 1 },
    ]);
    expect(await store.claim('a', [])).toEqual([]);
    expect(await store.claim('a', [-1, 1024])).toEqual([]);
    expect((await epochs()).filter((epoch, slot) => epoch !== before[slot])).toHaveLength(3);
  });

  it('a claim of more slots than one transaction takes gives them all', async () => {
    await store.join(node('a'));
    const before = await epochs();
    const claimed = await store.claim('a', range(0, slotCount));
    expect(claimed).toEqual(before.map((epoch, slot) => ({ slot, epoch: epoch + 1 })));
  });

  it('[A1] [C1] a slot whose owner has a lease is not taken; it is once the lease is over, and its next owner has a higher epoch', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    const [mine] = await store.claim('a', [7]);
    expect(await store.claim('b', [7])).toEqual([]);
    expect(await ownersOf([7])).toEqual(['a']);
    await endLease('a');
    expect(await store.claim('b', [7])).toEqual([{ slot: 7, epoch: mine!.epoch + 1 }]);
    expect((await store.heartbeat('a', 'live', null))!.slots[7]).toEqual({ owner: 'b', epoch: mine!.epoch + 1, leased: true });
    expect(await store.claim('a', [7])).toEqual([]);
  });

  it('[A1] [C1] what a heartbeat gave as ours nobody takes until that lease is over, although an earlier one had lapsed', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    await store.claim('a', [7]);
    await endLease('a');
    expect((await store.heartbeat('a', 'live', null))!.slots[7]!.owner).toBe('a');
    expect(await store.claim('b', [7])).toEqual([]);
    await endLease('a');
    expect(slotsOf(await store.claim('b', [7]))).toEqual([7]);
  });

  it('a claim takes slots whose owner has no row: a node that left, or one that runs alone', async () => {
    await store.join(node('a'));
    const [forced] = await claimSlots(db, 'alone', [8]);
    expect(await store.claim('a', [8])).toEqual([{ slot: 8, epoch: forced!.epoch + 1 }]);
  });

  it('[A1] [C1] a claimer without a live lease gets nothing, not even what was its own', async () => {
    await store.join(node('a'));
    await store.claim('a', [1]);
    await endLease('a');
    const before = await epochs();
    expect(await store.claim('a', [1])).toEqual([]);
    expect(await store.claim('a', [1, 2])).toEqual([]);
    expect(await store.claim('stranger', [1, 2])).toEqual([]);
    expect(await epochs()).toEqual(before);
  });

  it('[A1] [C1] of claimers that want a dead owner’s slots at once each slot has exactly one winner', async () => {
    const claimers = ['b', 'c', 'd', 'e'];
    for (const bootId of ['a', ...claimers]) await store.join(node(bootId));
    const wanted = range(100, 260);
    await store.claim('a', wanted);
    await endLease('a');
    const before = await epochs();
    const won = await Promise.all(
      claimers.map(async (bootId) => (await store.claim(bootId, wanted)).map(({ slot, epoch }) => ({ slot, epoch, bootId }))),
    );
    const all = won.flat().sort((x, y) => x.slot - y.slot);
    expect(all.map(({ slot }) => slot)).toEqual(wanted);
    expect(all.map(({ epoch }) => epoch)).toEqual(wanted.map((slot) => before[slot]! + 1));
    expect(all.map(({ bootId }) => bootId)).toEqual(await ownersOf(wanted));
  });

  it('[A1] [C1] a commit under the epoch before a claim is refused, and one under the claimed epoch is taken', async () => {
    const held = new Map<number, number>();
    const { journal, append } = await openJournal(db, { epochOf: (slot) => held.get(slot) ?? 0 });
    const slot = slotOf('user:claimed');
    await store.join(node('a'));
    await store.join(node('b'));
    const [first] = await store.claim('a', [slot]);
    held.set(slot, first!.epoch);
    expect(await append(entryOf('user:claimed', 0))).toBeUndefined();
    await endLease('a');
    const [second] = await store.claim('b', [slot]);
    expect(await append(entryOf('user:claimed', 1))).toBeInstanceOf(FencedError);
    held.set(slot, second!.epoch);
    expect(await append(entryOf('user:claimed', 1))).toBeUndefined();
    await journal.close();
  });

  it('a hand-over moves only what the giver owns, under a raised epoch', async () => {
    for (const bootId of ['a', 'b', 'c']) await store.join(node(bootId));
    const [mine] = await store.claim('a', [20]);
    await store.claim('c', [21]);
    expect(await store.handOver('a', 'b', [22, 21, 20, 20])).toEqual([{ slot: 20, epoch: mine!.epoch + 1 }]);
    expect(await ownersOf([20, 21, 22])).toEqual(['b', 'c', null]);
    expect(await store.handOver('a', 'b', [20])).toEqual([]);
    expect(await store.handOver('b', 'b', [20])).toEqual([]);
    expect(await store.handOver('b', 'c', [])).toEqual([]);
    expect((await epochs())[20]).toBe(mine!.epoch + 1);
  });

  it('[A1] a hand-over to a node that drains, was asked to drain, has no live lease or no row moves nothing', async () => {
    for (const bootId of ['a', 'draining', 'asked', 'dead']) await store.join(node(bootId));
    const claimed = await store.claim('a', [30, 31]);
    await store.heartbeat('draining', 'draining', null);
    await store.requestDrain('node-asked');
    await endLease('dead');
    for (const to of ['draining', 'asked', 'dead', 'nobody']) expect(await store.handOver('a', to, [30, 31])).toEqual([]);
    expect(await store.claim('a', [30, 31])).toEqual(claimed);
    await store.heartbeat('draining', 'live', null);
    expect(slotsOf(await store.handOver('a', 'draining', [30, 31]))).toEqual([30, 31]);
  });

  it('a node whose lease has lapsed may still hand over what nobody took', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    await store.claim('a', [32]);
    await endLease('a');
    expect(slotsOf(await store.handOver('a', 'b', [32]))).toEqual([32]);
  });

  it('a release gives up only what is ours, and raises the epoch so that what is on its way is refused', async () => {
    await store.join(node('a'));
    await store.join(node('b'));
    await store.claim('a', range(40, 140));
    await store.claim('b', [200]);
    const before = await epochs();
    await store.release('a', [40, 41, 200, 201]);
    expect(await ownersOf([40, 41, 42, 200])).toEqual([null, null, 'a', 'b']);
    expect((await epochs()).flatMap((epoch, slot) => (epoch === before[slot] ? [] : [slot]))).toEqual([40, 41]);
    await store.release('a');
    expect(await ownersOf(range(40, 140))).toEqual(range(40, 140).map(() => null));
    expect(await ownersOf([200])).toEqual(['b']);
    await store.release('a');
  });

  it('a node that leaves gives up its slots and is no member any more', async () => {
    await store.join(node('a', { name: 'n' }));
    await store.join(node('b'));
    await store.claim('a', range(0, 70));
    await store.leave('a');
    await store.leave('a');
    expect((await store.nodes()).map(({ bootId }) => bootId)).toEqual(['b']);
    expect(await ownersOf(range(0, 70))).toEqual(range(0, 70).map(() => null));
    expect(await store.heartbeat('a', 'live', null)).toBeUndefined();
    await store.join(node('c', { name: 'n' }));
  });

  it('a lease lasts as long as the store was told, five seconds when it was not', async () => {
    await createClusterStore(db, { leaseMs: 1_234 }).join(node('short'));
    await createClusterStore(db).join(node('usual'));
    const left = new Map((await store.nodes()).map(({ bootId, leaseLeftMs }) => [bootId, leaseLeftMs]));
    expect(left.get('short')).toBeLessThanOrEqual(1_234);
    expect(left.get('usual')).toBeGreaterThan(1_234);
    expect(left.get('usual')).toBeLessThanOrEqual(5_000);
  });
});
