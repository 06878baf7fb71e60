/** What a vault takes: quota, last writer, operation ids, accepted writes, failed commits. */
import { describe, expect, it } from 'vitest';
import { principal, quiet, World } from './world.ts';

const address = 'vault:@alice:tween.example:ma_demo_shop';
const mebibyte = 'x'.repeat(1_048_576);

describe('quota', () => {
  it('[STO8] 10 MiB of values fit, one byte more does not, and nothing of it is written', async () => {
    const world = new World();
    for (let n = 0; n < 10; n++) await world.call('tween.storage.set', { key: `k${n}`, value: mebibyte });
    const error = await world.refusal('tween.storage.set', { key: 'more', value: 'x' });
    expect(error).toMatchObject({ code: 'STORAGE_QUOTA_EXCEEDED', status: 413 });
    expect(error.details).toEqual({ current_usage_bytes: 10_485_760, quota_bytes: 10_485_760, limit: 'total' });
    expect((await world.call('tween.storage.set', { key: 'empty', value: '' })).success).toBe(true);
    expect(await world.value('more')).toBeUndefined();
    expect(await world.call('tween.storage.usage', {})).toMatchObject({ usage_bytes: 10_485_760, keys: 11 });
  });

  it('[STO9] a value over 1 MiB of UTF-8 is refused as such, also when it would lose a conflict', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: mebibyte });
    const tooLarge = `${mebibyte.slice(1)}ä`;
    expect((await world.refusal('tween.storage.set', { key: 'k', value: tooLarge })).details).toMatchObject({ limit: 'value' });
    expect((await world.refusal('tween.storage.set', { key: 'k', value: tooLarge, client_timestamp: 1 })).details).toMatchObject({
      limit: 'value',
    });
    expect((await world.call('tween.sync.status', {})).conflicts).toEqual([]);
  });

  it('[STO9] 1,000 keys fit, a new one more does not, replacing one does', async () => {
    const world = new World();
    for (let from = 0; from < 1_000; from += 100) {
      await world.call('tween.storage.batchSet', { items: Array.from({ length: 100 }, (_, n) => ({ key: `k${from + n}`, value: 'v' })) });
    }
    expect((await world.refusal('tween.storage.set', { key: 'more', value: 'v' })).details).toMatchObject({ limit: 'keys' });
    await world.call('tween.storage.set', { key: 'k7', value: 'vv' });
    await world.call('tween.storage.remove', { key: 'k8' });
    await world.call('tween.storage.set', { key: 'more', value: 'v' });
    expect(await world.call('tween.storage.usage', {})).toMatchObject({ usage_bytes: 1_001, keys: 1_000 });
  });

  it('[STO10] replacing counts the difference, expired values make room at their instant', async () => {
    const world = new World();
    for (let n = 0; n < 10; n++) await world.call('tween.storage.set', { key: `k${n}`, value: mebibyte, ...(n === 9 ? { ttl: 60 } : {}) });
    await world.call('tween.storage.set', { key: 'k0', value: mebibyte.slice(1) });
    await world.call('tween.storage.set', { key: 'one', value: 'x' });
    world.clock.advance(59_999);
    expect(await world.refusal('tween.storage.set', { key: 'big', value: mebibyte })).toMatchObject({ code: 'STORAGE_QUOTA_EXCEEDED' });
    world.clock.advance(1);
    await world.call('tween.storage.set', { key: 'big', value: mebibyte });
    expect(await world.call('tween.storage.usage', {})).toMatchObject({ usage_bytes: 10_485_760, keys: 11 });
  });

  it('[STO11] 64 writers at 99 % never pass the quota at any commit, and usage is the sum of what is stored', async () => {
    const world = new World({ autoFlush: false });
    for (let n = 0; n < 9; n++) world.ask('tween.storage.set', { key: `fill${n}`, value: mebibyte });
    world.ask('tween.storage.set', { key: 'fill9', value: mebibyte.slice(0, 900_000) });
    await quiet();
    world.journal.flush();
    const asked = Array.from({ length: 64 }, (_, n) => world.ask('tween.storage.set', { key: `w${n}`, value: 'y'.repeat(10_000) }));
    while (world.journal.flush(1) > 0) {
      const stored = world.journal.rows(address).reduce((sum, row) => sum + (row.deleted ? 0 : row.sizeBytes), 0);
      expect(stored).toBeLessThanOrEqual(10_485_760);
    }
    await quiet();
    const taken = asked.filter((one) => one.answer?.error === null).length;
    const left = 10_485_760 - 9 * 1_048_576 - 900_000;
    expect(taken).toBe(Math.floor(left / 10_000));
    expect(asked.filter((one) => one.answer?.error?.code === 'STORAGE_QUOTA_EXCEEDED')).toHaveLength(64 - taken);
    expect((await world.call('tween.storage.usage', {})).usage_bytes).toBe(10_485_760 - left + taken * 10_000);
  });
});

