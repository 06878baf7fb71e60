/** Writes that work offline: kept before they are promised, pushed until answered, in order, and read as written. */
import { describe, expect, it, vi } from 'vitest';
import { MemoryQueue, type QueuedOp, QueueFullError } from '../../../src/client/mod.ts';
import { limits } from '../../../src/protocol/limits.ts';
import { type LivePeer, type Received, turn } from './live-peer.ts';
import { newWorld, openWorld, outcomeOf, pass, useFakeTime } from './world.ts';

useFakeTime();

const pushes = (peer: LivePeer): QueuedOp[][] => peer.of('tween.sync.push').map(({ params }) => params['ops'] as QueuedOp[]);
const values = (peer: LivePeer): Record<string, unknown> => Object.fromEntries([...peer.values].map(([key, { value }]) => [key, value]));

describe('a write', () => {
  it('made offline is pushed when there is a session, once, and then leaves the queue', async () => {
    const queue = new MemoryQueue();
    const { peer, client } = newWorld({ queue });
    const op = await client.storage.set('a', '1', { ttl: 60, baseVersion: 3 });
    await client.storage.remove('b');
    expect(client.storage.waiting).toBe(2);
    await client.connect();
    await client.storage.flushed();
    expect(pushes(peer)).toEqual([[op, expect.objectContaining({ key: 'b', kind: 'remove' })]]);
    expect(op).toEqual({
      op_id: expect.stringMatching(/^device:[0-9]{1,15}$/),
      key: 'a',
      kind: 'set',
      value: '1',
      ttl: 60,
      base_version: 3,
      client_timestamp: Date.UTC(2026, 0, 1) / 1_000,
    });
    expect(client.storage.waiting).toBe(0);
    expect(await queue.load()).toEqual([]);
  });

  it('is pushed again with the same id when the connection was lost before the answer', async () => {
    const { peer, client } = await openWorld();
    const outcomes: unknown[] = [];
    client.storage.onOutcome(({ status }) => outcomes.push(status));
    peer.handlers.set('tween.sync.push', ({ params, socket }) => {
      for (const op of params['ops'] as QueuedOp[]) peer.apply(op);
      peer.handlers.delete('tween.sync.push');
      peer.handlers.set('tween.sync.push', ({ params: again }) => ({ results: (again['ops'] as QueuedOp[]).map((op) => peer.apply(op)) }));
      socket.cut(1006);
    });
    await client.storage.set('a', '1');
    await turn();
    expect(client.storage.waiting).toBe(1);
    await pass(5_000);
    const [first, second] = pushes(peer);
    expect(second).toEqual(first);
    expect(outcomes).toEqual(['duplicate']);
    expect(client.storage.waiting).toBe(0);
  });

  it('of the same turn goes into the same push', async () => {
    const { peer, client } = await openWorld();
    await Promise.all(Array.from({ length: 20 }, (_, n) => client.storage.set(`k${n}`, 'v')));
    await client.storage.flushed();
    expect(pushes(peer).map((ops) => ops.length)).toEqual([20]);
  });

  it('made while a push is under way goes into the next', async () => {
    const { peer, client } = await openWorld();
    const held: Received[] = [];
    const push = peer.handlers.get('tween.sync.push')!;
    peer.handlers.set('tween.sync.push', (request) => void held.push(request));
    await client.storage.set('a', '1');
    await turn();
    for (const value of ['2', '3']) await client.storage.set('a', value);
    expect(await client.storage.get('a')).toBe('3');
    peer.handlers.set('tween.sync.push', push);
    held[0]?.answer(push(held[0]));
    await client.storage.flushed();
    expect(pushes(peer).map((ops) => ops.map(({ value }) => value))).toEqual([['1'], ['2', '3']]);
    expect(values(peer)).toEqual({ a: '3' });
  });

  it('from an earlier run is loaded before anything new, also when something new came before connect', async () => {
    const queue = new MemoryQueue();
    await queue.append({ op_id: `device:${await queue.nextCounter()}`, key: 'a', kind: 'set', value: 'old', client_timestamp: 1 });
    const { peer, client } = newWorld({ queue });
    await client.storage.set('a', 'new');
    expect(await client.storage.get('a')).toBe('new');
    await client.connect();
    await client.storage.flushed();
    expect(pushes(peer)[0]?.map(({ value }) => value)).toEqual(['old', 'new']);
    expect(values(peer)).toEqual({ a: 'new' });
  });

  it('that the store does not take rejects, and nothing of it is left', async () => {
    class FullQueue extends MemoryQueue {
      full = true;
      override async append(op: QueuedOp): Promise<void> {
        if (this.full) throw new Error('no space left');
        await super.append(op);
      }
    }
    const queue = new FullQueue();
    const { peer, client } = await openWorld({ queue });
    await expect(client.storage.set('a', '1')).rejects.toThrow('no space left');
    expect(client.storage.waiting).toBe(0);
    expect(await client.storage.get('a')).toBeUndefined();
    await client.storage.flushed();
    expect(pushes(peer)).toEqual([]);
    queue.full = false;
    await client.storage.set('a', '2');
    await client.storage.flushed();
    expect(values(peer)).toEqual({ a: '2' });
  });

  it('is refused when the queue cannot be loaded, and so is connect; the next try may go well', async () => {
    class LockedQueue extends MemoryQueue {
      locked = true;
      override async load(): Promise<QueuedOp[]> {
        if (this.locked) throw new Error('locked');
        return super.load();
      }
    }
    const queue = new LockedQueue();
    const { client } = newWorld({ queue });
    await expect(client.storage.set('a', '1')).rejects.toThrow('locked');
    await expect(client.connect()).rejects.toThrow('locked');
    queue.locked = false;
    await client.connect();
    await client.storage.set('a', '1');
    await client.storage.flushed();
  });

  it('that was answered leaves memory even when the store does not let it go, and that is reported', async () => {
    const queue = new (class extends MemoryQueue {
      override async remove(): Promise<void> {
        throw new Error('read-only now');
      }
    })();
    const { peer, client, errors } = await openWorld({ queue });
    await client.storage.set('a', '1');
    await client.storage.flushed();
    await pass(60_000);
    expect(pushes(peer)).toHaveLength(1);
    expect(errors.map(String)).toEqual(['Error: read-only now']);
  });

  it('later than another of the same key always has the later time and number, also when the clock is set back', async () => {
    const { peer, client } = newWorld();
    const first = await client.storage.set('a', '1');
    vi.setSystemTime(Date.UTC(2020, 0, 1));
    const second = await client.storage.set('a', '2');
    expect(second.client_timestamp).toBeGreaterThanOrEqual(first.client_timestamp);
    await client.connect();
    await client.storage.flushed();
    expect(values(peer)).toEqual({ a: '2' });
  });

  it('made at the same time as others keeps the order of the calls, whatever the store takes longer for', async () => {
    const finish: (() => void)[] = [];
    const queue = new (class extends MemoryQueue {
      override append(op: QueuedOp): Promise<void> {
        return new Promise((resolve) => finish.push(() => void super.append(op).then(resolve)));
      }
    })();
    const { peer, client } = newWorld({ queue });
    const writes = ['1', '2', '3'].map((value) => client.storage.set('a', value));
    await turn();
    for (const done of finish.reverse()) {
      done();
      await turn();
    }
    await Promise.all(writes);
    expect(await client.storage.get('a')).toBe('3');
    await client.connect();
    await client.storage.flushed();
    expect(pushes(peer)[0]?.map(({ value }) => value)).toEqual(['1', '2', '3']);
  });

  it.each([
    ['an empty key', '', 'v', 'INVALID_REQUEST'],
    ['a key of 257 bytes', 'k'.repeat(257), 'v', 'INVALID_REQUEST'],
    ['a key of 129 letters of two bytes', 'é'.repeat(129), 'v', 'INVALID_REQUEST'],
    ['a key with half a letter', '\ud800', 'v', 'INVALID_REQUEST'],
    ['a value with half a letter', 'k', 'a\udc00b', 'INVALID_REQUEST'],
    ['a value over 1 MiB', 'k', 'x'.repeat(limits.storageValueBytes + 1), 'STORAGE_QUOTA_EXCEEDED'],
  ])('with %s is refused at once', async (_, key, value, code) => {
    const { client } = newWorld();
    await expect(client.storage.set(key, value)).rejects.toMatchObject({ code });
    expect(client.storage.waiting).toBe(0);
  });

  it('of the largest key and value goes through', async () => {
    const { peer, client } = await openWorld();
    await client.storage.set('k'.repeat(256), 'x'.repeat(limits.storageValueBytes));
    await client.storage.set('é'.repeat(128), 'é'.repeat(limits.storageValueBytes / 2));
    await client.storage.flushed();
    expect(pushes(peer)).toHaveLength(2);
  });

  it('after close is refused', async () => {
    const { client } = await openWorld();
    await client.close();
    await expect(client.storage.set('a', '1')).rejects.toThrow('closed');
    await expect(client.storage.remove('a')).rejects.toThrow('closed');
  });

  it('is still taken when the server refused the client, for the next one of the queue', async () => {
    const queue = new MemoryQueue();
    const { peer, client } = await openWorld({ queue });
    peer.socket.cut(4403);
    await client.storage.set('a', '1');
    await expect(client.storage.flushed()).rejects.toThrow('4403');
    expect(await queue.load()).toHaveLength(1);
  });
});

