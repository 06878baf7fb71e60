/** What becomes of pushes that do not go well: none loses a write, none stalls the queue, none spins. */
import { describe, expect, it } from 'vitest';
import { MemoryQueue, type QueuedOp } from '../../../src/client/mod.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { LivePeer, turn } from './live-peer.ts';
import { newWorld, openWorld, pass, useFakeTime, type World } from './world.ts';

useFakeTime();

const opsOf = (params: Readonly<Record<string, unknown>>): QueuedOp[] => params['ops'] as QueuedOp[];
const pushSizes = (peer: LivePeer): number[] => peer.of('tween.sync.push').map(({ params }) => opsOf(params).length);

/** A world that tells what became of each write, as `key status code`. */
async function worldWith(handler: (ops: QueuedOp[], peer: LivePeer) => unknown): Promise<World & { readonly outcomes: string[] }> {
  const world = await openWorld();
  const outcomes: string[] = [];
  world.client.storage.onOutcome(({ status, error }, { key }) =>
    outcomes.push([key, status, error?.code].filter((part) => part !== undefined).join(' ')),
  );
  world.peer.handlers.set('tween.sync.push', ({ params }) => handler(opsOf(params), world.peer));
  return { ...world, outcomes };
}

const applyAll = (ops: QueuedOp[], peer: LivePeer): unknown => ({ results: ops.map((op) => peer.apply(op)) });
const write = (world: World, keys: readonly string[]): Promise<unknown> =>
  Promise.all(keys.map((key) => world.client.storage.set(key, 'v')));
const numbered = (count: number): string[] => Array.from({ length: count }, (_, n) => `k${n}`);

describe('a push refused for a while', () => {
  it.each(['RATE_LIMIT_EXCEEDED', 'SERVICE_UNAVAILABLE'] as const)('with %s waits as long as it says, then goes on', async (code) => {
    let refuse = true;
    const world = await worldWith((ops, peer) => {
      if (refuse) throw new TmcpError(code, undefined, { retryAfter: 6 });
      return applyAll(ops, peer);
    });
    await write(world, ['a']);
    await turn();
    refuse = false;
    await write(world, ['b']);
    await pass(5_999);
    expect(pushSizes(world.peer)).toEqual([1]);
    await pass(1);
    expect(pushSizes(world.peer)).toEqual([1, 2]);
    expect(world.outcomes).toEqual(['a applied', 'b applied']);
  });

  it('is not hurried by a new connection when the server named the time', async () => {
    const world = await worldWith(() => {
      throw new TmcpError('RATE_LIMIT_EXCEEDED', undefined, { retryAfter: 60 });
    });
    await write(world, ['a']);
    await turn();
    world.client.disconnect();
    await pass(10_000);
    expect(world.client.state).toBe('open');
    expect(pushSizes(world.peer)).toEqual([1]);
    await pass(50_000);
    expect(pushSizes(world.peer)).toEqual([1, 1]);
  });

  it('without a time is tried again slower and slower, and at once on a new connection', async () => {
    const world = await worldWith(() => {
      throw new TmcpError('INTERNAL_ERROR');
    });
    await write(world, ['a']);
    await pass(500 + 1_000 + 2_000 + 4_000);
    expect(pushSizes(world.peer)).toHaveLength(5);
    await pass(60_000);
    expect(pushSizes(world.peer).length).toBeLessThan(10);
    const before = pushSizes(world.peer).length;
    world.client.goOffline();
    await world.client.connect();
    await turn();
    expect(pushSizes(world.peer)).toHaveLength(before + 1);
  });

  it('because a scope is missing drops nothing, is reported, and is tried again twice a minute', async () => {
    const world = await worldWith(() => {
      throw new TmcpError('INSUFFICIENT_PERMISSIONS');
    });
    await write(world, ['a']);
    await pass(60_000);
    expect(pushSizes(world.peer)).toHaveLength(3);
    expect(world.errors).toMatchObject(Array(3).fill({ code: 'INSUFFICIENT_PERMISSIONS' }));
    expect(world.client.storage.waiting).toBe(1);
  });

  it('that is never answered is pushed again after its deadline', async () => {
    let answer = false;
    const world = await worldWith((ops, peer) => (answer ? applyAll(ops, peer) : undefined));
    await write(world, ['a']);
    await pass(30_000);
    answer = true;
    await pass(500);
    expect(world.outcomes).toEqual(['a applied']);
  });
});