describe('commit', () => {
  it('[STO3] a durable write is answered by its flush, and readers of it wait for the same', async () => {
    const world = new World({ autoFlush: false });
    const written = world.ask('tween.storage.set', { key: 'k', value: '1' });
    await quiet();
    const reads = [
      world.ask('tween.storage.get', { key: 'k' }),
      world.ask('tween.storage.batchGet', { keys: ['k'] }),
      world.ask('tween.storage.list', {}),
      world.ask('tween.storage.usage', {}),
      world.ask('tween.sync.pull', {}),
    ];
    const elsewhere = world.ask('tween.storage.get', { key: 'other' });
    await quiet();
    expect([written.answer, ...reads.map((read) => read.answer)]).toEqual(Array(6).fill(undefined));
    expect(elsewhere.answer?.error).toMatchObject({ code: 'KEY_NOT_FOUND' });
    world.journal.flush();
    await Promise.all([written.done, ...reads.map((read) => read.done as Promise<unknown>)]);
    const removed = world.ask('tween.storage.remove', { key: 'k' });
    const gone = world.ask('tween.storage.get', { key: 'k' });
    expect(gone.answer).toBeUndefined();
    world.journal.flush();
    await expect(gone.done).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
    expect((await removed.done).removed).toBe(true);
  });

  it('[STO3] a full journal refuses the write and nothing has changed', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    world.journal.refuse(true);
    expect(await world.refusal('tween.storage.set', { key: 'k', value: '2', op_id: 'd:1' })).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      retryAfter: 1,
    });
    expect(await world.refusal('tween.storage.remove', { key: 'k' })).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    const push = { ops: [{ op_id: 'd:2', key: 'k', kind: 'remove' as const, client_timestamp: world.seconds }] };
    expect(await world.refusal('tween.sync.push', push)).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await world.value('k')).toBe('1');
    world.journal.refuse(false);
    expect((await world.call('tween.storage.set', { key: 'k', value: '2', op_id: 'd:1' })).version).toBe(2);
    expect((await world.call('tween.sync.push', push)).results[0]).toMatchObject({ status: 'applied', version: 3 });
    expect(world.restarts).toEqual([]);
  });

  it('[STO3] a failed flush answers SERVICE_UNAVAILABLE and the vault is what it was', async () => {
    const world = new World({ autoFlush: false });
    const first = world.ask('tween.storage.set', { key: 'k', value: '1' });
    await quiet();
    world.journal.flush();
    await first.done;
    world.journal.failNext();
    const second = world.ask('tween.storage.set', { key: 'k', value: '2', op_id: 'd:1' });
    const third = world.ask('tween.storage.set', { key: 'l', value: '2' });
    const accepted = world.ask('tween.storage.set', { key: 'm', value: '2', durability: 'accepted' });
    world.journal.flush();
    await expect(second.done).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await expect(third.done).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(accepted.durable).toEqual([expect.any(Error)]);
    expect(await world.map()).toEqual({ k: '1' });
    const again = world.ask('tween.storage.set', { key: 'k', value: '2', op_id: 'd:1' });
    world.journal.flush();
    expect(await again.done).toMatchObject({ version: 2 });
  });

  it('[STO3] the same idempotency key and input give the first answer again, another input is refused', async () => {
    const world = new World();
    const input = { key: 'k', value: '1', idempotency_key: 'i1' };
    const first = await world.call('tween.storage.set', input);
    await world.call('tween.storage.set', { key: 'k', value: '2' });
    expect(await world.call('tween.storage.set', input)).toEqual(first);
    expect(await world.value('k')).toBe('2');
    expect(await world.refusal('tween.storage.set', { ...input, value: '3' })).toMatchObject({ code: 'DUPLICATE_TRANSACTION' });
    world.restart();
    expect(await world.call('tween.storage.set', input)).toEqual(first);
  });

  it('[STO3] a refusal lets its idempotency key go', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: 'server' });
    world.restart({ cacheBytesPerVault: 0 });
    const stale = { key: 'k', value: 'old', client_timestamp: 1, idempotency_key: 'i1' };
    world.journal.unreadable('values');
    expect(await world.refusal('tween.storage.set', stale)).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    world.journal.unreadable(false);
    expect(await world.call('tween.storage.set', stale)).toMatchObject({ conflict_detected: true, server_value: 'server' });
  });
});

