/** Calls: matched by id, ended in time, sent again only where that is safe, and bounded. */
import { describe, expect, it } from 'vitest';
import { Calls, isSafeToRepeat, maxBytes, maxCalls } from '../../../src/client/calls.ts';
import { CallTimeoutError, ConnectionLostError } from '../../../src/client/mod.ts';
import { catalogue } from '../../../src/protocol/catalogue.ts';
import { decodeFrame } from '../../../src/protocol/codec.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { limits } from '../../../src/protocol/limits.ts';
import { type Received, turn } from './live-peer.ts';
import { newWorld, openWorld, outcomeOf, pass, useFakeTime } from './world.ts';

useFakeTime();

const pay = { amount: 5, currency: 'USD', description: 'x', merchant_order_id: 'o', idempotency_key: 'k' };

describe('a call', () => {
  it('is matched with its answer by id, whatever the order', async () => {
    const { peer, client } = await openWorld();
    const held: Received[] = [];
    peer.handlers.set('tween.storage.get', (request) => void held.push(request));
    const calls = ['a', 'b', 'c'].map((key) => client.call('tween.storage.get', { key }));
    await turn();
    for (const request of held.reverse()) request.answer({ key: request.params['key'] });
    expect(await Promise.all(calls)).toEqual([{ key: 'a' }, { key: 'b' }, { key: 'c' }]);
  });

  it('that is refused rejects with the code, when to retry, and the details', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.wallet.getBalance', () => {
      throw new TmcpError('RATE_LIMIT_EXCEEDED', 'slow down', { retryAfter: 7, details: { limit: 60 } });
    });
    await expect(client.call('tween.wallet.getBalance', {})).rejects.toMatchObject({
      code: 'RATE_LIMIT_EXCEEDED',
      message: 'slow down',
      retryAfter: 7,
      details: { limit: 60 },
      retryable: true,
    });
  });

  it.each([
    [true, 'SERVICE_UNAVAILABLE'],
    [false, 'INVALID_REQUEST'],
  ])('refused with a code of a newer server (retryable: %s) rejects with one that says the same', async (retryable, code) => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.wallet.getBalance', ({ socket, id }) =>
      socket.deliver({ id, error: { code: -32_000, message: 'm', data: { code: 'FROM_THE_FUTURE', retryable, details: { a: 1 } } } }),
    );
    const call = client.call('tween.wallet.getBalance', {});
    await expect(call).rejects.toMatchObject({ code, retryable, details: { a: 1, code: 'FROM_THE_FUTURE' } });
  });

  it('that is refused without any data still rejects', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.wallet.getBalance', ({ socket, id }) => socket.deliver({ id, error: 'no' }));
    await expect(client.call('tween.wallet.getBalance', {})).rejects.toBeInstanceOf(TmcpError);
  });

  it('sends what its parameters were, not what became of them', async () => {
    const { peer, client } = newWorld();
    const params = { key: 'first' };
    const call = client.call('tween.storage.get', params);
    call.catch(() => {});
    params.key = 'second';
    await client.connect();
    await turn();
    expect(peer.of('tween.storage.get')[0]?.params).toEqual({ key: 'first' });
  });

  it('whose parameters have no frame is refused here, and the session lives on', async () => {
    const { peer, client } = await openWorld();
    for (const amount of [Number.NaN, Number.POSITIVE_INFINITY, new Date() as never]) {
      await expect(client.call('tween.wallet.pay', { ...pay, amount })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    }
    expect(peer.of('tween.wallet.pay')).toEqual([]);
    expect(client.state).toBe('open');
  });

  it('understands the largest listing there is', async () => {
    const { peer, client } = await openWorld();
    const keys = Array.from({ length: 1_000 }, (_, n) => ({
      key: `k${n}`,
      size_bytes: 1,
      updated_at: '2026-01-01T00:00:00.000Z',
      version: 1,
      expires_at: '2026-01-02T00:00:00.000Z',
    }));
    peer.handlers.set('tween.storage.list', () => ({ keys, pagination: { total: 1_000, limit: 1_000, offset: 0, has_more: false } }));
    expect((await client.call('tween.storage.list', { limit: 1_000 })).keys).toEqual(keys);
  });
});