describe('one bad write among many', () => {
  const refuseIfBad =
    (bad: readonly string[], code: 'INVALID_REQUEST' | 'PAYLOAD_TOO_LARGE' = 'INVALID_REQUEST') =>
    (ops: QueuedOp[], peer: LivePeer) => {
      if (ops.some(({ key }) => bad.includes(key))) throw new TmcpError(code, 'one of them is bad');
      return applyAll(ops, peer);
    };

  it.each([
    [1, 0],
    [2, 1],
    [7, 3],
    [500, 499],
    [1_200, 700],
  ])('of %i (number %i) is found and rejected, and all others go through', async (count, bad) => {
    const world = await worldWith(refuseIfBad([`k${bad}`]));
    await write(world, numbered(count));
    await world.client.storage.flushed();
    expect(world.peer.applied.size).toBe(count - 1);
    expect(world.outcomes.filter((outcome) => !outcome.endsWith('applied'))).toEqual([`k${bad} rejected INVALID_REQUEST`]);
    expect(world.client.storage.waiting).toBe(0);
    expect(pushSizes(world.peer).length).toBeLessThan(25);
  });

  it('or several, also one that is too large, are each rejected', async () => {
    const world = await worldWith(refuseIfBad(['k0', 'k1', 'k50', 'k99'], 'PAYLOAD_TOO_LARGE'));
    await write(world, numbered(100));
    await world.client.storage.flushed();
    expect(world.outcomes.filter((outcome) => outcome.includes('rejected'))).toEqual(
      ['k0', 'k1', 'k50', 'k99'].map((key) => `${key} rejected PAYLOAD_TOO_LARGE`),
    );
    expect(world.peer.applied.size).toBe(96);
  });

  it('found, pushes are whole again', async () => {
    const world = await worldWith(refuseIfBad(['k0']));
    await write(world, numbered(8));
    await world.client.storage.flushed();
    expect(pushSizes(world.peer)).toEqual([8, 4, 2, 1, 7]);
  });

  it('is looked for only when the refusal may be about the writes', async () => {
    const world = await worldWith(() => {
      throw new TmcpError('INVALID_REQUEST', 'device is missing', { details: { issues: [{ path: '/device', message: 'is missing' }] } });
    });
    await write(world, ['a']);
    await pass(29_000);
    expect(world.client.storage.waiting).toBe(1);
    expect(world.outcomes).toEqual([]);
    expect(world.errors).toHaveLength(1);
    world.peer.handlers.set('tween.sync.push', ({ params }) => applyAll(opsOf(params), world.peer));
    await pass(1_000);
    expect(world.outcomes).toEqual(['a applied']);
  });

  it('named by the server is rejected by its name', async () => {
    const world = await worldWith((ops, peer) => {
      const index = ops.findIndex(({ key }) => key === 'b');
      if (index >= 0)
        throw new TmcpError('INVALID_REQUEST', 'bad', { details: { issues: [{ path: `/ops/${index}/key`, message: 'is bad' }] } });
      return applyAll(ops, peer);
    });
    await write(world, ['a', 'b', 'c']);
    await world.client.storage.flushed();
    expect(world.outcomes).toEqual(['a applied', 'b rejected INVALID_REQUEST', 'c applied']);
  });
});