describe('accepted writes', () => {
  it('[STO12] are answered at once with durable false, and their flush is told once', async () => {
    const world = new World({ autoFlush: false });
    const set = world.ask('tween.storage.set', { key: 'k', value: '1', durability: 'accepted' });
    await quiet();
    const remove = world.ask('tween.storage.remove', { key: 'none', durability: 'accepted' });
    expect(set.answer?.result).toMatchObject({ success: true, version: 1, durable: false });
    expect(remove.answer?.result).toMatchObject({ removed: false, durable: false });
    const read = world.ask('tween.storage.get', { key: 'k' });
    expect(read.answer?.result).toMatchObject({ value: '1' });
    expect([set.durable, remove.durable]).toEqual([[], []]);
    world.journal.flush();
    await quiet();
    expect([set.durable, remove.durable]).toEqual([[null], [null]]);
  });

  it('[STO12] a durable write over an accepted one makes readers wait, an accepted one over a durable one does not', async () => {
    const world = new World({ autoFlush: false });
    world.ask('tween.storage.set', { key: 'k', value: '1', durability: 'accepted' });
    await quiet();
    world.ask('tween.storage.set', { key: 'k', value: '2' });
    expect(world.ask('tween.storage.get', { key: 'k' }).answer).toBeUndefined();
    world.ask('tween.storage.set', { key: 'k', value: '3', durability: 'accepted' });
    expect(world.ask('tween.storage.get', { key: 'k' }).answer?.result).toMatchObject({ value: '3' });
  });

  it('[STO12] a repeat by op_id is answered at once and durable when the first is', async () => {
    const world = new World({ autoFlush: false });
    const first = world.ask('tween.storage.set', { key: 'k', value: '1', op_id: 'd:1', durability: 'accepted' });
    await quiet();
    const repeat = world.ask('tween.storage.set', { key: 'k', value: '1', op_id: 'd:1', durability: 'accepted' });
    const durableRepeat = world.ask('tween.storage.set', { key: 'k', value: '1', op_id: 'd:1' });
    expect(repeat.answer?.result).toMatchObject({ version: 1, durable: false });
    expect([repeat.durable, durableRepeat.answer]).toEqual([[], undefined]);
    world.journal.flush();
    await durableRepeat.done;
    expect([first.durable, repeat.durable]).toEqual([[null], [null]]);
    expect(world.journal.committed).toHaveLength(1);
  });

  it('[STO12] with an idempotency key the repeat gets the answer of the committed write', async () => {
    const world = new World({ autoFlush: false });
    const input = { key: 'k', value: '1', idempotency_key: 'i', durability: 'accepted' as const };
    const first = world.ask('tween.storage.set', input);
    await quiet();
    const repeat = world.ask('tween.storage.set', input);
    expect(first.answer?.result.durable).toBe(false);
    expect(repeat.answer).toBeUndefined();
    world.journal.flush();
    expect(await repeat.done).toMatchObject({ version: 1 });
    expect((await repeat.done).durable).toBeUndefined();
  });

  it('[STO13] 1,000 may wait for their flush, one more is refused until some are durable', async () => {
    const world = new World({ autoFlush: false });
    const accepted = (n: number) => world.ask('tween.storage.set', { key: `k${n % 10}`, value: `${n}`, durability: 'accepted' });
    const first = accepted(0);
    await quiet();
    for (let n = 1; n < 1_000; n++) expect(accepted(n).answer?.error).toBeNull();
    expect(accepted(1_000).answer?.error).toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    expect(world.ask('tween.storage.remove', { key: 'k0', durability: 'accepted' }).answer?.error).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
    });
    world.journal.flush(1);
    expect(first.durable).toEqual([null]);
    expect(accepted(1_001).answer?.error).toBeNull();
    expect(accepted(1_002).answer?.error).not.toBeNull();
  });
});

