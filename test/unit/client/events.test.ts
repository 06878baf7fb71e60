/** Events: each once, in order, acknowledged in groups; and what is wrong with one harms nothing else. */
import { describe, expect, it, vi } from 'vitest';
import { eventEnvelope } from '../../../src/protocol/envelope.ts';
import { turn } from './live-peer.ts';
import { openWorld, pass, useFakeTime } from './world.ts';

useFakeTime();

const updated = 'tween.payment.updated';

describe('events', () => {
  it('arrive in order, each once, also over a lost connection', async () => {
    const { peer, client, resyncs } = await openWorld();
    const seen: unknown[] = [];
    client.on<{ n: number }>(updated, ({ n }, seq) => seen.push([n, seq]));
    peer.event(updated, { n: 1 });
    await turn();
    client.disconnect();
    peer.event(updated, { n: 2 });
    peer.event(updated, { n: 3 });
    await pass(5_000);
    expect(seen).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(resyncs).toEqual([]);
  });

  it('that come again are dropped', async () => {
    const { peer, client } = await openWorld();
    const seen: number[] = [];
    client.on(updated, (_, seq) => seen.push(seq));
    peer.event(updated, {});
    peer.event(updated, {});
    peer.socket.deliver(eventEnvelope('msgpack', updated, {}, 1));
    peer.socket.deliver(eventEnvelope('msgpack', updated, {}, 2));
    await turn();
    expect(seen).toEqual([1, 2]);
  });

  it('after a gap are passed on, after one resync a gap', async () => {
    const { peer, client, resyncs } = await openWorld();
    const seen: (number | string)[] = [];
    client.on('resync', () => seen.push('resync'));
    client.on(updated, (_, seq) => seen.push(seq));
    for (const seq of [1, 4, 5, 3, 9]) peer.socket.deliver(eventEnvelope('msgpack', updated, {}, seq));
    await turn();
    expect(seen).toEqual([1, 'resync', 4, 5, 'resync', 9]);
    expect(resyncs).toEqual([{ reason: 'gap' }, { reason: 'gap' }]);
  });

  it('of a session that replaces another count from one again', async () => {
    const { peer, client, resyncs } = await openWorld();
    const seen: number[] = [];
    client.on(updated, (_, seq) => seen.push(seq));
    peer.event(updated, {});
    peer.event(updated, {});
    await turn();
    peer.forgetSessions();
    client.disconnect();
    await pass(5_000);
    peer.event(updated, {});
    await turn();
    expect(seen).toEqual([1, 2, 1]);
    expect(resyncs).toEqual([{ reason: 'session' }]);
  });

  it('of a resumed session whose count went back are heard, after a resync', async () => {
    const { peer, client, resyncs } = await openWorld();
    peer.event(updated, {});
    peer.event(updated, {});
    await turn();
    peer.handlers.set('tween.session.open', (request) => peer.open(request, '@alice:tween.example', { resumed: true, seq: 1 }));
    client.disconnect();
    await pass(5_000);
    expect(resyncs).toEqual([{ reason: 'session' }]);
    const seen: number[] = [];
    client.on(updated, (_, seq) => seen.push(seq));
    peer.socket.deliver(eventEnvelope('msgpack', updated, {}, 2));
    await turn();
    expect(seen).toEqual([2]);
  });

  it('of a newer server are passed on under their own name, and cannot pass for the client’s own', async () => {
    const { peer, client, states } = await openWorld();
    const seen: unknown[] = [];
    client.on('tween.future.thing', (params) => seen.push(params));
    peer.event('tween.future.thing', { shiny: true });
    peer.event('state', { shiny: false });
    await turn();
    expect(seen).toEqual([{ shiny: true }]);
    expect(states).toEqual(['connecting', 'opening', 'open']);
  });

  it('can be waited for, and a wait ends in time or with what its test throws', async () => {
    const { peer, client } = await openWorld();
    const second = client.next<{ n: number }>(updated, ({ n }) => n === 2);
    const never = client.next(updated, () => false, 1_000);
    const broken = client.next(updated, () => {
      throw new Error('broken test');
    });
    never.catch(() => {});
    broken.catch(() => {});
    peer.event(updated, { n: 1 });
    peer.event(updated, { n: 2 });
    expect(await second).toEqual({ n: 2 });
    await expect(broken).rejects.toThrow('broken test');
    await pass(1_000);
    await expect(never).rejects.toThrow('1000 ms');
  });
});