describe('the queue’s bounds', () => {
  it.each([
    ['writes', { ops: 3, bytes: 1_000_000 }, 'v'],
    ['bytes', { ops: 1_000, bytes: 3 * (256 + 2 + 1_000) }, 'v'.repeat(1_000)],
  ])('of %s: at the bound a write is taken, over it it is refused, and room is made by a push', async (_, queueBounds, value) => {
    const { client } = newWorld({ queueBounds });
    await Promise.all(['k1', 'k2'].map((key) => client.storage.set(key, value)));
    await client.storage.set('k3', value);
    await expect(client.storage.set('k4', value)).rejects.toBeInstanceOf(QueueFullError);
    await expect(client.storage.set('k4', value)).rejects.toThrow('3 writes');
    expect(client.storage.waiting).toBe(3);
    await client.connect();
    await client.storage.flushed();
    await client.storage.set('k4', value);
  });

  it('count writes that are still being stored', async () => {
    const { client } = newWorld({ queueBounds: { ops: 2, bytes: 1_000_000 } });
    const writes = ['a', 'b', 'c'].map((key) => client.storage.set(key, 'v'));
    expect((await Promise.allSettled(writes)).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  });
});

describe('a push', () => {
  it.each([499, 500, 501])('holds at most 500 writes (%i)', async (count) => {
    const { peer, client } = newWorld();
    await Promise.all(Array.from({ length: count }, (_, n) => client.storage.set(`k${n}`, 'v')));
    await client.connect();
    await client.storage.flushed();
    expect(pushes(peer).map((ops) => ops.length)).toEqual(count <= 500 ? [count] : [500, count - 500]);
    expect(peer.values.size).toBe(count);
  });

  it('of 500 writes with every member there is has a frame the server decodes', async () => {
    const { peer, client } = newWorld();
    await Promise.all(Array.from({ length: 500 }, (_, n) => client.storage.set(`k${n}`, 'v', { ttl: 60, baseVersion: 1 })));
    await client.connect();
    await client.storage.flushed();
    expect(pushes(peer).map((ops) => ops.length)).toEqual([500]);
  });

  it('holds at most 1 MiB, in bytes and not in letters', async () => {
    const { peer, client } = newWorld();
    const half = limits.pushBytes / 2;
    for (const [key, value] of [
      ['a', 'x'.repeat(half)],
      ['b', 'x'.repeat(half - 1_000)],
      ['c', 'é'.repeat(half / 2)],
      ['d', 'é'.repeat(half / 2)],
    ] as const)
      await client.storage.set(key, value);
    await client.connect();
    await client.storage.flushed();
    expect(pushes(peer).map((ops) => ops.map(({ key }) => key))).toEqual([['a', 'b'], ['c'], ['d']]);
  });
});

describe('reading', () => {
  it('shows what was written last, also while offline, and a removal as nothing', async () => {
    const { client } = newWorld();
    await client.storage.set('a', '1');
    await client.storage.set('a', '2');
    expect(await client.storage.get('a')).toBe('2');
    await client.storage.remove('a');
    expect(await client.storage.get('a')).toBeUndefined();
  });

  it('asks the server for what was not written here, and a missing key is undefined', async () => {
    const { peer, client } = await openWorld();
    peer.values.set('a', { value: 'theirs', at: 1, counter: 1 });
    expect(await client.storage.get('a')).toBe('theirs');
    expect(await client.storage.get('b')).toBeUndefined();
  });

  it('never shows a value older than a write that came, or was pushed, while the server was asked', async () => {
    const { peer, client } = await openWorld();
    const held: Received[] = [];
    const get = peer.handlers.get('tween.storage.get')!;
    peer.handlers.set('tween.storage.get', (request) => void held.push(request));
    peer.values.set('a', { value: 'old', at: 1, counter: 1 });
    const during = client.storage.get('a');
    await turn();
    const oldAnswer = get(held[0]!);
    await client.storage.set('a', 'new');
    await client.storage.flushed();
    peer.handlers.set('tween.storage.get', get);
    held[0]?.answer(oldAnswer);
    expect(await during).toBe('new');
  });

  it('fails as the call does', async () => {
    const { client } = newWorld();
    const reading = client.storage.get('a');
    reading.catch(() => {});
    await pass(30_000);
    await expect(reading).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });
});

describe('flushed', () => {
  it('waits for what was written before it, and for nothing later', async () => {
    const { peer, client } = await openWorld();
    const held: Received[] = [];
    const push = peer.handlers.get('tween.sync.push')!;
    peer.handlers.set('tween.sync.push', (request) => void held.push(request));
    void client.storage.set('a', '1');
    const flushed = client.storage.flushed();
    await turn();
    await client.storage.set('b', '2');
    expect(await outcomeOf(flushed)).toBe('pending');
    held[0]?.answer(push(held[0]));
    await turn();
    await flushed;
    expect(client.storage.waiting).toBe(1);
    expect(held).toHaveLength(2);
    const later = client.storage.flushed();
    expect(await outcomeOf(later)).toBe('pending');
    held[1]?.answer(push(held[1]));
    await later;
  });

  it('resolves at once when nothing waits, and waits for a connection otherwise', async () => {
    const { client } = newWorld();
    await client.storage.flushed();
    await client.storage.set('a', '1');
    const flushed = client.storage.flushed();
    expect(await outcomeOf(flushed)).toBe('pending');
    await client.connect();
    await flushed;
  });

  it('rejects when the client is closed before', async () => {
    const { client } = newWorld();
    await client.storage.set('a', '1');
    const flushed = client.storage.flushed();
    flushed.catch(() => {});
    await turn();
    await client.close();
    await expect(flushed).rejects.toThrow('closed');
    await expect(client.storage.flushed()).rejects.toThrow('closed');
  });
});
