/** push, pull, status, and what other sessions are told. */
import { describe, expect, it } from 'vitest';
import type { OutputOf } from '../../../src/protocol/catalogue.ts';
import type { PushOpValue } from '../../../src/protocol/operations/sync.ts';
import { alice, principal, quiet, World } from './world.ts';

const address = 'vault:@alice:tween.example:ma_demo_shop';
const dayMs = 86_400_000;
const mebibyte = 'x'.repeat(1_048_576);

const set = (world: World, op_id: string, key: string, value: string, more: Partial<PushOpValue> = {}): PushOpValue => ({
  op_id,
  key,
  kind: 'set',
  value,
  client_timestamp: world.seconds,
  ...more,
});
const del = (world: World, op_id: string, key: string, more: Partial<PushOpValue> = {}): PushOpValue => ({
  op_id,
  key,
  kind: 'remove',
  client_timestamp: world.seconds,
  ...more,
});
const push = async (world: World, ...ops: PushOpValue[]): Promise<OutputOf<'tween.sync.push'>['results']> =>
  (await world.call('tween.sync.push', { ops })).results;

describe('push', () => {
  it('[STO27] applies in order, in one commit, each answered with version and time', async () => {
    const world = new World();
    const results = await push(
      world,
      set(world, 'd:1', 'a', '1'),
      set(world, 'd:2', 'b', '1'),
      set(world, 'd:3', 'a', '2', { ttl: 60 }),
      del(world, 'd:4', 'b'),
    );
    expect(results.map((one) => [one.op_id, one.status, one.version])).toEqual([
      ['d:1', 'applied', 1],
      ['d:2', 'applied', 2],
      ['d:3', 'applied', 3],
      ['d:4', 'applied', 4],
    ]);
    expect(results[0]?.updated_at).toBe(new Date(world.clock.now()).toISOString());
    expect(world.journal.committed).toHaveLength(1);
    expect(await world.map()).toEqual({ a: '2' });
    expect((await world.call('tween.storage.get', { key: 'a' })).expires_at).toBe(new Date(world.clock.now() + 60_000).toISOString());
  });

  it('[STO27] one poison operation among 400 is rejected, 399 are applied', async () => {
    const world = new World();
    const ops = Array.from({ length: 400 }, (_, n) => set(world, `d:${n}`, n === 200 ? `bad\u0000key` : `k${n}`, 'v'));
    const results = await push(world, ...ops);
    expect(results.filter((one) => one.status === 'applied')).toHaveLength(399);
    expect(results[200]).toEqual({
      op_id: 'd:200',
      status: 'rejected',
      error: { code: 'INVALID_REQUEST', message: 'key holds a control character' },
    });
    expect(Object.keys(await world.map())).toHaveLength(399);
  });

  it('[STO27] every way of being bad is rejected alone, and was not taken', async () => {
    const world = new World();
    const bad: PushOpValue[] = [
      set(world, 'd:1', '', 'v'),
      set(world, 'd:2', 'x'.repeat(257), 'v'),
      set(world, 'd:3', 'a\u0308', 'v'),
      set(world, 'd:4', 'k', `${mebibyte}x`),
      set(world, 'd:5', 'k', '\ud800'),
      set(world, 'd:6', 'k', 'v', { ttl: 59 }),
      set(world, 'd:7', 'k', 'v', { ttl: 2_592_001 }),
      { op_id: 'd:8', key: 'k', kind: 'set', client_timestamp: world.seconds },
      set(world, `${'d'.repeat(129)}:1`, 'k', 'v'),
      del(world, 'd:10', 'a\nb'),
    ];
    const results = await push(
      world,
      ...bad,
      set(world, 'd:11', 'good', 'v'),
      set(world, 'd:12', 'g60', 'v', { ttl: 60 }),
      set(world, 'd:13', 'g30', 'v', { ttl: 2_592_000 }),
    );
    expect(results.map((one) => one.status)).toEqual([...bad.map(() => 'rejected'), 'applied', 'applied', 'applied']);
    expect(results[3]?.error?.code).toBe('STORAGE_QUOTA_EXCEEDED');
    expect(Object.keys(await world.map())).toEqual(['g30', 'g60', 'good']);
    const again = await push(world, ...Array.from({ length: 8 }, (_, n) => set(world, `d:${n + 1}`, 'fixed', `${n}`)));
    expect(again.map((one) => one.status)).toEqual(Array(8).fill('applied'));
  });

  it('[STO27] an operation over the quota is rejected and a smaller one after it applied', async () => {
    const world = new World();
    for (let n = 0; n < 9; n++) await world.call('tween.storage.set', { key: `k${n}`, value: mebibyte });
    const results = await push(
      world,
      set(world, 'd:1', 'a', mebibyte.slice(5)),
      set(world, 'd:2', 'b', 'toolarge'),
      set(world, 'd:3', 'c', 'fits!'),
    );
    expect(results.map((one) => [one.status, one.error?.code])).toEqual([
      ['applied', undefined],
      ['rejected', 'STORAGE_QUOTA_EXCEEDED'],
      ['applied', undefined],
    ]);
    expect((await world.call('tween.storage.usage', {})).usage_bytes).toBe(10_485_760);
  });

  it('[STO14] duplicates, shuffled and cut queues are applied once each, for ever', async () => {
    const world = new World();
    const ops = Array.from({ length: 50 }, (_, n) =>
      set(world, `d:${n}`, `k${n % 5}`, `${n}`, { client_timestamp: world.seconds + n / 1000 }),
    );
    const shuffled = ops
      .map((op, n) => [((n * 7919) % 50) as number, op] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, op]) => op);
    await push(world, ...shuffled.slice(0, 20));
    await push(world, ...shuffled.slice(10, 40));
    world.restart();
    await push(world, ...ops, ...ops.slice(0, 3));
    expect(await world.map()).toEqual({ k0: '45', k1: '46', k2: '47', k3: '48', k4: '49' });
    const repeat = await push(world, ...ops);
    expect(new Set(repeat.map((one) => one.status))).toEqual(new Set(['duplicate']));
    const { version } = await world.call('tween.sync.status', {});
    expect(repeat[49]).toMatchObject({ op_id: 'd:49', status: 'duplicate' });
    expect(repeat[49]?.version).toBeLessThanOrEqual(version);
  });

  it('[STO14] the same operation twice in one push is applied once', async () => {
    const world = new World();
    const op = set(world, 'd:1', 'k', '1');
    expect((await push(world, op, op)).map((one) => one.status)).toEqual(['applied', 'duplicate']);
  });

  it('[STO15] a counter below the window counts as applied, one inside it does not', async () => {
    const world = new World();
    await push(world, set(world, 'd:20000', 'k', '1'));
    const results = await push(world, set(world, 'd:10001', 'inside', '1'), set(world, 'd:10000', 'below', '1'));
    expect(results.map((one) => one.status)).toEqual(['applied', 'duplicate']);
  });

  it('[STO14] a reinstalled app is another device and starts from one again', async () => {
    const world = new World();
    await push(world, set(world, 'install-1:1', 'k', 'old'));
    world.clock.advance(1);
    expect((await push(world, set(world, 'install-2:1', 'k', 'new')))[0]).toMatchObject({ status: 'applied', version: 2 });
  });
});