describe('removing', () => {
  it('[STO19] what is not there succeeds and writes nothing', async () => {
    const world = new World();
    expect(await world.call('tween.storage.remove', { key: 'k' })).toEqual({ key: 'k', success: true, removed: false });
    expect(world.journal.committed).toEqual([]);
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    expect(await world.call('tween.storage.remove', { key: 'k' })).toMatchObject({ removed: true, version: 2 });
    expect(await world.call('tween.storage.remove', { key: 'k' })).toMatchObject({ removed: false });
    expect(world.journal.committed).toHaveLength(2);
  });

  it('[STO19] leaves a tombstone without a value, and an older write does not bring the key back', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    const before = world.seconds;
    world.clock.advance(10_000);
    await world.call('tween.storage.remove', { key: 'k' });
    expect(world.journal.rows(address)[0]).toMatchObject({ key: 'k', deleted: true, value: null, sizeBytes: 0, version: 2 });
    world.restart();
    const late = await world.call('tween.storage.set', { key: 'k', value: 'late', client_timestamp: before + 1 });
    expect(late).toMatchObject({ success: true, conflict_detected: true, resolution: 'server_wins', version: 2 });
    expect(late.server_value).toBeUndefined();
    expect(await world.value('k')).toBeUndefined();
    expect(await world.call('tween.storage.set', { key: 'k', value: 'new', client_timestamp: world.seconds })).toMatchObject({
      version: 3,
    });
  });

  it('[STO19] a removal with an op_id is remembered even when nothing was there', async () => {
    const world = new World();
    const input = { key: 'k', op_id: 'd:1' };
    expect(await world.call('tween.storage.remove', input)).toMatchObject({ removed: false });
    await world.call('tween.storage.set', { key: 'k', value: '1' });
    world.restart();
    expect(await world.call('tween.storage.remove', input)).toMatchObject({ success: true, removed: false });
    expect(await world.value('k')).toBe('1');
  });

  it('[STO19] batchRemove answers each key', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'a', value: '1' });
    const { results } = await world.call('tween.storage.batchRemove', { keys: ['a', 'b', 'a'] });
    expect(results).toEqual([
      { key: 'a', success: true, removed: true },
      { key: 'b', success: true, removed: false },
      { key: 'a', success: true, removed: false },
    ]);
    expect(world.journal.committed).toHaveLength(2);
  });
});

