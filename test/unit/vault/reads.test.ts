/** What a vault gives back: get, batchGet, list, usage, expiry, encryption at rest. */
import { describe, expect, it } from 'vitest';
import { alice, issues, principal, quiet, World } from './world.ts';

const address = 'vault:@alice:tween.example:ma_demo_shop';

describe('reading', () => {
  it('[STO4] gives the value as it was written, with its metadata', async () => {
    const world = new World();
    const written = await world.call('tween.storage.set', { key: 'k', value: 'grüße', metadata: { content_type: 'text/plain' } });
    const at = new Date(world.clock.now()).toISOString();
    expect(written).toEqual({
      key: 'k',
      success: true,
      version: 1,
      created_at: at,
      updated_at: at,
      metadata: { size_bytes: 7, content_type: 'text/plain' },
    });
    expect(await world.call('tween.storage.get', { key: 'k' })).toEqual({
      key: 'k',
      value: 'grüße',
      created_at: at,
      updated_at: at,
      version: 1,
      metadata: { size_bytes: 7, content_type: 'text/plain' },
    });
  });

  it('[STO4] a replaced value keeps when it was created', async () => {
    const world = new World();
    const first = await world.call('tween.storage.set', { key: 'k', value: '1' });
    world.clock.advance(1_000);
    const second = await world.call('tween.storage.set', { key: 'k', value: '2' });
    expect(second.created_at).toBe(first.created_at);
    expect(second.updated_at).not.toBe(first.updated_at);
    expect(second.metadata).toEqual({ size_bytes: 1 });
  });

  it('[STO4] what is not there is KEY_NOT_FOUND, or missing in a batch', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '' });
    expect(await world.refusal('tween.storage.get', { key: 'b' })).toMatchObject({ code: 'KEY_NOT_FOUND' });
    const batch = await world.call('tween.storage.batchGet', { keys: ['b', 'a', 'c', 'a'] });
    expect(batch.items.map((item) => [item.key, item.value])).toEqual([['a', '']]);
    expect(batch.missing).toEqual(['b', 'c']);
  });

  it('[STO4] a batch whose values would not fit one answer is refused, single reads go on', async () => {
    const world = new World();
    const value = 'x'.repeat(1_048_576);
    for (let n = 0; n < 8; n++) await world.call('tween.storage.set', { key: `k${n}`, value });
    const keys = Array.from({ length: 8 }, (_, n) => `k${n}`);
    expect(await world.refusal('tween.storage.batchGet', { keys })).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    expect((await world.call('tween.storage.batchGet', { keys: keys.slice(1) })).items).toHaveLength(7);
    expect((await world.call('tween.storage.get', { key: 'k0' })).value).toBe(value);
  });

  it('[STO1] another user or app sees nothing of it', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    for (const other of [principal('@bob:tween.example', 'ma_demo_shop'), principal('@alice:tween.example', 'ma_other')]) {
      expect(await world.value('k', other)).toBeUndefined();
      await world.call('tween.storage.set', { key: 'k', value: 'other' }, other);
    }
    expect(await world.value('k')).toBe('1');
  });

  it('[STO2] versions grow with every write, also after a restart and after the newest key is gone', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    await world.call('tween.storage.set', { key: 'b', value: '1' });
    const removed = await world.call('tween.storage.remove', { key: 'b' });
    expect(removed.version).toBe(3);
    world.restart();
    world.journal.dropRows(address, (row) => row.deleted);
    expect((await world.call('tween.storage.set', { key: 'c', value: '1' })).version).toBe(4);
    await world.call('tween.storage.set', { key: 'd', value: '1', ttl: 60 });
    world.restart();
    world.journal.dropRows(address, (row) => row.key === 'd');
    expect((await world.call('tween.storage.set', { key: 'e', value: '1' })).version).toBe(6);
  });
});