describe('conflicts', () => {
  it('[STO23] two offline edits: the later wins, and both values can be had', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: 'base' });
    world.clock.advance(10_000);
    const at = world.seconds;
    const [a] = await push(world, set(world, 'dev-a:1', 'k', 'from a', { base_version: 1, client_timestamp: at - 2 }));
    const [b] = await push(world, set(world, 'dev-b:1', 'k', 'from b', { base_version: 1, client_timestamp: at - 1 }));
    expect(a).toMatchObject({ status: 'applied', version: 2 });
    expect(b).toMatchObject({ status: 'applied', version: 3, resolution: 'client_wins' });
    expect(await world.value('k')).toBe('from b');
    expect((await world.call('tween.sync.status', {})).conflicts).toEqual([
      { key: 'k', op_id: 'dev-a:1', kind: 'set', value: 'from a', at: expect.any(String), resolution: 'client_wins' },
    ]);
  });

  it('[STO23] the earlier one that comes later loses, and is told what won', async () => {
    const world = new World();
    await push(world, set(world, 'dev-b:1', 'k', 'from b'));
    const [a] = await push(world, set(world, 'dev-a:1', 'k', 'from a', { client_timestamp: world.seconds - 1 }));
    expect(a).toMatchObject({ status: 'conflict', resolution: 'server_wins', server_value: 'from b', version: 1 });
    expect((await world.call('tween.sync.status', {})).conflicts[0]).toMatchObject({ op_id: 'dev-a:1', value: 'from a' });
    const [again] = await push(world, set(world, 'dev-a:1', 'k', 'from a', { client_timestamp: world.seconds - 1 }));
    expect(again?.status).toBe('duplicate');
  });

  it('[STO23] a queue of one device on one key is no conflict with itself', async () => {
    const world = new World();
    const results = await push(
      world,
      set(world, 'd:1', 'k', '1', { base_version: 0, client_timestamp: world.seconds - 3 }),
      set(world, 'd:2', 'k', '2', { base_version: 0, client_timestamp: world.seconds - 2 }),
      del(world, 'd:3', 'k', { base_version: 0, client_timestamp: world.seconds - 1 }),
    );
    expect(results.map((one) => [one.status, one.resolution])).toEqual(Array(3).fill(['applied', undefined]));
    expect((await world.call('tween.sync.status', {})).conflicts).toEqual([]);
  });

  it('[STO24] the stored value is kept as the loser also when it must be read first', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 0 } });
    await world.call('tween.storage.set', { key: 'k', value: 'stored' });
    world.clock.advance(1_000);
    world.restart();
    const [one] = await push(
      world,
      set(world, 'd:1', 'k', 'new', { base_version: 0 }),
      set(world, 'd:2', 'k', 'newer', { base_version: 0 }),
    );
    expect(one).toMatchObject({ status: 'applied', resolution: 'client_wins' });
    const stored = await world.journal.conflicts(address, 10);
    expect(Buffer.from(stored[0]?.value as Uint8Array).includes('stored')).toBe(false);
    expect((await world.call('tween.sync.status', {})).conflicts).toMatchObject([{ value: 'stored', resolution: 'client_wins' }]);
  });

  it('[STO24] a loser is shown for 30 days', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: 'stored' });
    await push(world, set(world, 'd:1', 'k', 'old', { client_timestamp: 1 }));
    world.clock.advance(30 * dayMs);
    expect((await world.call('tween.sync.status', {})).conflicts).toHaveLength(1);
    world.clock.advance(1);
    expect((await world.call('tween.sync.status', {})).conflicts).toEqual([]);
  });

  it('[STO25] past its bound the history refuses to lose a stored value, and a losing operation keeps its place without its text', async () => {
    const world = new World();
    const value = 'x'.repeat(1_000_000);
    await world.call('tween.storage.set', { key: 'k', value });
    for (let n = 0; n < 10; n++) await push(world, set(world, `d:${n}`, 'k', value, { client_timestamp: 1 }));
    world.restart();
    const [lost] = await push(world, set(world, 'd:10', 'k', value, { client_timestamp: 1 }));
    expect(lost).toMatchObject({ status: 'conflict' });
    expect((await world.journal.conflicts(address, 1))[0]).toMatchObject({ opId: 'd:10', value: null });
    world.clock.advance(1);
    const [winner] = await push(world, set(world, 'e:1', 'k', 'new', { base_version: 0 }));
    expect(winner).toMatchObject({ status: 'rejected', error: { code: 'STORAGE_QUOTA_EXCEEDED' } });
    expect((await world.call('tween.storage.get', { key: 'k' })).value).toBe(value);
    world.clock.advance(31 * dayMs);
    expect((await push(world, set(world, 'e:1', 'k', 'new', { base_version: 0 })))[0]).toMatchObject({ status: 'applied' });
  });

  it('[STO24] one answer shows at most 1 MiB of stored values, and always one', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: mebibyte });
    const results = await push(world, ...Array.from({ length: 3 }, (_, n) => set(world, `d:${n}`, 'k', 'old', { client_timestamp: 1 })));
    expect(results.map((one) => one.server_value?.length)).toEqual([1_048_576, undefined, undefined]);
  });

  it('[STO26] an app decides by prefix: manual, server_wins, merge', async () => {
    const policies = () =>
      [
        { prefix: 'm/', policy: 'manual' },
        { prefix: 's/', policy: 'server_wins' },
        { prefix: 'j/', policy: 'merge' },
      ] as const;
    const world = new World({ vault: { policies, cacheBytesPerVault: 0 } });
    for (const key of ['m/k', 's/k', 'j/k', 'j/text'])
      await world.call('tween.storage.set', { key, value: key === 'j/text' ? 'no json' : '{"a":1,"b":1}' });
    world.clock.advance(1_000);
    world.restart();
    const [m, s, j, text, older, removed] = await push(
      world,
      set(world, 'd:1', 'm/k', 'mine', { base_version: 0 }),
      set(world, 'd:2', 's/k', 'mine', { base_version: 0 }),
      set(world, 'd:3', 'j/k', '{"b":2,"c":2}', { base_version: 0 }),
      set(world, 'd:4', 'j/text', '{}', { base_version: 0 }),
      set(world, 'e:1', 'j/k', '{"c":9,"d":9}', { base_version: 0, client_timestamp: world.seconds - 0.5 }),
      del(world, 'e:2', 'j/text', { client_timestamp: 1 }),
    );
    expect(m).toMatchObject({ status: 'conflict', resolution: 'manual', server_value: '{"a":1,"b":1}' });
    expect(s).toMatchObject({ status: 'conflict', resolution: 'server_wins' });
    expect(j).toMatchObject({ status: 'applied', resolution: 'merged', server_value: '{"a":1,"b":2,"c":2}' });
    expect(text).toMatchObject({ status: 'applied', resolution: 'client_wins' });
    expect(older).toMatchObject({ status: 'applied', resolution: 'merged', server_value: '{"c":2,"d":9,"a":1,"b":2}' });
    expect(removed).toMatchObject({ status: 'conflict', resolution: 'server_wins' });
    expect((await world.call('tween.sync.status', {})).conflicts.map((one) => [one.op_id, one.resolution])).toEqual([
      ['e:2', 'server_wins'],
      ['e:1', 'merged'],
      ['', 'client_wins'],
      ['', 'merged'],
      ['d:2', 'server_wins'],
      ['d:1', 'manual'],
    ]);
  });

  it('[STO28] a removal is not undone by a device that was away longer than its tombstone lived', async () => {
    for (const forget of ['by age', 'by a retention job'] as const) {
      const world = new World();
      await world.call('tween.storage.set', { key: 'k', value: '1' });
      const edited = world.seconds + 1;
      world.clock.advance(2_000);
      await world.call('tween.storage.remove', { key: 'k' });
      world.clock.advance(30 * dayMs + 1);
      if (forget === 'by a retention job') world.journal.dropRows(address, (row) => row.deleted);
      world.restart();
      const [late, fresh, created] = await push(
        world,
        set(world, 'd:1', 'k', 'edited offline', { base_version: 1, client_timestamp: edited }),
        set(world, 'd:2', 'fresh', 'v'),
        set(world, 'd:3', 'created', 'offline', { base_version: 0, client_timestamp: edited }),
      );
      expect(late).toMatchObject({ status: 'conflict', resolution: 'server_wins' });
      expect([fresh?.status, created?.status]).toEqual(['applied', 'applied']);
      expect(await world.map()).toEqual({ fresh: 'v', created: 'offline' });
      expect((await world.call('tween.sync.status', {})).conflicts[0]).toMatchObject({ key: 'k', value: 'edited offline' });
    }
  });

  it('[STO28] where nothing was ever removed an old operation creates its key', async () => {
    const world = new World();
    expect((await push(world, set(world, 'd:1', 'k', 'v', { client_timestamp: 1 })))[0]?.status).toBe('applied');
  });

  it('[STO28] a removal that comes before the older write it undoes still wins', async () => {
    const world = new World();
    const [removed] = await push(world, del(world, 'b:1', 'k'));
    const [older] = await push(world, set(world, 'a:1', 'k', 'v', { client_timestamp: world.seconds - 1 }));
    expect([removed?.status, older?.status]).toEqual(['applied', 'conflict']);
    expect(await world.value('k')).toBeUndefined();
  });
});