describe('a deadline', () => {
  it('ends a call that was sent with an error that leaves its outcome open', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.wallet.pay', () => undefined);
    const call = client.call('tween.wallet.pay', pay, { timeoutMs: 1_000 });
    call.catch(() => {});
    await pass(999);
    expect(await outcomeOf(call)).toBe('pending');
    await pass(1);
    await expect(call).rejects.toBeInstanceOf(CallTimeoutError);
    await expect(call).rejects.toBeInstanceOf(ConnectionLostError);
  });

  it('of thirty seconds, or the client’s own, ends a call that was never sent with SERVICE_UNAVAILABLE', async () => {
    for (const timeoutMs of [undefined, 5_000]) {
      const { client } = newWorld(timeoutMs === undefined ? {} : { timeoutMs });
      const call = client.call('tween.wallet.pay', pay);
      call.catch(() => {});
      await pass((timeoutMs ?? 30_000) - 1);
      expect(await outcomeOf(call)).toBe('pending');
      await pass(1);
      await expect(call).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    }
  });

  it('leaves the call’s place taken until the server has answered it', async () => {
    const { peer, client } = await openWorld();
    peer.inFlight = 5;
    client.disconnect();
    await pass(5_000);
    const held: Received[] = [];
    peer.handlers.set('tween.storage.get', (request) => void held.push(request));
    const late = client.call('tween.storage.get', { key: 'a' }, { timeoutMs: 100 });
    late.catch(() => {});
    await pass(100);
    await expect(late).rejects.toBeInstanceOf(CallTimeoutError);
    const next = client.call('tween.storage.get', { key: 'b' });
    await turn();
    expect(held).toHaveLength(1);
    held[0]?.answer({ key: 'a' });
    await turn();
    held[1]?.answer({ key: 'b' });
    expect(await next).toEqual({ key: 'b' });
  });
});

describe('a signal', () => {
  it('that is aborted before sends nothing', async () => {
    const { peer, client } = await openWorld();
    const call = client.call('tween.wallet.getBalance', {}, { signal: AbortSignal.abort(new Error('changed my mind')) });
    await expect(call).rejects.toThrow('changed my mind');
    await turn();
    expect(peer.of('tween.wallet.getBalance')).toEqual([]);
  });

  it('that is aborted while the call waits keeps it from being sent', async () => {
    const { peer, client } = newWorld();
    const controller = new AbortController();
    const call = client.call('tween.wallet.getBalance', {}, { signal: controller.signal });
    controller.abort(new Error('too late'));
    await expect(call).rejects.toThrow('too late');
    await client.connect();
    await turn();
    expect(peer.of('tween.wallet.getBalance')).toEqual([]);
  });

  it('that is aborted after the answer changes nothing', async () => {
    const { client } = await openWorld();
    const controller = new AbortController();
    await client.call('tween.session.ping', {}, { signal: controller.signal });
    controller.abort();
    expect(client.state).toBe('open');
  });
});

describe('after a lost connection', () => {
  it('a call that was not answered is sent again where that is safe, in order and with its id, and refused where it is not', async () => {
    const { peer, client } = await openWorld();
    for (const method of ['tween.storage.get', 'tween.wallet.pay', 'tween.payment.cancel']) peer.handlers.set(method, () => undefined);
    const read = client.call('tween.storage.get', { key: 'a' });
    const unsafe = client.call('tween.payment.cancel', { payment_id: 'pay_1' });
    const paid = client.call('tween.wallet.pay', pay);
    await turn();
    const ids = [peer.of('tween.storage.get')[0]?.id, peer.of('tween.wallet.pay')[0]?.id];
    peer.handlers.set('tween.storage.get', () => ({ value: 'v' }));
    peer.handlers.set('tween.wallet.pay', () => ({ payment_id: 'pay_2' }));
    peer.socket.cut(1006);
    await expect(unsafe).rejects.toBeInstanceOf(ConnectionLostError);
    const later = client.call('tween.storage.get', { key: 'b' });
    await pass(5_000);
    expect(await Promise.all([read, paid, later])).toMatchObject([{ value: 'v' }, { payment_id: 'pay_2' }, { value: 'v' }]);
    const again = peer.received.filter(({ socket, method }) => socket === peer.socket && !method.startsWith('tween.session.'));
    expect(again.map(({ method }) => method)).toEqual(['tween.storage.get', 'tween.wallet.pay', 'tween.storage.get']);
    expect(again.slice(0, 2).map(({ id }) => id)).toEqual(ids);
    expect(peer.of('tween.payment.cancel')).toHaveLength(1);
  });

  it('calls that were sent come again before those that waited for room', async () => {
    const { peer, client } = newWorld();
    peer.inFlight = 6;
    peer.handlers.set('tween.storage.get', () => undefined);
    await client.connect();
    const calls = ['a', 'b', 'c', 'd'].map((key) => client.call('tween.storage.get', { key }));
    await turn();
    peer.handlers.set('tween.storage.get', ({ params }) => ({ key: params['key'] }));
    client.disconnect();
    await pass(5_000);
    await Promise.all(calls);
    expect(peer.of('tween.storage.get').map(({ params }) => params['key'])).toEqual(['a', 'b', 'a', 'b', 'c', 'd']);
  });

  it('a call says itself whether it may be sent again', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.storage.get', () => undefined);
    peer.handlers.set('tween.payment.cancel', () => undefined);
    const once = client.call('tween.storage.get', { key: 'a' }, { repeat: false });
    const again = client.call('tween.payment.cancel', { payment_id: 'p' }, { repeat: true });
    await turn();
    peer.handlers.set('tween.payment.cancel', () => ({ status: 'cancelled' }));
    peer.socket.cut(1006);
    await expect(once).rejects.toBeInstanceOf(ConnectionLostError);
    await pass(5_000);
    expect(await again).toEqual({ status: 'cancelled' });
  });

  it('a call that was never sent is sent on the next, safe to repeat or not', async () => {
    const { peer, client } = newWorld();
    peer.handlers.set('tween.payment.cancel', () => ({ status: 'cancelled' }));
    const call = client.call('tween.payment.cancel', { payment_id: 'p' });
    await client.connect();
    expect(await call).toEqual({ status: 'cancelled' });
  });

  it('because a frame was too large, the largest is refused and not sent again; the others are', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.storage.get', () => undefined);
    const small = client.call('tween.storage.get', { key: 'a' });
    const large = client.call('tween.storage.get', { key: 'a'.repeat(200) });
    large.catch(() => {});
    await turn();
    peer.handlers.set('tween.storage.get', () => ({ value: 'v' }));
    peer.socket.cut(1009);
    await expect(large).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    await pass(5_000);
    expect(await small).toEqual({ value: 'v' });
    expect(peer.of('tween.storage.get')).toHaveLength(3);
  });

  it('a session call is refused at once: its session is gone', async () => {
    const { client } = newWorld();
    await expect(client.call('tween.session.ping', {})).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });

  it.each(catalogue.filter(({ handledBy }) => handledBy === 'actor').map(({ name, access }) => ({ name, access })))(
    '$name ($access) is taken for safe exactly when it only reads',
    ({ name, access }) => {
      expect(isSafeToRepeat(name, {})).toBe(access === 'read');
      expect(isSafeToRepeat(name, { idempotency_key: 'k' })).toBe(true);
      expect(isSafeToRepeat(name, { op_id: 'd:1' })).toBe(true);
    },
  );
});

