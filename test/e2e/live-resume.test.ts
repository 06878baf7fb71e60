/** Losing the socket and coming back: what is replayed, to whom, and what ends a session for good. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import { createMemoryResumeStore } from '../../src/persistence/memory/resume-store.ts';
import type { LiveClient } from '../support/live-client.ts';
import { alice, bob, errorOf, type LiveServer, type Opened, shop, startLiveServer } from '../support/live-server.ts';
import { ManualClock } from '../support/manual-clock.ts';

const servers: LiveServer[] = [];
let live: LiveServer;

async function start(...args: Parameters<typeof startLiveServer>): Promise<LiveServer> {
  const server = await startLiveServer(...args);
  servers.push(server);
  live = server;
  return server;
}

afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});

function tell(count: number, server = live, key?: string): void {
  for (let i = 0; i < count; i++) {
    server.bus.publish({
      userId: alice,
      appId: shop,
      method: 'tween.storage.changed',
      params: { n: i },
      ...(key === undefined ? {} : { key }),
    });
  }
}

async function lose(client: LiveClient, server = live): Promise<void> {
  const before = server.server.counts.detached;
  client.cut();
  await expect.poll(() => server.server.counts.detached).toBe(before + 1);
}

const resumeOf = (opened: Opened, seq: number) => ({ resume: { session: opened.session, secret: opened.secret, seq } });

describe('a resume', () => {
  it('[LIVE10] replays what was not seen, in order, after the answer, and numbers go on', async () => {
    await start();
    const { client, opened } = await live.open();
    tell(3);
    await client.find(({ seq }) => seq === 3);
    await lose(client);
    tell(2);
    const { client: again, opened: resumed } = await live.open({}, resumeOf(opened, 1));
    expect(resumed).toMatchObject({ session: opened.session, resumed: true, seq: 5 });
    expect(resumed.secret).not.toBe(opened.secret);
    await again.find(({ seq }) => seq === 5);
    expect(again.messages.map(({ seq }) => seq)).toEqual([2, 3, 4]);
    tell(1);
    expect((await again.find(({ seq }) => seq === 6)).params).toEqual({ n: 0 });
  });

  it('[LIVE10] answers first: nothing of the replay is read before it', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    tell(5);
    const again = await live.connect();
    again.request('tween.session.open', { token: live.token(), ...resumeOf(opened, 0) }, 'open');
    await again.find(({ seq }) => seq === 5);
    expect(again.messages[0]?.id).toBe('open');
  });

  it('[LIVE11] works when no event was ever sent, and again, and again', async () => {
    await start();
    let { client, opened } = await live.open();
    for (let i = 0; i < 4; i++) {
      await lose(client);
      ({ client, opened } = await live.open({}, resumeOf(opened, 0)));
      expect(opened).toMatchObject({ resumed: true, seq: 0 });
    }
  });

  it('[LIVE12] closes the older socket with 4409 when it is still there, and its frames are not applied', async () => {
    await start();
    const { client, opened } = await live.open();
    tell(1);
    const { client: again, opened: resumed } = await live.open({}, resumeOf(opened, 0));
    client.request('tween.storage.set', { key: 'late', value: 'x' });
    expect(await client.closed).toEqual({ code: 4409, reason: 'replaced by a resume' });
    expect(resumed.resumed).toBe(true);
    await again.find(({ seq }) => seq === 1);
    expect(errorOf(await again.call('tween.storage.get', { key: 'late' })).data.code).toBe('KEY_NOT_FOUND');
    expect(live.server.counts).toEqual({ sockets: 1, sessions: 1, detached: 0 });
  });

  it('[LIVE13] acknowledged events are not replayed, and a resume from before them is not possible', async () => {
    await start();
    const { client, opened } = await live.open();
    tell(4);
    await client.find(({ seq }) => seq === 4);
    expect((await client.call('tween.session.ack', { seq: 3 })).result).toEqual({ seq: 3 });
    expect((await client.call('tween.session.ack', { seq: 99 })).result).toEqual({ seq: 4 });
    tell(1);
    await client.find(({ seq }) => seq === 5);
    await lose(client);
    const { opened: fresh } = await live.open({}, resumeOf(opened, 3));
    expect(fresh.resumed).toBe(false);
    expect(fresh.session).not.toBe(opened.session);
  });

  it('[LIVE14] is refused for a number that was never given', async () => {
    await start();
    const { client, opened } = await live.open();
    tell(2);
    await lose(client);
    expect((await live.open({}, resumeOf(opened, 3))).opened.resumed).toBe(false);
  });

  it.each([
    [1_000, true],
    [1_001, false],
  ])('[LIVE14] %i unacknowledged events: resumed is %s', async (count, resumed) => {
    await start();
    const { client, opened } = await live.open();
    tell(count);
    await client.find(({ seq }) => seq === count);
    await lose(client);
    const { client: again, opened: result } = await live.open({}, resumeOf(opened, 0));
    expect(result.resumed).toBe(resumed);
    if (resumed) await again.find(({ seq }) => seq === count);
  });

  it('[LIVE14] the bound of 1 MiB holds as well, and an acknowledgement makes room', async () => {
    await start();
    const { client, opened } = await live.open();
    const big = (n: number) =>
      live.bus.publish({ userId: alice, method: 'tween.storage.changed', params: { value: 'x'.repeat(300_000), n } });
    for (let n = 1; n <= 3; n++) big(n);
    await client.find(({ seq }) => seq === 3);
    await client.call('tween.session.ack', { seq: 3 });
    for (let n = 4; n <= 6; n++) big(n);
    await client.find(({ seq }) => seq === 6);
    await lose(client);
    const second = await live.open({}, resumeOf(opened, 3));
    expect(second.opened.resumed).toBe(true);
    await second.client.find(({ seq }) => seq === 6);
    big(7);
    await second.client.find(({ seq }) => seq === 7);
    await lose(second.client);
    expect((await live.open({}, resumeOf(second.opened, 3))).opened.resumed).toBe(false);
  });

  it('[LIVE14] a session without a socket whose events pass the bound is let go', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    tell(1_001);
    expect(live.server.counts.sessions).toBe(0);
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(false);
  });

  it('[LIVE15] is possible for 120 s and not a moment longer', async () => {
    await start();
    const [a, b] = [await live.open(), await live.open()];
    await lose(a.client);
    await lose(b.client);
    live.clock.advance(limits.resumeMs - 1_000);
    expect((await live.open({}, resumeOf(a.opened, 0))).opened.resumed).toBe(true);
    live.clock.advance(1_000);
    expect(live.server.counts.detached).toBe(0);
    expect((await live.open({}, resumeOf(b.opened, 0))).opened.resumed).toBe(false);
  });

  it('[LIVE11] takes the encoding of the new socket', async () => {
    await start();
    const { client, opened } = await live.open();
    tell(1);
    await lose(client);
    const { client: again } = await live.open({}, resumeOf(opened, 0), { protocol: 'tmcp.json.v1' });
    expect(await again.find(({ seq }) => seq === 1)).toEqual({ jsonrpc: '2.0', method: 'tween.storage.changed', params: { n: 0 }, seq: 1 });
  });

  it('[LIVE24] newest states of one key take the place of older ones that nobody has seen', async () => {
    await start();
    const { client, opened } = await live.open();
    tell(1, live, 'k');
    await client.find(({ seq }) => seq === 1);
    await lose(client);
    tell(10, live, 'k');
    tell(1, live, 'other');
    const { client: again, opened: resumed } = await live.open({}, resumeOf(opened, 1));
    expect(resumed.seq).toBe(3);
    expect((await again.find(({ seq }) => seq === 3)).params).toEqual({ n: 0 });
    expect(again.messages).toMatchObject([{ seq: 2, params: { n: 9 } }]);
  });
});

describe('secrets', () => {
  it('[LIVE16] a wrong secret gives a fresh session and an audit entry, and leaves the right one usable', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    const wrong = await live.open({}, { resume: { session: opened.session, secret: 'wrong', seq: 0 } });
    expect(wrong.opened).toMatchObject({ resumed: false, user_id: alice });
    expect(wrong.opened.session).not.toBe(opened.session);
    expect(live.audits).toMatchObject([{ type: 'session.resume_refused', reason: 'secret', session: opened.session, userId: alice }]);
    expect(live.lines.some(({ event, sessionId }) => event === 'session.resume_refused' && sessionId === opened.session)).toBe(true);
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(true);
  });

  it('[LIVE16] a secret works once: the one before does not, with or without a socket', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    const { client: again, opened: second } = await live.open({}, resumeOf(opened, 0));
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(false);
    await again.settled();
    await lose(again);
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(false);
    expect((await live.open({}, resumeOf(second, 0))).opened.resumed).toBe(true);
    expect(live.audits.map(({ reason }) => reason)).toEqual(['secret', 'secret']);
  });

  it('[LIVE16] of two resumes at once with the same secret one wins', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    const release = live.holdVerification();
    const both = Promise.all([live.open({}, resumeOf(opened, 0)), live.open({}, resumeOf(opened, 0))]);
    await expect.poll(() => live.verifying()).toBe(2);
    release();
    expect((await both).map(({ opened: { resumed } }) => resumed).sort()).toEqual([false, true]);
  });

  it.each([
    ['another user', { userId: bob }],
    ['another app', { appId: 'ma_other' }],
  ])('[LIVE18] the right secret with the token of %s is refused with INVALID_TOKEN and shows nothing', async (_who, grant) => {
    await start();
    const { client, opened } = await live.open();
    tell(1);
    await lose(client);
    const stranger = await live.connect();
    const refused = await stranger.call('tween.session.open', { token: live.token(grant), ...resumeOf(opened, 0) });
    expect(errorOf(refused).data.code).toBe('INVALID_TOKEN');
    expect(live.audits).toMatchObject([{ reason: 'owner' }]);
    const { client: own } = await live.open({}, resumeOf(opened, 0));
    await own.find(({ seq }) => seq === 1);
    expect(stranger.messages).toEqual([]);
  });

  it('[LIVE18] a wrong secret of another user tells nothing about the session', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    const other = await live.open({ userId: bob }, { resume: { session: opened.session, secret: 'guess', seq: 0 } });
    expect(other.opened).toMatchObject({ resumed: false, user_id: bob });
  });

  it('[LIVE18] another device starts afresh', async () => {
    await start();
    const { client, opened } = await live.open({}, { device: { id: 'phone' } });
    await lose(client);
    expect((await live.open({}, { device: { id: 'thief' }, ...resumeOf(opened, 0) })).opened.resumed).toBe(false);
    expect((await live.open({}, { device: { id: 'phone' }, ...resumeOf(opened, 0) })).opened.resumed).toBe(true);
    expect(live.audits).toMatchObject([{ reason: 'device' }]);
  });

  it('[LIVE16] a socket that dies while its session is looked up costs the client nothing', async () => {
    const clock = new ManualClock();
    const store = createMemoryResumeStore({ clock });
    let slow: Promise<void> | undefined;
    let asked = 0;
    const resumes = {
      put: store.put,
      take: async (session: string) => {
        asked++;
        await slow;
        return store.take(session);
      },
    };
    await start({ clock, resumes });
    const { client, opened } = await live.open();
    await lose(client);
    let go = (): void => {};
    slow = new Promise((resolve) => {
      go = resolve;
    });
    const dying = await live.connect();
    dying.request('tween.session.open', { token: live.token(), ...resumeOf(opened, 0) });
    await expect.poll(() => asked).toBe(1);
    dying.cut();
    await expect.poll(() => live.server.counts.sockets).toBe(0);
    go();
    const kept = async (): Promise<boolean> => {
      const record = await store.take(opened.session);
      if (record !== undefined) await store.put(record);
      return record !== undefined;
    };
    await expect.poll(kept).toBe(true);
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(true);
  });

  it('[LIVE16] a socket that dies before the answer costs the client nothing', async () => {
    await start();
    const { client, opened } = await live.open();
    await lose(client);
    const dying = await live.connect();
    const release = live.holdVerification();
    dying.request('tween.session.open', { token: live.token(), ...resumeOf(opened, 0) });
    await fetch(`${live.origin}/healthz`);
    dying.cut();
    await expect.poll(() => live.server.counts.sockets).toBe(0);
    release();
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(true);
  });
});

describe('on another node', () => {
  it('[LIVE19] a session is resumed with its events, and the first node forgets it', async () => {
    const clock = new ManualClock();
    const resumes = createMemoryResumeStore({ clock });
    const first = await start({ clock, resumes });
    const second = await start({ clock, resumes });
    const { client, opened } = await first.open();
    tell(3, first);
    await client.find(({ seq }) => seq === 3);
    await lose(client, first);
    const { client: again, opened: resumed } = await second.open({}, resumeOf(opened, 1));
    expect(resumed).toMatchObject({ session: opened.session, resumed: true, seq: 3 });
    await again.find(({ seq }) => seq === 3);
    expect(again.messages.map(({ seq }) => seq)).toEqual([2]);
    tell(1, second);
    expect((await again.find(({ seq }) => seq === 4)).params).toEqual({ n: 0 });
    expect((await first.open({}, resumeOf(opened, 1))).opened.resumed).toBe(false);
  });

  it('[LIVE19] an event that came after the loss is never skipped: the record is renewed, or there is none', async () => {
    const clock = new ManualClock();
    const resumes = createMemoryResumeStore({ clock });
    const first = await start({ clock, resumes });
    const second = await start({ clock, resumes });
    const [a, b] = [await first.open({}, { device: { id: 'a' } }), await first.open({}, { device: { id: 'b' } })];
    await lose(a.client, first);
    await lose(b.client, first);
    tell(1, first);
    await expect.poll(async () => (await resumes.take(a.opened.session)) === undefined).toBe(true);
    expect((await second.open({}, { device: { id: 'a' }, ...resumeOf(a.opened, 0) })).opened.resumed).toBe(false);
    clock.advance(250);
    await first.open();
    const { client } = await second.open({}, { device: { id: 'b' }, ...resumeOf(b.opened, 0) });
    expect((await client.find(({ seq }) => seq === 1)).params).toEqual({ n: 0 });
  });

  it('[LIVE19] the first node learns that a session is gone when it has something for it', async () => {
    const clock = new ManualClock();
    const resumes = createMemoryResumeStore({ clock });
    const first = await start({ clock, resumes });
    const second = await start({ clock, resumes });
    const { client, opened } = await first.open();
    await lose(client, first);
    expect((await second.open({}, resumeOf(opened, 0))).opened.resumed).toBe(true);
    expect(first.server.counts.sessions).toBe(1);
    tell(1, first);
    await expect.poll(() => first.server.counts.sessions).toBe(0);
  });

  it('[LIVE19] a stranger with the wrong secret does not destroy the record', async () => {
    const clock = new ManualClock();
    const resumes = createMemoryResumeStore({ clock });
    const first = await start({ clock, resumes });
    const second = await start({ clock, resumes });
    const { client, opened } = await first.open();
    await lose(client, first);
    await second.open({ userId: bob }, { resume: { session: opened.session, secret: 'guess', seq: 0 } });
    expect((await second.open({}, resumeOf(opened, 0))).opened.resumed).toBe(true);
  });

  it('[LIVE19] with the store away a session is resumed where it is and starts afresh elsewhere, and nothing breaks', async () => {
    const away = { put: () => Promise.reject(new Error('away')), take: () => Promise.reject(new Error('away')) };
    await start({ resumes: away });
    const { client, opened } = await live.open();
    await lose(client);
    expect((await live.open({}, resumeOf(opened, 0))).opened.resumed).toBe(true);
    expect((await live.open({}, { resume: { session: 'session_foreign', secret: 'x', seq: 0 } })).opened.resumed).toBe(false);
  });
});

describe('events', () => {
  it('[LIVE10] reach every session of the user and app but the one that caused them', async () => {
    await start();
    const [a, b] = [await live.open(), await live.open()];
    const { client: elsewhere } = await live.open({ appId: 'ma_other' });
    const { client: stranger } = await live.open({ userId: bob });
    live.bus.publish({
      userId: alice,
      appId: shop,
      exceptSession: a.opened.session,
      method: 'tween.storage.changed',
      params: { key: 'k' },
    });
    live.bus.publish({ userId: alice, method: 'tween.wallet.updated', params: {} });
    await b.client.event('tween.wallet.updated');
    expect(b.client.messages).toMatchObject([{ method: 'tween.storage.changed', seq: 1 }]);
    await a.client.event('tween.wallet.updated');
    await elsewhere.event('tween.wallet.updated');
    await stranger.settled();
    expect([a.client, elsewhere, stranger].map(({ messages }) => messages)).toEqual([[], [], []]);
  });

  it('[LIVE10] reach only sessions whose token could ask for what they tell', async () => {
    await start();
    const { client: reader } = await live.open({ scopes: ['storage:read'] });
    const { client: payer } = await live.open({ scopes: ['wallet:pay'] });
    const event = { userId: alice, appId: shop, scopes: ['storage:read', 'storage:list'], method: 'tween.storage.changed' };
    live.bus.publish({ ...event, params: { key: 'k' } });
    await reader.event('tween.storage.changed');
    await payer.settled();
    expect(payer.messages).toEqual([]);
  });
});