describe('pull', () => {
  it('[STO30] gives every change after the cursor once, oldest first, at its newest version', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    await world.call('tween.storage.set', { key: 'b', value: '1' });
    const first = await world.call('tween.sync.pull', {});
    expect(first.changes.map((one) => [one.key, one.version, one.kind, one.value])).toEqual([
      ['a', 1, 'set', '1'],
      ['b', 2, 'set', '1'],
    ]);
    expect([first.has_more, first.reset]).toEqual([false, undefined]);
    await world.call('tween.storage.set', { key: 'a', value: '2' });
    await world.call('tween.storage.set', { key: 'a', value: '3' });
    await world.call('tween.storage.remove', { key: 'b' });
    const second = await world.call('tween.sync.pull', { cursor: first.cursor });
    expect(second.changes.map((one) => [one.key, one.version, one.kind, one.value])).toEqual([
      ['a', 4, 'set', '3'],
      ['b', 5, 'remove', undefined],
    ]);
    const third = await world.call('tween.sync.pull', { cursor: second.cursor });
    expect(third.changes).toEqual([]);
    world.restart();
    expect((await world.call('tween.sync.pull', { cursor: first.cursor })).changes).toEqual(second.changes);
  });

  it('[STO30] pages by number and by bytes, and a page always holds a change', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 0 } });
    for (let n = 0; n < 7; n++) await world.call('tween.storage.set', { key: `s${n}`, value: `${n}` });
    for (let n = 0; n < 3; n++) await world.call('tween.storage.set', { key: `l${n}`, value: 'x'.repeat(600_000) });
    world.restart();
    const sizes: number[] = [];
    const keys: string[] = [];
    let cursor: string | undefined;
    for (;;) {
      const page: OutputOf<'tween.sync.pull'> = await world.call(
        'tween.sync.pull',
        cursor === undefined ? { limit: 3 } : { limit: 3, cursor },
      );
      sizes.push(page.changes.length);
      keys.push(...page.changes.map((one) => one.key));
      cursor = page.cursor;
      if (!page.has_more) break;
    }
    expect(sizes).toEqual([3, 3, 2, 1, 1]);
    expect(keys).toEqual(['s0', 's1', 's2', 's3', 's4', 's5', 's6', 'l0', 'l1', 'l2']);
  });

  it('[STO31] a cursor counts only what is durable', async () => {
    const world = new World({ autoFlush: false });
    world.ask('tween.storage.set', { key: 'a', value: '1', durability: 'accepted' });
    await quiet();
    const pulled = world.ask('tween.sync.pull', {});
    expect(pulled.answer).toBeUndefined();
    world.restart();
    const again = world.ask('tween.sync.pull', {});
    const { cursor, changes } = await again.done;
    expect(changes).toEqual([]);
    const other = world.ask('tween.storage.set', { key: 'b', value: '1' });
    world.journal.flush();
    await other.done;
    expect((await world.call('tween.sync.pull', { cursor })).changes.map((one) => one.key)).toEqual(['b']);
  });

  it('[STO31] a key written while its page is read comes with its new version', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 0 } });
    for (const key of ['a', 'b']) await world.call('tween.storage.set', { key, value: 'old' });
    world.restart();
    await world.call('tween.storage.usage', {});
    const page = world.ask('tween.sync.pull', {});
    await Promise.all([page.done, world.call('tween.storage.set', { key: 'a', value: 'new' })]);
    const { changes, cursor } = await page.done;
    const next = await world.call('tween.sync.pull', { cursor });
    const map = Object.fromEntries([...changes, ...next.changes].map((one) => [one.key, one.value]));
    expect(map).toEqual({ a: 'new', b: 'old' });
  });

  it('[STO32] refuses the cursor of another user, another app, or of nobody', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    const { cursor } = await world.call('tween.sync.pull', {});
    for (const other of [principal('@bob:tween.example', alice.appId), principal(alice.userId, 'ma_other')]) {
      expect(await world.refusal('tween.sync.pull', { cursor }, other)).toMatchObject({ code: 'INVALID_REQUEST' });
    }
    expect(await world.refusal('tween.sync.pull', { cursor: 'AAAA' })).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(world.restarts).toEqual([]);
  });

  it('[STO33] a cursor of another life of the database, or one older than tombstones live, starts afresh', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    await world.call('tween.storage.set', { key: 'b', value: '1' });
    const { cursor } = await world.call('tween.sync.pull', {});
    world.clock.advance(30 * dayMs);
    expect((await world.call('tween.sync.pull', { cursor })).reset).toBeUndefined();
    world.clock.advance(1);
    const afresh = await world.call('tween.sync.pull', { cursor, limit: 1 });
    expect(afresh).toMatchObject({ reset: true, has_more: true });
    expect(afresh.changes.map((one) => one.key)).toEqual(['a']);
    const rest = await world.call('tween.sync.pull', { cursor: afresh.cursor });
    expect(rest.reset).toBeUndefined();
    expect(rest.changes.map((one) => one.key)).toEqual(['b']);
    world.restart({ dbEpoch: 'epoch-2' });
    expect(await world.call('tween.sync.pull', { cursor: rest.cursor })).toMatchObject({ reset: true, has_more: false });
  });

  it('[STO35] tombstones are told for 30 days, and a cursor from before a forgotten one starts afresh', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    await world.call('tween.storage.set', { key: 'b', value: '1' });
    const { cursor } = await world.call('tween.sync.pull', {});
    await world.call('tween.storage.remove', { key: 'a' });
    world.clock.advance(30 * dayMs);
    expect((await world.call('tween.sync.pull', {})).changes.map((one) => one.kind)).toEqual(['set', 'remove']);
    const kept = await world.call('tween.sync.pull', { cursor });
    expect(kept.changes).toMatchObject([{ key: 'a', kind: 'remove' }]);
    world.clock.advance(1);
    expect((await world.call('tween.sync.pull', {})).changes.map((one) => one.key)).toEqual(['b']);
    world.restart();
    expect(await world.call('tween.sync.pull', { cursor })).toMatchObject({ reset: true, changes: [{ key: 'b' }] });
    expect((await world.call('tween.sync.pull', { cursor: kept.cursor })).reset).toBeUndefined();
  });

  it('[STO35] a client that reads its pages slowly starts afresh when a removal it has not seen may be gone', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    const { cursor } = await world.call('tween.sync.pull', {});
    await world.call('tween.storage.set', { key: 'b', value: '1' });
    await world.call('tween.storage.remove', { key: 'a' });
    world.clock.advance(29 * dayMs);
    const page = await world.call('tween.sync.pull', { cursor, limit: 1 });
    expect(page).toMatchObject({ changes: [{ key: 'b' }], has_more: true });
    world.clock.advance(2 * dayMs);
    world.journal.dropRows(address, (row) => row.deleted);
    world.restart();
    expect(await world.call('tween.sync.pull', { cursor: page.cursor })).toMatchObject({ reset: true, changes: [{ key: 'b' }] });
  });

  it('[STO35] past 10,000 tombstones the oldest are forgotten: older cursors start afresh and a listing still ends', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'live', value: '1' });
    const { cursor } = await world.call('tween.sync.pull', {});
    for (let from = 0; from < 10_500; from += 500) {
      await push(world, ...Array.from({ length: 500 }, (_, n) => del(world, `d:${from + n}`, `k${from + n}`)));
    }
    expect((await world.call('tween.sync.pull', { cursor })).reset).toBe(true);
    expect(await world.map()).toEqual({ live: '1' });
    world.restart();
    expect((await world.call('tween.sync.pull', { cursor })).reset).toBe(true);
    expect(await world.map()).toEqual({ live: '1' });
    const [old] = await push(world, set(world, 'e:1', 'k0', 'old', { client_timestamp: world.seconds - 1 }));
    expect(old?.status).toBe('conflict');
  });

  it('[STO35] the rows of forgotten tombstones may go once a snapshot says so: what is told stays the same', async () => {
    const forgotten: [string, number][] = [];
    const world = new World({ vault: { onForgotten: (address, version) => forgotten.push([address, version]) } });
    await world.call('tween.storage.set', { key: 'live', value: '1' });
    const { cursor } = await world.call('tween.sync.pull', {});
    for (let from = 0; from < 25_000; from += 500) {
      await push(world, ...Array.from({ length: 500 }, (_, n) => del(world, `d:${from + n}`, `k${from + n}`)));
      const last = forgotten.at(-1);
      if (last !== undefined) world.journal.dropRows(last[0], (row) => row.deleted && row.version <= last[1]);
    }
    const [vault, version] = forgotten.at(-1) ?? ['', 0];
    expect(vault).toBe(address);
    expect(version).toBeGreaterThan(12_000);
    expect(world.journal.rows(address).length).toBeLessThan(11_500);
    world.restart();
    expect((await world.call('tween.sync.pull', { cursor })).reset).toBe(true);
    expect(await world.map()).toEqual({ live: '1' });
    const [old] = await push(world, set(world, 'e:1', 'k0', 'old', { client_timestamp: world.seconds - 1 }));
    expect(old?.status).toBe('conflict');
  });

  it('[STO36] an expired value is told as removed, once, with a version of its own', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1', ttl: 60 });
    const { cursor } = await world.call('tween.sync.pull', {});
    world.clock.advance(60_000);
    const next = await world.call('tween.sync.pull', { cursor });
    expect(next.changes).toMatchObject([{ key: 'k', version: 2, kind: 'remove' }]);
    expect((await world.call('tween.sync.pull', { cursor: next.cursor })).changes).toEqual([]);
    const reborn = await world.call('tween.storage.set', { key: 'k', value: '2' });
    expect(reborn).toMatchObject({ version: 3, created_at: new Date(world.clock.now()).toISOString() });
  });

  it('[STO36] a full journal does not stop a pull that would bury expired values', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1', ttl: 60 });
    world.clock.advance(60_000);
    world.journal.refuse(true);
    expect((await world.call('tween.sync.pull', {})).changes).toMatchObject([{ key: 'k', version: 1, kind: 'remove' }]);
    world.journal.refuse(false);
    expect((await world.call('tween.sync.pull', {})).changes).toMatchObject([{ key: 'k', version: 2, kind: 'remove' }]);
  });

  it('[STO30] eight writers and a reader: the reader sees every operation', async () => {
    const world = new World();
    const seen = new Map<string, string>();
    let cursor: string | undefined;
    const read = async (): Promise<void> => {
      const page: OutputOf<'tween.sync.pull'> = await world.call('tween.sync.pull', cursor === undefined ? {} : { cursor });
      for (const change of page.changes) seen.set(change.key, change.value as string);
      cursor = page.cursor;
    };
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; n < 20; n++) await world.call('tween.storage.set', { key: `w${writer}-${n}`, value: `${n}` });
    });
    for (let n = 0; n < 10; n++) await read();
    await Promise.all(writers);
    await read();
    expect(seen.size).toBe(160);
  });
});