describe('last writer', () => {
  it('[STO20] an older client_timestamp loses: success, the stored value shown, nothing written, the loser kept', async () => {
    const world = new World();
    const at = world.seconds;
    await world.call('tween.storage.set', { key: 'k', value: 'stored', client_timestamp: at });
    const lost = await world.call('tween.storage.set', { key: 'k', value: 'older', client_timestamp: at - 0.001 });
    expect(lost).toMatchObject({ success: true, conflict_detected: true, resolution: 'server_wins', server_value: 'stored', version: 1 });
    expect(await world.call('tween.storage.remove', { key: 'k', client_timestamp: at - 1 })).toMatchObject({
      removed: false,
      conflict_detected: true,
    });
    expect(await world.value('k')).toBe('stored');
    const { conflicts } = await world.call('tween.sync.status', {});
    expect(conflicts.map((one) => [one.key, one.kind, one.value, one.resolution])).toEqual([
      ['k', 'remove', undefined, 'server_wins'],
      ['k', 'set', 'older', 'server_wins'],
    ]);
    expect(await world.call('tween.storage.set', { key: 'k', value: 'equal', client_timestamp: at })).toMatchObject({ version: 2 });
  });

  it('[STO20] shows the stored value also when it must be read first, and later messages keep their order', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 0 } });
    await world.call('tween.storage.set', { key: 'k', value: 'stored' });
    world.restart();
    await world.call('tween.storage.usage', {});
    const lost = world.ask('tween.storage.set', { key: 'k', value: 'older', client_timestamp: 1 });
    const next = world.ask('tween.storage.set', { key: 'k', value: 'next' });
    const read = world.ask('tween.storage.get', { key: 'k' });
    const lostAgain = world.ask('tween.storage.batchSet', { items: [{ key: 'k', value: 'older', client_timestamp: 2 }] });
    expect(await lost.done).toMatchObject({ server_value: 'stored' });
    expect(await next.done).toMatchObject({ version: 2 });
    expect(await read.done).toMatchObject({ value: 'next' });
    expect((await lostAgain.done).results[0]).toMatchObject({ server_value: 'next', conflict_detected: true });
  });

  it('[STO7] nobody overtakes a write that reads first', async () => {
    const world = new World({ vault: { cacheBytesPerVault: 0 } });
    await world.call('tween.storage.set', { key: 'cold', value: 'stored' });
    world.restart();
    await world.call('tween.storage.usage', {});
    const ops = [
      { op_id: 'd:1', key: 'cold', kind: 'set' as const, value: 'older', client_timestamp: 1 },
      { op_id: 'd:2', key: 'k', kind: 'set' as const, value: 'first', client_timestamp: world.seconds + 1 },
    ];
    const asked = [world.ask('tween.sync.push', { ops }), world.ask('tween.storage.set', { key: 'k', value: 'second' })];
    const read = world.ask('tween.storage.get', { key: 'k' });
    await Promise.all(asked.map((one) => one.done as Promise<unknown>));
    expect((await read.done).value).toBe('second');
    expect(await world.value('k')).toBe('second');
  });

  it('[STO7] whoever waits behind a write that reads is answered when the vault is rebuilt', async () => {
    const world = new World({ autoFlush: false, vault: { cacheBytesPerVault: 0 } });
    const first = world.ask('tween.storage.set', { key: 'k', value: 'stored' });
    await quiet();
    world.journal.flush();
    await first.done;
    world.restart();
    const warm = world.ask('tween.storage.usage', {});
    await warm.done;
    const doomed = world.ask('tween.storage.set', { key: 'x', value: '1' });
    const lost = world.ask('tween.storage.set', { key: 'k', value: 'older', client_timestamp: 1 });
    const held = world.ask('tween.storage.set', { key: 'y', value: '1' });
    world.journal.failNext();
    world.journal.flush();
    for (const one of [doomed, lost, held]) await expect(one.done).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await world.map()).toEqual({ k: 'stored' });
  });

  it('[STO21] a clock of 1970 never overwrites silently, one of 2099 counts as now', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: 'right' });
    expect(await world.call('tween.storage.set', { key: 'k', value: '1970', client_timestamp: 0 })).toMatchObject({
      conflict_detected: true,
    });
    const future = Date.UTC(2099, 0, 1) / 1000;
    await world.call('tween.storage.set', { key: 'k', value: '2099', client_timestamp: future });
    expect(await world.value('k')).toBe('2099');
    world.clock.advance(1);
    await world.call('tween.storage.set', { key: 'k', value: 'later', client_timestamp: world.seconds });
    expect(await world.value('k')).toBe('later');
    // Within the tolerance a fast clock is believed.
    await world.call('tween.storage.set', { key: 'k', value: 'fast', client_timestamp: world.seconds + 300 });
    expect(await world.call('tween.storage.set', { key: 'k', value: 'right', client_timestamp: world.seconds + 299.999 })).toMatchObject({
      conflict_detected: true,
      server_value: 'fast',
    });
  });

  it('[STO21] a write without a time is made now and wins, also over a stamp ahead and when the clock was set back', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: 'ahead', client_timestamp: world.seconds + 200 });
    expect((await world.call('tween.storage.set', { key: 'k', value: 'now' })).conflict_detected).toBeUndefined();
    world.clock.jump(-3_600_000);
    expect((await world.call('tween.storage.set', { key: 'k', value: 'set back' })).conflict_detected).toBeUndefined();
    expect(await world.value('k')).toBe('set back');
    expect(await world.call('tween.storage.set', { key: 'k', value: 'older', client_timestamp: world.seconds + 100 })).toMatchObject({
      conflict_detected: true,
    });
  });

  it('[STO22] at the same instant the higher op_id wins, whichever comes first', async () => {
    for (const order of [
      ['a:9', 'b:1'],
      ['b:1', 'a:9'],
    ] as const) {
      const world = new World();
      for (const op_id of order) await world.call('tween.storage.set', { key: 'k', value: op_id, op_id, client_timestamp: world.seconds });
      expect(await world.value('k')).toBe('b:1');
    }
  });
});