describe('an answer', () => {
  it('that rejects one write for good takes it out, and one for now keeps it', async () => {
    let full = true;
    const world = await worldWith((ops, peer) => ({
      results: ops.map((op) => {
        if (op.key === 'large') return { op_id: op.op_id, status: 'rejected', error: { code: 'STORAGE_QUOTA_EXCEEDED', message: 'full' } };
        if (op.key === 'soon' && full)
          return { op_id: op.op_id, status: 'rejected', error: { code: 'SERVICE_UNAVAILABLE', message: 'busy' } };
        return peer.apply(op);
      }),
    }));
    await write(world, ['soon', 'large', 'good']);
    await turn();
    expect(world.outcomes).toEqual(['large rejected STORAGE_QUOTA_EXCEEDED', 'good applied']);
    full = false;
    await pass(500);
    expect(world.outcomes.at(-1)).toBe('soon applied');
    expect(world.client.storage.waiting).toBe(0);
  });

  it('that leaves writes out does not make the client spin', async () => {
    const world = await worldWith(() => ({ results: [] }));
    await write(world, ['a']);
    await pass(60_000);
    expect(pushSizes(world.peer).length).toBeLessThan(10);
    expect(world.client.storage.waiting).toBe(1);
    expect(world.errors.length).toBeGreaterThan(0);
  });

  it('about writes that are not in the push is left alone', async () => {
    const world = await worldWith((ops, peer) => ({
      results: [{ op_id: 'other:1', status: 'applied' }, ...ops.map((op) => peer.apply(op))],
    }));
    await write(world, ['a']);
    await world.client.storage.flushed();
    expect(world.outcomes).toEqual(['a applied']);
  });

  it('of a conflict is handed on with what the server holds', async () => {
    const { peer, client } = await openWorld();
    const outcomes: unknown[] = [];
    client.storage.onOutcome((outcome, op) => outcomes.push([outcome, op.value]));
    peer.handlers.set('tween.sync.push', ({ params }) => ({
      results: opsOf(params).map(({ op_id }) => ({
        op_id,
        status: 'conflict',
        version: 7,
        resolution: 'server_wins',
        server_value: 'theirs',
      })),
    }));
    await client.storage.set('a', 'mine');
    await client.storage.flushed();
    expect(outcomes).toEqual([[expect.objectContaining({ status: 'conflict', server_value: 'theirs' }), 'mine']]);
  });

  it('`duplicate` to a write that was never sent is a rejection: the number was somebody else’s', async () => {
    const peer = new LivePeer();
    for (let n = 0; n < 10; n++) peer.applied.add(`device:${n}`);
    const { client, errors } = await openWorld({ queue: new MemoryQueue(5) }, peer);
    const outcomes: unknown[] = [];
    client.storage.onOutcome((outcome) => outcomes.push(outcome));
    await client.storage.set('a', '1');
    await client.storage.flushed();
    expect(outcomes).toMatchObject([{ status: 'rejected', error: { code: 'CONFLICT' } }]);
    expect(errors).toEqual([]);
  });

  it('of a rejection that nobody listens for is reported, not lost', async () => {
    const { peer, client, errors } = await openWorld();
    peer.handlers.set('tween.sync.push', ({ params }) => ({
      results: opsOf(params).map(({ op_id }) => ({
        op_id,
        status: 'rejected',
        error: { code: 'STORAGE_QUOTA_EXCEEDED', message: 'full' },
      })),
    }));
    await client.storage.set('a', '1');
    await client.storage.flushed();
    expect(String(errors[0])).toContain('STORAGE_QUOTA_EXCEEDED');
  });

  it('listener that throws is reported, and the next push goes out', async () => {
    const { client, errors } = await openWorld();
    client.storage.onOutcome(() => {
      throw new Error('in the listener');
    });
    await client.storage.set('a', '1');
    await client.storage.set('b', '1');
    await client.storage.flushed();
    expect(errors.map(String)).toContain('Error: in the listener');
    expect(client.storage.waiting).toBe(0);
  });
});

describe('closing', () => {
  it('while a push is under way ends it and keeps its writes in the store', async () => {
    const queue = new MemoryQueue();
    const { peer, client } = newWorld({ queue });
    peer.handlers.set('tween.sync.push', () => undefined);
    await client.connect();
    await client.storage.set('a', '1');
    await turn();
    await client.close();
    expect(await queue.load()).toHaveLength(1);
    await pass(60_000);
    expect(pushSizes(peer)).toHaveLength(1);
  });
});

describe('any mixture of losses, refusals and bad writes', () => {
  const seeds = Array.from({ length: 20 }, (_, n) => n + 1);
  it.each(seeds)('applies each good write once, the newest last, and leaves the queue empty (seed %i)', async (seed) => {
    let state = seed;
    const chance = (): number => {
      state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
      return state / 0x80000000;
    };
    let calm = false;
    const applications = new Map<string, number>();
    const world = await worldWith((ops, peer) => {
      const luck = calm ? 1 : chance();
      if (luck < 0.15) throw new TmcpError('RATE_LIMIT_EXCEEDED', undefined, { retryAfter: 1 });
      if (luck < 0.2) throw new TmcpError('INTERNAL_ERROR');
      if (ops.some(({ key }) => key === 'bad')) throw new TmcpError('INVALID_REQUEST', 'bad');
      const results = ops.map((op) => {
        const result = peer.apply(op);
        if (result.status === 'applied') applications.set(op.op_id, (applications.get(op.op_id) ?? 0) + 1);
        return result;
      });
      if (luck < 0.4) world.client.disconnect();
      return { results };
    });
    const newest = new Map<string, string>();
    for (let n = 0; n < 60; n++) {
      const key = chance() < 0.05 ? 'bad' : `k${Math.floor(chance() * 7)}`;
      await world.client.storage.set(key, `${n}`);
      if (key !== 'bad') newest.set(key, `${n}`);
      if (chance() < 0.1) world.client.disconnect();
      if (chance() < 0.5) await pass(Math.floor(chance() * 2_000));
    }
    calm = true;
    await pass(120_000);
    expect(world.client.storage.waiting).toBe(0);
    expect(Object.fromEntries([...world.peer.values].map(([key, { value }]) => [key, value]))).toEqual(Object.fromEntries(newest));
    expect([...applications.values()].every((count) => count === 1)).toBe(true);
  });
});