describe('expiry', () => {
  it('[STO5] a value is there a millisecond before its end, and gone at it and after it', async () => {
    const world = new World();
    const { expires_at } = await world.call('tween.storage.set', { key: 'k', value: '1', ttl: 60 });
    expect(expires_at).toBe(new Date(world.clock.now() + 60_000).toISOString());
    world.clock.advance(59_999);
    expect((await world.call('tween.storage.get', { key: 'k' })).expires_at).toBe(expires_at);
    expect((await world.call('tween.storage.list', {})).keys).toHaveLength(1);
    world.clock.advance(1);
    expect(await world.refusal('tween.storage.get', { key: 'k' })).toMatchObject({ code: 'KEY_NOT_FOUND' });
    expect((await world.call('tween.storage.batchGet', { keys: ['k'] })).missing).toEqual(['k']);
    expect((await world.call('tween.storage.list', {})).pagination.total).toBe(0);
    expect(await world.call('tween.storage.usage', {})).toMatchObject({ usage_bytes: 0, keys: 0 });
    world.clock.advance(1);
    expect(await world.value('k')).toBeUndefined();
  });

  it('[STO5] is the same when the value must be read from the store, also when it ends while that runs', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 0 } });
    await world.call('tween.storage.set', { key: 'k', value: '1', ttl: 60 });
    await world.call('tween.storage.set', { key: 'other', value: '1' });
    world.restart();
    world.clock.advance(59_999);
    expect(await world.value('k')).toBe('1');
    const asked = world.ask('tween.storage.get', { key: 'k' });
    world.clock.advance(1);
    await expect(asked.done).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
  });

  it('[STO29] a set without ttl clears an old one, a set with one moves it', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1', ttl: 60 });
    await world.call('tween.storage.set', { key: 'b', value: '1', ttl: 60 });
    const cleared = await world.call('tween.storage.set', { key: 'a', value: '2' });
    expect(cleared.expires_at).toBeUndefined();
    await world.call('tween.storage.set', { key: 'b', value: '2', ttl: 120 });
    world.clock.advance(60_000);
    expect(await world.map()).toEqual({ a: '2', b: '2' });
    world.clock.advance(60_000);
    expect(await world.map()).toEqual({ a: '2' });
  });

  it('[STO5] an expired value stays gone after a restart and a clock that is set back is its only way back', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1', ttl: 60 });
    world.clock.advance(60_000);
    // Any write buries it for good.
    await world.call('tween.storage.set', { key: 'other', value: '1' });
    world.restart();
    world.clock.jump(-60_000);
    expect(await world.value('k')).toBeUndefined();
    expect(world.journal.rows(address).find((row) => row.key === 'k')).toMatchObject({ deleted: true, value: null });
  });
});

describe('listing', () => {
  it('[STO18] is in order of code units, and the prefix is literal', async () => {
    const world = new World();
    for (const key of ['b', 'a_1', 'a%1', 'ab1', 'a', 'ä', 'Z', '\u{1f600}', '\uffee'])
      await world.call('tween.storage.set', { key, value: key });
    const all = await world.call('tween.storage.list', {});
    expect(all.keys.map((row) => row.key)).toEqual(['Z', 'a', 'a%1', 'a_1', 'ab1', 'b', 'ä', '\u{1f600}', '\uffee']);
    expect((await world.call('tween.storage.list', { prefix: 'a_' })).keys.map((row) => row.key)).toEqual(['a_1']);
    expect((await world.call('tween.storage.list', { prefix: 'a%' })).keys.map((row) => row.key)).toEqual(['a%1']);
    expect((await world.call('tween.storage.list', { prefix: '' })).pagination.total).toBe(9);
    expect((await world.call('tween.storage.list', { prefix: 'nothing' })).keys).toEqual([]);
  });

  it('[STO18] comes in pages', async () => {
    const world = new World();
    for (let n = 0; n < 5; n++) await world.call('tween.storage.set', { key: `k${n}`, value: 'v', ttl: 60 });
    const first = await world.call('tween.storage.list', { limit: 2, offset: 0 });
    expect(first.pagination).toEqual({ total: 5, limit: 2, offset: 0, has_more: true });
    const last = await world.call('tween.storage.list', { limit: 2, offset: 4 });
    expect(last.keys).toEqual([
      {
        key: 'k4',
        size_bytes: 1,
        updated_at: expect.any(String),
        version: 5,
        expires_at: new Date(world.clock.now() + 60_000).toISOString(),
      },
    ]);
    expect(last.pagination.has_more).toBe(false);
    expect((await world.call('tween.storage.list', { offset: 1_000 })).keys).toEqual([]);
    await world.call('tween.storage.set', { key: 'k9', value: 'v' });
    await world.call('tween.storage.remove', { key: 'k0' });
    expect((await world.call('tween.storage.list', {})).keys.map((row) => row.key)).toEqual(['k1', 'k2', 'k3', 'k4', 'k9']);
  });

  it('[STO18] 1,000 keys are listed whole and loaded in a moment', async () => {
    const world = new World();
    for (let from = 0; from < 1_000; from += 100) {
      await world.call('tween.storage.batchSet', { items: Array.from({ length: 100 }, (_, n) => ({ key: `k${from + n}`, value: 'v' })) });
    }
    world.restart();
    expect((await world.call('tween.storage.list', { limit: 1_000 })).keys).toHaveLength(1_000);
    expect(await world.call('tween.storage.usage', {})).toEqual({
      usage_bytes: 1_000,
      quota_bytes: 10_485_760,
      keys: 1_000,
      keys_quota: 1_000,
    });
  });
});