describe('listeners', () => {
  it('that throw, at once or later, are reported and keep nobody else from hearing', async () => {
    const { peer, client, errors } = await openWorld();
    const seen: string[] = [];
    client.on(updated, () => {
      throw new Error('at once');
    });
    client.on(updated, async () => {
      throw new Error('later');
    });
    client.on(updated, () => seen.push('heard'));
    client.on('state', () => {
      throw new Error('about the state');
    });
    peer.event(updated, {});
    await turn();
    client.disconnect();
    await pass(5_000);
    expect(seen).toEqual(['heard']);
    expect(client.state).toBe('open');
    expect(errors.map((error) => (error as Error).message)).toEqual(['at once', 'later', ...Array(4).fill('about the state')]);
  });

  it('hear nothing more once they are taken away, and one that is added twice hears twice', async () => {
    const { peer, client } = await openWorld();
    let heard = 0;
    const listener = (): void => void heard++;
    const stop = client.on(updated, listener);
    const stopOther = client.on(updated, listener);
    peer.event(updated, {});
    await turn();
    expect(heard).toBe(2);
    stop();
    stop();
    peer.event(updated, {});
    await turn();
    expect(heard).toBe(3);
    stopOther();
    peer.event(updated, {});
    await turn();
    expect(heard).toBe(3);
  });

  it('a failing onError harms nothing', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { peer, client } = await openWorld({
      onError: () => {
        throw new Error('onError itself');
      },
    });
    peer.socket.deliverRaw('not a frame');
    peer.event(updated, {});
    await turn();
    expect(client.state).toBe('open');
    expect(String(said.mock.calls)).toContain('onError itself');
    said.mockRestore();
  });
});

describe('acknowledgements', () => {
  const acks = (world: Awaited<ReturnType<typeof openWorld>>): unknown[] =>
    world.peer.of('tween.session.ack').map(({ params }) => params['seq']);

  it('go out once a tenth of a second for what came in it', async () => {
    const world = await openWorld();
    for (let n = 0; n < 10; n++) world.peer.event(updated, {});
    await pass(99);
    expect(acks(world)).toEqual([]);
    await pass(1);
    expect(acks(world)).toEqual([10]);
    await pass(10_000);
    expect(acks(world)).toEqual([10]);
  });

  it.each([
    [31, []],
    [32, [32]],
    [33, [32]],
    [64, [32, 64]],
  ])('of %i events at once go out at %j without waiting', async (count, expected) => {
    const world = await openWorld();
    for (let n = 0; n < count; n++) world.peer.event(updated, {});
    await turn();
    expect(acks(world)).toEqual(expected);
    await pass(100);
    expect(acks(world).at(-1)).toBe(count);
  });

  it('are requests without an id, and are not sent when nothing new came', async () => {
    const world = await openWorld();
    world.peer.event(updated, {});
    await pass(100);
    world.peer.socket.deliver(eventEnvelope('msgpack', updated, {}, 1));
    await pass(1_000);
    expect(acks(world)).toEqual([1]);
    expect(world.peer.of('tween.session.ack')[0]?.id).toBeUndefined();
  });

  it('are not sent on a connection that is gone', async () => {
    const world = await openWorld();
    world.peer.event(updated, {});
    await turn();
    world.client.goOffline();
    await pass(1_000);
    expect(acks(world)).toEqual([]);
    expect(world.errors).toEqual([]);
  });
});

describe('a message that cannot be read', () => {
  it.each([
    ['text', '{"id":1}'],
    ['no MessagePack', new Uint8Array([0xc1]).buffer],
    ['no map', new Uint8Array([0x01]).buffer],
    ['neither answer nor event', new Uint8Array([0x81, 0xa2, 0x69, 0x64, 0x01]).buffer],
  ])('(%s) is reported, and the connection goes on', async (_, data) => {
    const { peer, client, errors } = await openWorld();
    peer.socket.deliverRaw(data);
    await turn();
    expect(errors).toHaveLength(1);
    expect((await client.call('tween.session.ping', {})).server_time).toBeTruthy();
  });

  it('or an event without a number, is reported and not passed on', async () => {
    const { peer, client, errors } = await openWorld();
    const seen: unknown[] = [];
    client.on(updated, (params) => seen.push(params));
    peer.socket.deliver({ method: updated, params: {} });
    peer.socket.deliver({ method: updated, params: {}, seq: 1.5 });
    await turn();
    expect(seen).toEqual([]);
    expect(errors).toHaveLength(2);
  });

  it('and an error that answers no request, is reported', async () => {
    const { peer, errors } = await openWorld();
    peer.socket.deliver({
      id: null,
      error: { code: -32_700, message: 'The frame cannot be decoded', data: { code: 'INVALID_REQUEST', retryable: false } },
    });
    await turn();
    expect(errors).toMatchObject([{ code: 'INVALID_REQUEST' }]);
  });
});
