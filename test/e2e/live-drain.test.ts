/** Stopping a node: clients are told, running requests end, sockets are closed with 1012, sessions can be resumed. */
import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryResumeStore } from '../../src/persistence/memory/resume-store.ts';
import { UpgradeRefused } from '../support/live-client.ts';
import { errorOf, type LiveServer, startLiveServer } from '../support/live-server.ts';
import { ManualClock } from '../support/manual-clock.ts';

const servers: LiveServer[] = [];

async function start(...args: Parameters<typeof startLiveServer>): Promise<LiveServer> {
  const server = await startLiveServer(...args);
  servers.push(server);
  return server;
}

afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});

/** Lets a drain go on: its timers are the clock's, its sockets are real. */
async function finish(live: LiveServer, draining: Promise<void>, stepMs = 20): Promise<void> {
  let done = false;
  void draining.then(() => {
    done = true;
  });
  while (!done) {
    live.clock.advance(stepMs);
    await fetch(`${live.origin}/healthz`);
  }
}

describe('a drain', () => {
  it('[LIVE40] tells every session when to come back, closes with 1012, and the session is resumed elsewhere', async () => {
    const clock = new ManualClock();
    const resumes = createMemoryResumeStore({ clock });
    const [leaving, other] = [await start({ clock, resumes }), await start({ clock, resumes })];
    const sessions = await Promise.all(Array.from({ length: 20 }, () => leaving.open()));
    const unopened = await leaving.connect();
    await finish(leaving, leaving.server.drain());
    expect((await unopened.closed).code).toBe(1012);
    const hints = new Set<number>();
    for (const { client, opened } of sessions) {
      expect(await client.closed).toEqual({ code: 1012, reason: 'draining' });
      const event = await client.event('tween.session.draining');
      hints.add(event.params.reconnect_after_ms);
      const { opened: resumed } = await other.open({}, { resume: { session: opened.session, secret: opened.secret, seq: event.seq } });
      expect(resumed.resumed).toBe(true);
    }
    expect(hints.size).toBeGreaterThan(5);
    expect(leaving.server.counts.sockets).toBe(0);
  });

  it('[LIVE40] a node among others is not ready first and takes clients until its balancers know', async () => {
    const live = await start({ drainNoticeMs: 400 });
    const { client: early } = await live.open();
    const draining = live.server.drain();
    live.clock.advance(399);
    expect((await fetch(`${live.origin}/readyz`)).status).toBe(503);
    const { client: late } = await live.open();
    expect((await late.call('tween.session.ping')).error).toBeUndefined();
    expect(early.socket.destroyed).toBe(false);
    live.clock.advance(1);
    await finish(live, draining);
    for (const client of [early, late]) expect((await client.closed).code).toBe(1012);
  });

  it('[LIVE40] lets running requests end before it closes', async () => {
    const live = await start();
    const { client } = await live.open();
    client.request('tween.storage.get', { key: 'hold' }, 'running');
    await client.settled();
    const draining = live.server.drain();
    await client.event('tween.session.draining');
    live.clock.advance(200);
    await client.settled();
    live.held[0]?.reply(null, { done: true });
    expect((await client.find(({ id }) => id === 'running')).result).toEqual({ done: true });
    await finish(live, draining);
    expect((await client.closed).code).toBe(1012);
  });

  it('[LIVE40] does not wait for ever: at its bound it closes all the same', async () => {
    const live = await start({ drainMs: 500 });
    const { client } = await live.open();
    client.request('tween.storage.get', { key: 'hold' });
    await client.settled();
    const draining = live.server.drain();
    live.clock.advance(480);
    await client.settled();
    live.clock.advance(20);
    await draining;
    expect((await client.closed).code).toBe(1012);
    live.held[0]?.reply(null, {});
  });

  it('[LIVE40] takes nobody new: upgrades get 503, opens under way SERVICE_UNAVAILABLE, readiness fails', async () => {
    const live = await start();
    const { client: busy } = await live.open();
    busy.request('tween.storage.get', { key: 'hold' });
    await busy.settled();
    expect((await fetch(`${live.origin}/readyz`)).status).toBe(200);
    const draining = live.server.drain();
    const refused = await live.connect().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UpgradeRefused);
    expect((refused as UpgradeRefused).status).toBe(503);
    expect((await fetch(`${live.origin}/readyz`)).status).toBe(503);
    expect((await fetch(`${live.origin}/healthz`)).status).toBe(200);
    live.held[0]?.reply(null, {});
    await finish(live, draining);
  });

  it('[LIVE40] closes at once when nobody is there, and twice is once', async () => {
    const live = await start();
    await Promise.all([live.server.drain(), live.server.drain()]);
    await live.server.close();
    await live.server.close();
  });

  it('[LIVE40] close without a drain ends sockets with 1012 too and leaves no timer behind', async () => {
    const live = await start();
    const { client } = await live.open();
    expect(errorOf(await client.call('no.such')).code).toBe(-32601);
    await live.server.close();
    expect((await client.closed).code).toBe(1012);
    await expect(fetch(`${live.origin}/healthz`)).rejects.toThrow();
  });
});