describe('operation ids', () => {
  it('[STO14] a repeat writes nothing and answers the present state, also after a restart', async () => {
    const world = new World();
    const input = { key: 'k', value: '1', op_id: 'd:1' };
    const first = await world.call('tween.storage.set', input);
    expect(await world.call('tween.storage.set', input)).toEqual(first);
    await world.call('tween.storage.set', { key: 'k', value: '2' });
    world.restart();
    expect(await world.call('tween.storage.set', input)).toMatchObject({ success: true, version: 2 });
    expect(await world.value('k')).toBe('2');
    expect(await world.call('tween.storage.remove', { key: 'k', op_id: 'd:2' })).toMatchObject({ removed: true, version: 3 });
    expect(await world.call('tween.storage.remove', { key: 'k', op_id: 'd:2' })).toMatchObject({ removed: true, version: 3 });
    expect(world.journal.committed).toHaveLength(3);
  });

  it('[STO16] a refused operation was not taken and may come again', async () => {
    const world = new World();
    const input = { key: 'k', value: `${mebibyte}x`, op_id: 'd:1' };
    expect(await world.refusal('tween.storage.set', input)).toMatchObject({ code: 'STORAGE_QUOTA_EXCEEDED' });
    expect(await world.call('tween.storage.set', { ...input, value: 'small' })).toMatchObject({ version: 1 });
  });

  it('[STO17] a device part of 128 characters is taken, a longer one refused', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: '1', op_id: `${'d'.repeat(128)}:1` });
    expect(await world.refusal('tween.storage.set', { key: 'k', value: '1', op_id: `${'d'.repeat(129)}:1` })).toMatchObject({
      code: 'INVALID_REQUEST',
    });
  });
});

describe('batchSet', () => {
  it('[STO27] each item is answered for itself, all in one commit, a key twice in order', async () => {
    const world = new World();
    await world.call('tween.storage.set', { key: 'k', value: 'stored' });
    const { results } = await world.call('tween.storage.batchSet', {
      items: [
        { key: 'a', value: '1' },
        { key: 'big', value: `${mebibyte}x` },
        { key: 'a', value: '2', ttl: 60, metadata: { content_type: 'x/y' } },
        { key: 'k', value: 'older', client_timestamp: 5 },
      ],
    });
    expect(results.map((one) => [one.key, one.success, one.version, one.error?.code])).toEqual([
      ['a', true, 2, undefined],
      ['big', false, undefined, 'STORAGE_QUOTA_EXCEEDED'],
      ['a', true, 3, undefined],
      ['k', true, 1, undefined],
    ]);
    expect(results[1]?.error?.details).toMatchObject({ limit: 'value' });
    expect(results[3]).toMatchObject({ conflict_detected: true, server_value: 'stored' });
    expect(world.journal.committed).toHaveLength(2);
    expect(await world.map()).toEqual({ a: '2', k: 'stored' });
    world.restart();
    expect(await world.map()).toEqual({ a: '2', k: 'stored' });
  });

  it('[STO27] items of one batch share the quota in order', async () => {
    const world = new World();
    for (let n = 0; n < 9; n++) await world.call('tween.storage.set', { key: `k${n}`, value: mebibyte });
    const { results } = await world.call('tween.storage.batchSet', {
      items: [
        { key: 'a', value: mebibyte.slice(10) },
        { key: 'b', value: 'x'.repeat(11) },
        { key: 'c', value: 'x'.repeat(10) },
      ],
    });
    expect(results.map((one) => one.success)).toEqual([true, false, true]);
  });
});

describe('restart', () => {
  it('[STO2] what was committed is there, what was not is gone, and the gate of another user is another', async () => {
    const world = new World({ autoFlush: false });
    const kept = world.ask('tween.storage.set', { key: 'kept', value: '1' });
    await quiet();
    world.journal.flush();
    await kept.done;
    world.ask('tween.storage.set', { key: 'lost', value: '1', durability: 'accepted' });
    world.ask('tween.storage.set', { key: 'kept', value: '2' });
    world.restart();
    expect(await world.map()).toEqual({ kept: '1' });
    expect(await world.map(principal('@bob:tween.example', 'ma_demo_shop'))).toEqual({});
    expect(world.passivate()).toBe(2);
    expect(await world.map()).toEqual({ kept: '1' });
  });
});
