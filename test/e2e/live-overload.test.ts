/** A busy node on the wire: what is refused on both bindings, who is sent away, and how many it lets in. Time is the test's. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import { type LiveClient, UpgradeRefused } from '../support/live-client.ts';
import { alice, bob, errorOf, type LiveServer, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

/** Makes the node as busy as it can be: requests that the test does not answer. Gives the function that answers them. */
async function makeBusy(): Promise<() => void> {
  const { client } = await live.open({ userId: bob });
  await client.call('tween.storage.get', { key: 'awake' });
  for (let i = 0; i < 40; i++) client.request('tween.storage.get', { key: `hold-${i}` });
  await client.settled();
  // Well within the five seconds that a socket has to open.
  live.clock.advance(2_000);
  expect(live.load.admission.pressure).toBe(4);
  return () => {
    for (const message of live.held.splice(0)) message.reply(null, {});
    live.clock.advance(10_000);
  };
}

async function refusal(connecting: Promise<unknown>): Promise<UpgradeRefused> {
  const error = await connecting.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof UpgradeRefused)) throw new Error(`the upgrade was not refused: ${String(error)}`);
  return error;
}

const http = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${live.origin}${path}`, { ...init, headers: { Authorization: `Bearer ${live.token()}`, ...init.headers } });

describe('a busy node', () => {
  it('[LIVE47] refuses work on both bindings with a hint, and does it again when it is at ease', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const { client } = await live.open();
    const relax = await makeBusy();
    for (const [method, params] of [
      ['tween.sync.pull', {}],
      ['tween.storage.set', { key: 'a', value: '1' }],
      ['tween.storage.get', { nonsense: true }],
    ] as const) {
      const { data } = errorOf(await client.call(method, params));
      expect(data).toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryable: true });
      expect(data.retry_after).toBeGreaterThanOrEqual(1);
    }
    const answer = await http('/api/v1/storage/a');
    expect([answer.status, Number(answer.headers.get('retry-after')) > 0]).toEqual([503, true]);
    // A body that nobody wants is still read, so that the connection can be used again.
    expect((await http('/api/v1/storage/a', { method: 'PUT', body: '{}', headers: { 'content-type': 'application/json' } })).status).toBe(
      503,
    );
    await client.settled();
    relax();
    expect((await client.call('tween.storage.set', { key: 'a', value: '1' })).result).toMatchObject({ version: 1 });
    expect((await http('/api/v1/storage/a')).status).toBe(200);
    expect(live.load.inFlight).toBe(0);
  });

  it('[LIVE47] takes payments and factors on both bindings (R2)', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const { client } = await live.open();
    await makeBusy();
    for (let i = 0; i < 100; i++) expect((await client.call('tween.mfa.getMethods')).error).toBeUndefined();
    expect((await http('/wallet/v1/mfa/methods')).status).toBe(200);
    expect(errorOf(await client.call('tween.storage.get', { key: 'a' })).data.code).toBe('SERVICE_UNAVAILABLE');
    expect(live.metrics.requestsShed.with('money').samples({})[0]?.value).toBe(0);
    expect(live.metrics.requestsShed.with('read').samples({})[0]?.value).toBe(1);
  });

  it('[LIVE47] a request that is refused is never begun, an accepted write neither', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const { client } = await live.open();
    const relax = await makeBusy();
    const refused = errorOf(await client.call('tween.storage.set', { key: 'a', value: '1', durability: 'accepted' }));
    expect(refused.data.code).toBe('SERVICE_UNAVAILABLE');
    client.send([{ id: 1, method: 'tween.storage.set', params: { key: 'b', value: '1' } }]);
    await client.settled();
    relax();
    expect(live.journal.committed).toEqual([]);
  });

  it('[LIVE48] turns away upgrades and opens with a hint; a refused open is not counted against the socket', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const waiting = await live.connect();
    const relax = await makeBusy();
    const refused = await refusal(live.connect());
    expect([refused.status, Number(refused.headers['retry-after']) > 0]).toEqual([503, true]);
    const token = live.token();
    for (let i = 0; i < 5; i++) {
      const { data } = errorOf(await waiting.call('tween.session.open', { token }));
      expect(data.code).toBe('SERVICE_UNAVAILABLE');
      expect(data.retry_after).toBeGreaterThanOrEqual(1);
    }
    // The edge of the class is enough: what is being opened is let in as soon as not everybody must be refused.
    for (const message of live.held.splice(0)) message.reply(null, {});
    live.clock.advance(200);
    expect(live.load.admission.pressure).toBeGreaterThan(3);
    expect((await waiting.call('tween.session.open', { token })).result.resumed).toBe(false);
    relax();
    expect((await live.open()).opened.resumed).toBe(false);
  });

  it('[LIVE47] refuses sign-ins and tokens before they cost anything, and serves what takes rights away', async () => {
    const identity = { handle: async () => ({ status: 200, headers: [], body: Buffer.from('served') }) };
    live = await startLiveServer({ maxInFlight: 10, identity });
    const statuses = async (): Promise<number[]> => {
      const paths = ['/oauth2/authorize', '/interaction/abc', '/oauth2/token', '/oauth2/revoke', '/.well-known/jwks.json', '/assets/a.css'];
      return Promise.all(paths.map(async (path) => (await fetch(live.origin + path)).status));
    };
    expect(await statuses()).toEqual([200, 200, 200, 200, 200, 200]);
    const relax = await makeBusy();
    expect(await statuses()).toEqual([503, 503, 503, 200, 200, 200]);
    expect((await fetch(`${live.origin}/readyz`)).status).toBe(200);
    relax();
    expect(await statuses()).toEqual([200, 200, 200, 200, 200, 200]);
  });

  it('[LIVE48] answers the first refusals of a peer at once and the others after their hint, all of them', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const { client } = await live.open();
    const relax = await makeBusy();
    for (let i = 0; i < limits.inFlight; i++) client.request('tween.storage.get', { key: 'a' }, `r${i}`);
    await client.settled();
    expect(client.messages.map(({ id }) => id)).toEqual(Array.from({ length: 16 }, (_, i) => `r${i}`));
    live.clock.advance(950);
    await client.settled();
    expect(client.messages).toHaveLength(16);
    live.clock.advance(4_100);
    await client.settled();
    expect(client.messages.map(({ id }) => Number(String(id).slice(1))).sort((a, b) => a - b)).toEqual(
      Array.from({ length: limits.inFlight }, (_, i) => i),
    );
    for (const message of client.messages) expect(errorOf(message).data.code).toBe('SERVICE_UNAVAILABLE');
    expect(live.metrics.requestsShed.with('read').samples({})[0]?.value).toBe(limits.inFlight);
    relax();
    expect((await client.call('tween.storage.set', { key: 'a', value: '1' })).error).toBeUndefined();
  });

  it('[LIVE48] sends a peer away that has as many refusals before it as may be in flight and asks on, with a hint; it resumes', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const { client, opened } = await live.open();
    const relax = await makeBusy();
    for (let i = 0; i < 16 + limits.inFlight; i++) client.request('tween.storage.get', { key: 'a' });
    await client.settled();
    client.request('tween.storage.get', { key: 'a' });
    const hint = await client.event('tween.session.draining');
    expect(hint.params.reconnect_after_ms).toBeGreaterThanOrEqual(1_000);
    expect(await client.closed).toEqual({ code: 1013, reason: 'asking too much of a busy server' });
    // What was put off for it finds nobody.
    live.clock.advance(6_000);
    relax();
    const resume = { session: opened.session, secret: opened.secret, seq: hint.seq };
    const again = await live.open({}, { resume });
    expect(again.opened.resumed).toBe(true);
    expect((await again.client.call('tween.storage.get', { key: `big:10` })).error).toBeUndefined();
  });

  it('[LIVE48] a peer that waits for its answers is never sent away, however often it is refused', async () => {
    live = await startLiveServer({ maxInFlight: 10 });
    const { client } = await live.open();
    await makeBusy();
    for (let round = 0; round < 30; round++) {
      for (let i = 0; i < limits.inFlight; i++) client.request('tween.storage.get', { key: 'a' });
      await client.settled();
      live.clock.advance(5_100);
      await client.settled();
    }
    expect(client.messages.filter(({ error }) => error?.data.code === 'SERVICE_UNAVAILABLE')).toHaveLength(30 * limits.inFlight);
  });
});

describe('work for clients that left', () => {
  it('[LIVE49] can be told from work for those who are there, reads alone: a write is carried out (R3)', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.request('tween.storage.get', { key: 'hold-read' });
    client.request('tween.storage.set', { key: 'hold-write', value: '1' });
    await expect.poll(() => live.held.length).toBe(2);
    const [read, write] = live.held;
    expect([read?.abandoned?.(), write?.abandoned]).toEqual([false, undefined]);
    client.cut();
    await expect.poll(() => read?.abandoned?.()).toBe(true);
    const aborter = new AbortController();
    const request = http('/api/v1/storage/hold-http', { signal: aborter.signal }).catch(() => undefined);
    await expect.poll(() => live.held.length).toBe(3);
    expect(live.held[2]?.abandoned?.()).toBe(false);
    aborter.abort();
    await request;
    await expect.poll(() => live.held[2]?.abandoned?.()).toBe(true);
  });
});

describe('sessions of one user', () => {
  it('[LIVE51] at the bound are kept, one more ends the oldest with 4409, those without a socket first', async () => {
    live = await startLiveServer({ maxSessionsPerUser: 3 });
    const sessions: { client: LiveClient; opened: { session: string; secret: string } }[] = [];
    const open = async (): Promise<void> => void sessions.push(await live.open());
    await open();
    await open();
    await open();
    expect(live.server.counts).toMatchObject({ sockets: 3, sessions: 3 });
    await live.open({ userId: bob });
    await open();
    expect(await sessions[0]?.client.closed).toEqual({ code: 4409, reason: 'too many sessions' });
    expect(live.server.counts).toEqual({ sockets: 4, sessions: 4, detached: 0 });
    const [, second, third] = sessions;
    third?.client.cut();
    await expect.poll(() => live.server.counts.detached).toBe(1);
    await open();
    await second?.client.settled();
    const resume = { session: third?.opened.session, secret: third?.opened.secret, seq: 0 };
    expect((await live.open({}, { resume })).opened.resumed).toBe(false);
    expect((await second?.client.closed)?.code).toBe(4409);
    expect(live.server.counts.sessions).toBe(4);
  });

  it('[LIVE51] a resume takes no new place', async () => {
    live = await startLiveServer({ maxSessionsPerUser: 2 });
    const first = await live.open();
    const second = await live.open();
    second.client.cut();
    await expect.poll(() => live.server.counts.detached).toBe(1);
    const resume = { session: second.opened.session, secret: second.opened.secret, seq: 0 };
    expect((await live.open({}, { resume })).opened.resumed).toBe(true);
    await first.client.settled();
    expect(live.server.counts).toEqual({ sockets: 2, sessions: 2, detached: 0 });
  });
});

/** Connects and opens, coming back after each hint; notes what it was told. The clock is moved by the test's only waiter. */
async function comeIn(hints: number[]): Promise<LiveClient> {
  for (;;) {
    try {
      return (await live.open({ userId: alice })).client;
    } catch (error) {
      if (!(error instanceof UpgradeRefused)) throw error;
      expect(error.status).toBe(503);
      const after = Number(error.headers['retry-after']);
      expect(after).toBeGreaterThanOrEqual(1);
      hints.push(after);
      await new Promise<void>((resolve) => live.clock.after(after * 1_000, resolve));
    }
  }
}

describe('a storm of connections', () => {
  it('[LIVE45][S15] ten times the accept rate: residents are answered throughout, all of the storm is in at last', {
    timeout: 60_000,
  }, async () => {
    live = await startLiveServer({ acceptRate: 50, acceptBurst: 50 });
    const residents = await Promise.all(Array.from({ length: 5 }, () => live.open()));
    let storming = true;
    const asked = residents.map(async ({ client }, index) => {
      let [requests, answers] = [0, 0];
      while (storming) {
        requests++;
        const answer = await client.call('tween.storage.set', { key: `resident-${index}`, value: String(requests) });
        if (answer.error === undefined) answers++;
      }
      return { requests, answers };
    });
    const hints: number[] = [];
    let inside = 0;
    const storm = Array.from({ length: 500 }, async () => {
      const client = await comeIn(hints);
      inside++;
      return client;
    });
    // Time passes in steps, each after everybody had a turn: nothing here depends on how fast the machine is.
    const all = Promise.all(storm);
    while (inside < storm.length) {
      for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      live.clock.advance(100);
    }
    const clients = await all;
    storming = false;
    for (const { requests, answers } of await Promise.all(asked)) {
      expect(answers).toBe(requests);
      expect(answers).toBeGreaterThan(0);
    }
    // At least all but the burst were told to come back.
    expect(hints.length).toBeGreaterThanOrEqual(storm.length - 50);
    expect(Math.max(...hints)).toBeGreaterThan(5);
    expect(live.server.counts.sessions).toBe(505);
    await Promise.all(clients.map((client) => client.settled()));
  });
});