describe('at rest', () => {
  it('[STO6] a value is stored sealed, read back after a restart, and bound to its place', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: 'a secret text' });
    await world.call('tween.storage.set', { key: 'b', value: 'another text' });
    const [a, b] = world.journal.rows(address);
    expect(Buffer.from(a?.value as Uint8Array).includes('secret')).toBe(false);
    world.restart();
    expect(await world.value('a')).toBe('a secret text');
    // The value of one key in the place of another: what someone with access to the rows might try.
    world.restart();
    const [rowA, rowB] = [a as NonNullable<typeof a>, b as NonNullable<typeof b>];
    const storage = [
      { ...rowA, value: rowB.value },
      { ...rowA, key: 'c' },
    ];
    world.journal.append({ address, kind: 'vault', baseSeq: 2, seq: 3, machineVersion: 1, storage }, () => {});
    const elsewhere = 'vault:@alice:tween.example:ma_other';
    world.journal.append({ address: elsewhere, kind: 'vault', baseSeq: 0, seq: 1, machineVersion: 1, storage: [rowA] }, () => {});
    await quiet();
    expect(await world.refusal('tween.storage.get', { key: 'a' })).toMatchObject({ code: 'INTERNAL_ERROR' });
    expect(await world.refusal('tween.storage.get', { key: 'c' })).toMatchObject({ code: 'INTERNAL_ERROR' });
    const other = principal('@alice:tween.example', 'ma_other');
    expect(await world.refusal('tween.storage.get', { key: 'a' }, other)).toMatchObject({ code: 'INTERNAL_ERROR' });
    expect(await world.value('b')).toBe('another text');
    expect(world.restarts).toEqual([]);
  });

  it('[STO6] values beyond the cache come from the store, and what is not flushed always stays in memory', async () => {
    const world = new World({ autoFlush: false, vault: { cacheBytesPerVault: 1_000 } });
    const accepted = (n: number) => ({ key: `k${n}`, value: `${n}`.repeat(400), durability: 'accepted' as const });
    const asked = Array.from({ length: 20 }, (_, n) => world.ask('tween.storage.set', accepted(n)));
    await quiet();
    for (let n = 0; n < 20; n++) expect(world.ask('tween.storage.get', { key: `k${n}` }).answer?.result.value).toBe(`${n}`.repeat(400));
    world.journal.flush();
    await Promise.all(asked.map((one) => one.done));
    for (let n = 0; n < 20; n++) expect(await world.value(`k${n}`)).toBe(`${n}`.repeat(400));
    const { items } = await world.call('tween.storage.batchGet', { keys: Array.from({ length: 20 }, (_, n) => `k${n}`) });
    expect(items).toHaveLength(20);
  });

  it('[STO6] when the store is away a cold read is SERVICE_UNAVAILABLE and a hot one is answered', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 300 } });
    await world.call('tween.storage.set', { key: 'cold', value: 'c' });
    await world.call('tween.storage.set', { key: 'hot', value: 'h' });
    await quiet();
    world.journal.unreadable(true);
    expect(await world.refusal('tween.storage.get', { key: 'cold' })).toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    expect((await world.call('tween.storage.get', { key: 'hot' })).value).toBe('h');
    expect(await world.refusal('tween.storage.batchGet', { keys: ['cold', 'hot'] })).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await world.refusal('tween.sync.status', {})).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    world.journal.unreadable(false);
    expect(await world.value('cold')).toBe('c');
  });

  it('[STO6] a read that waits for the store when its vault is rebuilt is still answered', async () => {
    const world = new World({ autoFlush: false, vault: { cacheBytesPerVault: 0 } });
    const first = world.ask('tween.storage.set', { key: 'cold', value: 'c' });
    await quiet();
    world.journal.flush();
    await first.done;
    world.restart();
    const warm = world.ask('tween.storage.usage', {});
    await quiet();
    await warm.done;
    const doomed = world.ask('tween.storage.set', { key: 'x', value: '1' });
    const read = world.ask('tween.storage.get', { key: 'cold' });
    const status = world.ask('tween.sync.status', {});
    world.journal.failNext();
    world.journal.flush();
    await expect(doomed.done).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await expect(read.done).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await expect(status.done).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await world.value('cold')).toBe('c');
  });

  it('[STO14] a snapshot of an unknown form stops the vault rather than forget what was applied', async () => {
    const world = new World();
    world.journal.append({ address, kind: 'vault', baseSeq: 0, seq: 1, machineVersion: 9, snapshot: { v: 9 } }, () => {});
    await quiet();
    expect(await world.refusal('tween.storage.get', { key: 'k' })).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });
});

