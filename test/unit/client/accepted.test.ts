/** `writes: 'accepted'`: answered before the commit, kept until the session's watermark says that it is committed. */
import { describe, expect, it } from 'vitest';
import { MemoryQueue } from '../../../src/client/mod.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { type LivePeer, type Received, turn } from './live-peer.ts';
import { openWorld, pass, useFakeTime, type World } from './world.ts';

useFakeTime();

const durable = (peer: LivePeer, write: number, epoch = 'epoch-1'): number =>
  peer.event('tween.session.durable', { write, db_epoch: epoch });
const statuses = (world: World): string[] => {
  const seen: string[] = [];
  world.client.storage.onOutcome(({ status }, { key }) => seen.push(`${key} ${status}`));
  return seen;
};
const accepted = (options = {}): Promise<World> => openWorld({ writes: 'accepted', ...options });

describe('an accepted write', () => {
  it('is sent by itself with its id, and leaves the queue when the watermark covers it', async () => {
    const queue = new MemoryQueue();
    const world = await accepted({ queue });
    const seen = statuses(world);
    const op = await world.client.storage.set('a', '1', { ttl: 60 });
    await turn();
    expect(world.peer.of('tween.storage.set')[0]?.params).toEqual({
      key: 'a',
      value: '1',
      ttl: 60,
      op_id: op.op_id,
      client_timestamp: op.client_timestamp,
      durability: 'accepted',
    });
    expect(world.peer.of('tween.sync.push')).toEqual([]);
    expect(world.client.storage.waiting).toBe(1);
    expect(await queue.load()).toHaveLength(1);
    const flushed = world.client.storage.flushed();
    durable(world.peer, 1);
    await flushed;
    expect(seen).toEqual(['a applied']);
    expect(await queue.load()).toEqual([]);
  });

  it('stays while the watermark is below it', async () => {
    const world = await accepted();
    const seen = statuses(world);
    await world.client.storage.set('a', '1');
    await world.client.storage.set('b', '2');
    await world.client.storage.remove('c');
    await turn();
    durable(world.peer, 2);
    await turn();
    expect(seen).toEqual(['a applied', 'b applied']);
    expect(world.client.storage.waiting).toBe(1);
    durable(world.peer, 3);
    await turn();
    expect(world.client.storage.waiting).toBe(0);
    expect(world.peer.of('tween.storage.remove')[0]?.params['durability']).toBe('accepted');
  });

  it('is covered by a watermark that came before its answer', async () => {
    const world = await accepted();
    const held: Received[] = [];
    world.peer.handlers.set('tween.storage.set', (request) => void held.push(request));
    await world.client.storage.set('a', '1');
    await turn();
    durable(world.peer, 1);
    await turn();
    expect(world.client.storage.waiting).toBe(1);
    held[0]?.answer({ key: 'a', success: true, durable: false, write: 1 });
    await turn();
    expect(world.client.storage.waiting).toBe(0);
  });

  it('answered as durable is done', async () => {
    const world = await accepted();
    world.peer.handlers.set('tween.storage.set', () => ({ key: 'a', success: true, version: 2 }));
    await world.client.storage.set('a', '1');
    await turn();
    expect(world.client.storage.waiting).toBe(0);
  });

  it('is pushed after a resume, with the same id, and a watermark from before counts for nothing', async () => {
    const world = await accepted();
    const seen = statuses(world);
    const op = await world.client.storage.set('a', '1');
    await turn();
    world.peer.handlers.set('tween.sync.push', () => undefined);
    world.client.disconnect();
    durable(world.peer, 1);
    await pass(5_000);
    expect(world.client.session?.resumed).toBe(true);
    expect(world.peer.of('tween.sync.push')[0]?.params['ops']).toEqual([op]);
    expect(world.client.storage.waiting).toBe(1);
    expect(seen).toEqual([]);
  });

  it('made after a resume is not covered by a replayed watermark of the earlier connection', async () => {
    const world = await accepted();
    world.client.disconnect();
    durable(world.peer, 5);
    await pass(5_000);
    await world.client.storage.set('a', '1');
    await turn();
    expect(world.peer.of('tween.storage.set')).toHaveLength(1);
    expect(world.client.storage.waiting).toBe(1);
    durable(world.peer, 1);
    await turn();
    expect(world.client.storage.waiting).toBe(0);
  });

  it('is pushed when the watermark is of another database, and no more is accepted until the next session', async () => {
    const world = await accepted();
    const op = await world.client.storage.set('a', '1');
    await turn();
    durable(world.peer, 1, 'epoch-2');
    await turn();
    expect(world.peer.of('tween.sync.push')[0]?.params['ops']).toEqual([op]);
    await world.client.storage.set('b', '2');
    await turn();
    expect(world.peer.of('tween.storage.set')).toHaveLength(1);
    world.peer.dbEpoch = 'epoch-2';
    world.client.disconnect();
    await pass(5_000);
    await world.client.storage.set('c', '3');
    await turn();
    expect(world.peer.of('tween.storage.set')).toHaveLength(2);
  });

  it('that no watermark covers within five seconds is pushed', async () => {
    const world = await accepted();
    const seen = statuses(world);
    await world.client.storage.set('a', '1');
    await pass(4_999);
    expect(world.peer.of('tween.sync.push')).toEqual([]);
    await pass(1);
    expect(seen).toEqual(['a duplicate']);
    expect(world.client.storage.waiting).toBe(0);
  });

  it.each([
    ['RATE_LIMIT_EXCEEDED', 9, 9_000],
    ['SERVICE_UNAVAILABLE', undefined, 1_000],
    ['INVALID_REQUEST', undefined, 1_000],
  ] as const)('refused with %s is pushed, and for a while everything is', async (code, retryAfter, pauseMs) => {
    const world = await accepted();
    const set = world.peer.handlers.get('tween.storage.set')!;
    world.peer.handlers.set('tween.storage.set', () => {
      throw new TmcpError(code, undefined, retryAfter === undefined ? {} : { retryAfter });
    });
    const seen = statuses(world);
    await world.client.storage.set('a', '1');
    await turn();
    world.peer.handlers.set('tween.storage.set', set);
    expect(seen).toEqual(['a applied']);
    await pass(pauseMs - 1);
    await world.client.storage.set('b', '1');
    await turn();
    expect(world.peer.of('tween.storage.set')).toHaveLength(1);
    await pass(1);
    await world.client.storage.set('c', '1');
    await turn();
    expect(world.peer.of('tween.storage.set')).toHaveLength(2);
  });

  it('is not used for a write with a base version, for a backlog, or while others wait for a push', async () => {
    const world = await accepted();
    world.client.goOffline();
    for (const key of ['a', 'b']) await world.client.storage.set(key, '1');
    world.peer.handlers.set('tween.sync.push', () => undefined);
    await world.client.connect();
    await turn();
    await world.client.storage.set('c', '1');
    await turn();
    expect(world.peer.of('tween.storage.set')).toEqual([]);
    const other = await accepted();
    await other.client.storage.set('a', '1', { baseVersion: 3 });
    await turn();
    expect(other.peer.of('tween.storage.set')).toEqual([]);
    expect(other.peer.of('tween.sync.push')).toHaveLength(1);
  });

  it.each([31, 32, 33])('at most 32 at once (%i); the rest are pushed', async (count) => {
    const world = await accepted();
    world.peer.handlers.set('tween.sync.push', () => undefined);
    for (let n = 0; n < count; n++) await world.client.storage.set(`k${n}`, 'v');
    await turn();
    expect(world.peer.of('tween.storage.set')).toHaveLength(Math.min(count, 32));
    expect(world.peer.of('tween.sync.push')).toHaveLength(count > 32 ? 1 : 0);
  });

  it('that lost is a conflict, with what the server holds', async () => {
    const world = await accepted();
    world.peer.values.set('a', { value: 'newer', at: 9e9, counter: 1 });
    const outcomes: unknown[] = [];
    world.client.storage.onOutcome((outcome) => outcomes.push(outcome));
    await world.client.storage.set('a', 'mine');
    await turn();
    durable(world.peer, 1);
    await turn();
    expect(outcomes).toEqual([expect.objectContaining({ status: 'conflict', resolution: 'server_wins' })]);
  });

  it('late in its answer, after it was given back, changes nothing', async () => {
    const world = await accepted();
    const held: Received[] = [];
    world.peer.handlers.set('tween.storage.set', (request) => void held.push(request));
    const seen = statuses(world);
    await world.client.storage.set('a', '1');
    await pass(5_000);
    expect(seen).toEqual(['a applied']);
    held[0]?.answer({ key: 'a', success: true, durable: false, write: 1 });
    durable(world.peer, 1);
    await turn();
    expect(seen).toEqual(['a applied']);
    expect(world.client.state).toBe('open');
  });

  it('under way when the client is closed stays in the store', async () => {
    const queue = new MemoryQueue();
    const world = await accepted({ queue });
    await world.client.storage.set('a', '1');
    await turn();
    await world.client.close();
    expect(await queue.load()).toHaveLength(1);
  });
});

describe('without the option', () => {
  it('every write is pushed', async () => {
    const world = await openWorld();
    await world.client.storage.set('a', '1');
    await world.client.storage.flushed();
    expect(world.peer.of('tween.storage.set')).toEqual([]);
    expect(world.peer.of('tween.sync.push')).toHaveLength(1);
  });
});