describe('status', () => {
  it('[STO37] tells the newest version and the losers, newest first', async () => {
    const world = new World();
    expect(await world.call('tween.sync.status', {})).toEqual({ version: 0, conflicts: [] });
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    await push(world, set(world, 'd:1', 'k', 'one', { client_timestamp: 1 }), set(world, 'd:2', 'k', 'two', { client_timestamp: 1 }));
    const status = await world.call('tween.sync.status', {});
    expect(status.version).toBe(1);
    expect(status.conflicts.map((one) => one.value)).toEqual(['two', 'one']);
  });
});

describe('events', () => {
  it('[STO40] other sessions hear of a write when it is durable, not before', async () => {
    const world = new World({ autoFlush: false });
    const written = world.ask('tween.storage.set', { key: 'k', value: 'v', durability: 'accepted' });
    await quiet();
    expect([written.answer?.error, world.events]).toEqual([null, []]);
    world.journal.flush();
    await quiet();
    expect(world.events).toEqual([
      {
        userId: alice.userId,
        appId: alice.appId,
        scopes: ['storage:read'],
        exceptSession: 'ses_a',
        method: 'tween.storage.changed',
        params: { changes: [{ key: 'k', version: 1, kind: 'set', updated_at: new Date(world.clock.now()).toISOString(), value: 'v' }] },
      },
    ]);
  });

  it('[STO40] a write over HTTP is told to every session, a failed or empty one to none', async () => {
    const world = new World();
    await world.call('tween.storage.remove', { key: 'none' });
    world.journal.failNext();
    await world.refusal('tween.storage.set', { key: 'k', value: 'v' });
    await quiet();
    expect(world.events).toEqual([]);
    await world.call('tween.storage.set', { key: 'k', value: 'v' }, principal(alice.userId, alice.appId));
    await quiet();
    expect(world.events[0]).not.toHaveProperty('exceptSession');
  });

  it('[STO41] a value up to 4 KiB travels with its change, a larger one does not, and 64 KiB in all', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'fits', value: 'x'.repeat(4_096) });
    await world.call('tween.storage.set', { key: 'over', value: 'x'.repeat(4_097) });
    await world.call('tween.storage.batchSet', {
      items: Array.from({ length: 20 }, (_, n) => ({ key: `k${n}`, value: 'x'.repeat(4_096) })),
    });
    await quiet();
    const changes = world.events.map((event) => event.params['changes'] as { value?: string }[]);
    expect(changes[0]?.[0]?.value).toHaveLength(4_096);
    expect(changes[1]?.[0]).not.toHaveProperty('value');
    expect(changes[2]?.filter((change) => change.value !== undefined)).toHaveLength(16);
  });

  it('[STO41] 100 changes are told one by one, 101 as reset', async () => {
    const world = new World();
    await push(world, ...Array.from({ length: 100 }, (_, n) => set(world, `d:${n}`, `k${n}`, 'v')));
    await push(world, ...Array.from({ length: 101 }, (_, n) => set(world, `e:${n}`, `k${n}`, 'v')));
    await quiet();
    const told = world.events.filter((event) => event.method === 'tween.storage.changed').map((event) => event.params);
    expect(told[0]?.['changes']).toHaveLength(100);
    expect(told[1]).toEqual({ reset: true });
  });

  it('[STO42] a conflict is told to the other sessions', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    await push(world, set(world, 'd:1', 'k', 'old', { client_timestamp: 1 }));
    await quiet();
    expect(world.events.at(-1)).toMatchObject({
      method: 'tween.sync.conflict',
      exceptSession: 'ses_a',
      params: { conflicts: [{ key: 'k', op_id: 'd:1', kind: 'set', resolution: 'server_wins' }] },
    });
  });
});