describe('keys', () => {
  it('[STO43] every odd key is a key of its own and of its own namespace', async () => {
    const world = new World();
    const keys = [
      '__proto__',
      'constructor',
      'toString',
      '../secret',
      '%',
      '_',
      'a\\b',
      "'; drop table storage; --",
      'x'.repeat(256),
      '\u{1f600}'.repeat(64),
      '\u202eabc',
    ];
    for (const [n, key] of keys.entries()) await world.call('tween.storage.set', { key, value: `${n}`, op_id: `__proto__:${n}` });
    expect(await world.map()).toEqual(Object.fromEntries(keys.map((key, n) => [key, `${n}`])));
    world.restart();
    for (const [n, key] of keys.entries()) expect((await world.call('tween.storage.get', { key })).value).toBe(`${n}`);
    for (const key of ['hasOwnProperty', 'valueOf', 'length']) expect(await world.value(key)).toBeUndefined();
    expect(await world.map(principal('@alice:tween.example', 'ma_demo'))).toEqual({});
  });

  it('[STO43] too long, empty, decomposed, with control characters or lone surrogates: refused', () => {
    for (const key of ['', 'x'.repeat(257), 'ä'.repeat(129), 'a\u0308', 'a\nb', 'a\u0000', '\u007f', '\ud800', 'a\ud800']) {
      expect(issues('tween.storage.set', { key, value: '' })).not.toEqual([]);
      expect(issues('tween.storage.get', { key })).not.toEqual([]);
    }
    expect(issues('tween.storage.set', { key: 'ä'.repeat(128), value: '' })).toEqual([]);
  });

  it('[STO1] only the owner of the address is answered', async () => {
    const world = new World();
    const error = await new Promise((resolve) => {
      world.tell(address, {
        type: 'tween.storage.get',
        input: { key: 'k' },
        who: principal('@mallory:tween.example', alice.appId),
        reply: (refused) => resolve(refused),
      });
    });
    expect(error).toMatchObject({ code: 'FORBIDDEN' });
  });
});