describe('bounds', () => {
  it('no more calls run at once than the server takes, with room left for the session’s own', async () => {
    const { peer, client } = await openWorld();
    const held: Received[] = [];
    peer.handlers.set('tween.storage.get', (request) => void held.push(request));
    const calls = Array.from({ length: 100 }, (_, n) => client.call('tween.storage.get', { key: `${n}` }));
    await turn();
    expect(held).toHaveLength(limits.inFlight - 4);
    await client.call('tween.session.ping', {});
    for (let n = 0; n < 100; n++) {
      held[n]?.answer({ key: `${n}` });
      await turn();
    }
    expect((await Promise.all(calls)).map(({ key }) => key)).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`));
  });

  it('of calls that wait: one more is refused at once, and taken again when there is room', async () => {
    const calls = new Calls(60_000);
    const controller = new AbortController();
    const wait = (signal?: AbortSignal): Promise<unknown> =>
      calls.start('tween.storage.get', { key: 'a' }, signal === undefined ? {} : { signal });
    const waiting = Array.from({ length: maxCalls - 1 }, () => wait());
    for (const call of waiting) call.catch(() => {});
    const last = wait(controller.signal);
    last.catch(() => {});
    expect(calls.size).toBe(maxCalls);
    await expect(wait()).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    controller.abort();
    expect(calls.size).toBe(maxCalls - 1);
    expect(await outcomeOf(wait())).toBe('pending');
    calls.end(new Error('done'));
    expect(calls.size).toBe(0);
  });

  it('of their bytes', async () => {
    const calls = new Calls(60_000);
    const value = 'x'.repeat(1024 * 1024);
    const set = (): Promise<unknown> => calls.start('tween.storage.set', { key: 'a', value });
    const waiting = Array.from({ length: maxBytes / value.length }, set);
    for (const call of waiting) call.catch(() => {});
    expect(await outcomeOf(waiting.at(-1) as Promise<unknown>)).toBe('pending');
    await expect(set()).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    calls.end(new Error('done'));
  });

  it.each([
    ['under', -1, true],
    ['at', 0, true],
    ['over', 1, false],
  ])('of a frame: %s it', async (_, by, taken) => {
    const calls = new Calls(60_000);
    const sent: Uint8Array[] = [];
    calls.opened((frame) => sent.push(frame), { frame_bytes: 1_000, in_flight: 64 });
    const frameWith = async (length: number): Promise<number> => {
      void calls.start('tween.storage.get', { key: 'x'.repeat(length) }).catch(() => {});
      return sent.at(-1)?.length ?? 0;
    };
    const overhead = (await frameWith(300)) - 300;
    const call = calls.start('tween.storage.get', { key: 'x'.repeat(1_000 - overhead + by) });
    call.catch(() => {});
    expect(await outcomeOf(call)).toEqual(taken ? 'pending' : { error: expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }) });
    if (taken) expect(sent.at(-1)).toHaveLength(1_000 + by);
    expect(decodeFrame('msgpack', sent[0] as Uint8Array)).toMatchObject({ method: 'tween.storage.get' });
    calls.end(new Error('done'));
  });
});
