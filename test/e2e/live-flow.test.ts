/** Requests on an open session: order, batches, bounds, flooding, accepted writes, faults. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import { TmcpError } from '../../src/protocol/errors.ts';
import { errorOf, type LiveServer, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

const get = (key: string, id?: number | string) => ({
  jsonrpc: '2.0',
  method: 'tween.storage.get',
  params: { key },
  ...(id === undefined ? {} : { id }),
});

describe('requests', () => {
  it('[LIVE23] start in the order of their arrival, and may be answered in another', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.request('tween.storage.get', { key: 'hold' }, 'slow');
    for (let i = 0; i < 20; i++) client.request('tween.storage.set', { key: 'k', value: String(i) }, i);
    client.request('tween.storage.get', { key: 'k' }, 'last');
    expect((await client.find(({ id }) => id === 'last')).result.value).toBe('19');
    await client.find(({ id }) => id === 19);
    expect(client.messages.map(({ id, result }) => [id, result.version])).toEqual(Array.from({ length: 19 }, (_, i) => [i, i + 1]));
    live.held[0]?.reply(null, { value: 'now' });
    expect((await client.find(({ id }) => id === 'slow')).result).toEqual({ value: 'now' });
  });

  it('[LIVE23] answer with the id they came with', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    for (const id of [0, Number.MAX_SAFE_INTEGER, 'a', 'ü'.repeat(32)]) {
      client.request('tween.session.ping', {}, id);
      expect((await client.find((message) => message.id === id)).id).toBe(id);
    }
    client.request('tween.session.ping', {}, 'a'.repeat(65));
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32600);
  });

  it('[LIVE23] notifications are carried out and never answered, wrong ones neither', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.notify('tween.storage.set', { key: 'n', value: '1' });
    client.notify('tween.storage.set', { key: 5 });
    client.notify('no.such.method');
    client.notify('tween.session.ack', { seq: 0 });
    expect((await client.call('tween.storage.get', { key: 'n' })).result.value).toBe('1');
    expect(client.messages).toEqual([]);
  });

  it('[LIVE22] a fault of ours is answered INTERNAL_ERROR with a request id that the log knows, and nothing else', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const error = errorOf(await client.call('tween.storage.remove', { key: 'x' }));
    expect(error).toMatchObject({
      code: -32603,
      message: 'Something went wrong on our side',
      data: { code: 'INTERNAL_ERROR', retryable: true },
    });
    expect(JSON.stringify(error)).not.toContain('secret');
    expect(live.lines.some(({ event, requestId }) => event === 'live.fault' && requestId === error.data.request_id)).toBe(true);
    await client.settled();
  });

  it('[LIVE22] bad parameters are answered -32602 with what is wrong', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    expect(errorOf(await client.call('tween.storage.set', { key: '', value: 1, more: true })).data.details.issues).toEqual(
      expect.arrayContaining([
        { path: '/key', message: expect.any(String) },
        { path: '/value', message: expect.any(String) },
        { path: '/more', message: expect.any(String) },
      ]),
    );
  });

  it('[LIVE23] carry the session and device they came over', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open({}, { device: { id: 'phone' } });
    expect((await client.call('tween.auth.getUserInfo')).result.who).toMatchObject({ sessionId: opened.session, deviceId: 'phone' });
  });
});

describe('batches', () => {
  it('[LIVE33] are answered as one array, in the order in which the answers came', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.send([get('hold-1', 1), { jsonrpc: '2.0', method: 'tween.session.ping', id: 2 }, { id: 3 }, get('none'), get('none', 4)]);
    await client.settled();
    expect(client.messages).toEqual([]);
    live.held[0]?.reply(null, { done: true });
    const answers = (await client.find((message) => Array.isArray(message))) as unknown as { id: number; error?: { code: number } }[];
    expect(answers.map(({ id, error }) => [id, error?.code])).toEqual([
      [2, undefined],
      [3, -32600],
      [4, -32404],
      [1, undefined],
    ]);
  });

  it('[LIVE33] of notifications only get no answer', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.send([get('a'), get('b')]);
    await client.settled();
    expect(client.messages).toEqual([]);
  });

  it('[LIVE33] hold 1 to 64 items', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const pings = (count: number) =>
      Array.from({ length: count }, (_, id) => ({ jsonrpc: '2.0', method: 'tween.storage.get', params: { key: 'a' }, id }));
    client.send(pings(limits.batch));
    expect(await client.find((message) => Array.isArray(message))).toHaveLength(64);
    client.send(pings(limits.batch + 1));
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32600);
    client.send([]);
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32600);
  });

  it('[LIVE33] may hold the open', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    client.send([{ id: 1, method: 'tween.session.open', params: { token: live.token() } }]);
    expect(await client.find((message) => Array.isArray(message))).toMatchObject([{ id: 1, result: { resumed: false } }]);
  });
});

describe('bounds', () => {
  it('[LIVE34] 64 requests are in flight, the 65th is refused, and one answer makes room', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    await client.call('tween.storage.get', { key: 'a' });
    for (let i = 0; i < limits.inFlight; i++) client.request('tween.storage.get', { key: `hold-${i}` }, i);
    const refused = errorOf(await client.call('tween.storage.get', { key: 'a' }));
    expect(refused).toMatchObject({ code: -32429, data: { code: 'TOO_MANY_IN_FLIGHT', retryable: true, retry_after: 1 } });
    live.held[5]?.reply(null, {});
    await client.find(({ id }) => id === 5);
    expect(errorOf(await client.call('tween.storage.get', { key: 'a' })).data.code).toBe('KEY_NOT_FOUND');
  });

  it('[LIVE28] what the session answers itself is never in flight', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    for (let i = 0; i < limits.inFlight; i++) client.request('tween.storage.get', { key: `hold-${i}` });
    expect((await client.call('tween.session.ack', { seq: 0 })).result).toEqual({ seq: 0 });
    expect((await client.call('tween.session.ping')).result.server_time).toBe('2026-01-01T00:00:00.000Z');
    expect(errorOf(await client.call('tween.session.refresh', { token: live.token() })).data.code).toBe('TOO_MANY_IN_FLIGHT');
    expect((await client.call('tween.session.close')).result).toEqual({ closed: true });
  });

  it('[LIVE35] 100 ignored refusals within 10 s close with 4429, 99 do not', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    for (let i = 0; i < limits.inFlight; i++) client.request('tween.storage.get', { key: `hold-${i}` }, `h${i}`);
    const refused = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) client.request('tween.storage.get', { key: 'a' }, `r${i}`);
      for (let i = 0; i < count; i++) expect(errorOf(await client.find(({ id }) => id === `r${i}`)).data.code).toBe('TOO_MANY_IN_FLIGHT');
    };
    await refused(99);
    live.clock.advance(10_000);
    await refused(99);
    client.notify('tween.storage.get', { key: 'a' });
    expect(await client.closed).toEqual({ code: 4429, reason: 'flooding' });
    expect((await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } })).opened.resumed).toBe(true);
  });

  it('[LIVE35] refusals by the rate limit count as well', async () => {
    live = await startLiveServer({ limitsFactor: 1 });
    const { client } = await live.open();
    for (let i = 0; i < 120; i++) expect(errorOf(await client.call('tween.storage.get', { key: 'a' })).data.code).toBe('KEY_NOT_FOUND');
    expect(errorOf(await client.call('tween.storage.get', { key: 'a' }))).toMatchObject({
      code: -32429,
      data: { code: 'RATE_LIMIT_EXCEEDED', retryable: true, retry_after: 1, details: { limit: 100, window: 60, class: 'storage' } },
    });
    for (let i = 0; i < 99; i++) client.request('tween.storage.get', { key: 'a' });
    expect((await client.closed).code).toBe(4429);
  });
});

describe('accepted writes', () => {
  const write = (key: string) => ({ key, value: 'v', durability: 'accepted' });

  it('[LIVE30] are answered before the commit with a growing number, and told durable after it', async () => {
    live = await startLiveServer({ autoFlush: false });
    const { client } = await live.open();
    expect((await client.call('tween.storage.set', write('a'))).result).toMatchObject({ write: 1, durable: false });
    expect((await client.call('tween.storage.set', write('b'))).result).toMatchObject({ write: 2, durable: false });
    live.clock.advance(100);
    await client.settled();
    expect(client.messages).toEqual([]);
    live.journal.flush();
    live.clock.advance(50);
    expect(await client.event('tween.session.durable')).toMatchObject({ seq: 1, params: { write: 2, db_epoch: 'epoch-1' } });
  });

  it('[LIVE31] are told at most every 50 ms', async () => {
    live = await startLiveServer({ autoFlush: false });
    const { client } = await live.open();
    for (let i = 0; i < 3; i++) await client.call('tween.storage.set', write('a'));
    live.journal.flush(1);
    live.clock.advance(1);
    expect((await client.event('tween.session.durable')).params.write).toBe(1);
    live.journal.flush(1);
    live.clock.advance(49);
    await client.settled();
    expect(client.messages).toEqual([]);
    live.journal.flush(1);
    live.clock.advance(1);
    expect((await client.event('tween.session.durable')).params.write).toBe(3);
  });

  it('[LIVE31] the watermark is told at a resume, and what became durable meanwhile as an event', async () => {
    live = await startLiveServer({ autoFlush: false });
    const { client, opened } = await live.open();
    for (let i = 0; i < 3; i++) await client.call('tween.storage.set', write('a'));
    client.cut();
    await expect.poll(() => live.server.counts.detached).toBe(1);
    live.journal.flush(2);
    live.clock.advance(50);
    const again = await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } });
    expect(again.opened).toMatchObject({ resumed: true, durable: { write: 2 } });
    expect((await again.client.event('tween.session.durable')).params.write).toBe(2);
    expect((await again.client.call('tween.storage.set', write('a'))).result.write).toBe(4);
  });

  it('[LIVE32] a write that can never be committed ends the session with 4500 and it cannot be resumed', async () => {
    live = await startLiveServer({ autoFlush: false });
    const { client, opened } = await live.open();
    await client.call('tween.storage.set', write('a'));
    live.journal.failNext();
    live.journal.flush();
    expect(await client.closed).toEqual({ code: 4500, reason: 'internal failure' });
    expect((await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } })).opened.resumed).toBe(false);
  });

  it('[LIVE30] without the wish the answer waits for the commit and has no number', async () => {
    live = await startLiveServer({ autoFlush: false });
    const { client } = await live.open();
    client.request('tween.storage.set', { key: 'a', value: 'v' }, 'set');
    await client.settled();
    expect(client.messages).toEqual([]);
    live.journal.flush();
    expect((await client.find(({ id }) => id === 'set')).result).toEqual({ key: 'a', success: true, version: 1 });
  });
});

describe('late answers', () => {
  it('[LIVE36] to a socket that is gone are dropped, and its session goes on', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    client.request('tween.storage.get', { key: 'hold' }, 'x');
    client.send([get('hold-batch', 1)]);
    await client.settled();
    client.cut();
    await expect.poll(() => live.server.counts.detached).toBe(1);
    live.held[0]?.reply(null, { late: true });
    live.held[1]?.reply(new TmcpError('KEY_NOT_FOUND'));
    const again = await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } });
    expect(again.opened.resumed).toBe(true);
    await again.client.settled();
    expect(again.client.messages).toEqual([]);
  });

  it.each([1, 2, 3])('[LIVE36] nothing touches a socket after its end, whoever ends it and whenever (seed %i)', async (seed) => {
    let state = seed * 2_654_435_761;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    live = await startLiveServer();
    for (let round = 0; round < 40; round++) {
      const { client } = await live.open();
      const count = 1 + random(20);
      for (let i = 0; i < count; i++)
        client.request(
          random(4) === 0 ? 'tween.auth.revoke' : 'tween.storage.get',
          random(4) === 0 ? { reason: 'hold' } : { key: random(2) === 0 ? `hold-${i}` : 'a' },
        );
      if (random(2) === 0) live.bus.publish({ userId: '@alice:tween.example', method: 'tween.wallet.updated', params: {} });
      switch (random(5)) {
        case 0:
          client.cut();
          break;
        case 1:
          client.notify('tween.session.close');
          break;
        case 2:
          client.frame(2, Buffer.alloc(0), { length: 2 ** 40 });
          break;
        case 3:
          client.socket.end();
          break;
        default:
          live.revoke({ tokenId: `token_${round + 1}` });
      }
      for (const message of live.held.splice(0, random(live.held.length + 1))) message.reply(null, { late: true });
    }
    for (const message of live.held.splice(0)) message.reply(null, { late: true });
    const { client } = await live.open();
    await client.settled();
    expect(live.lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
  });
});
