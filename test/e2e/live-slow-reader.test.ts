/** A peer that does not read what it is sent: the server's memory is bounded, others do not notice, nothing is dropped silently. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import type { LiveClient } from '../support/live-client.ts';
import { alice, type LiveServer, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

const mebi = 1024 * 1024;

/** Asks for answers that the client does not read until reading has stopped on the server's side. */
async function stall(client: LiveClient, bytes: number): Promise<void> {
  // An actor that is awake answers in turn; one that must be loaded first would answer all at once.
  await client.call('tween.storage.get', { key: 'a' });
  client.socket.pause();
  for (let asked = 0; asked < bytes; asked += mebi) client.request('tween.storage.get', { key: `big:${mebi}` }, `big${asked}`);
  await new Promise<void>((resolve) => client.socket.write('', () => resolve()));
  const { client: other } = await live.open();
  // Another session's round trips show that the server handled what was sent before.
  for (let i = 0; i < 40; i++) await other.settled();
}

describe('a slow reader', () => {
  it('[LIVE37] is not read past 1 MiB, and goes on where it was when it reads again', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    await stall(client, 24 * mebi);
    client.request('tween.storage.set', { key: 'held', value: '1' }, 'after');
    const { client: other } = await live.open();
    for (let i = 0; i < 10; i++) await other.settled();
    expect(live.journal.committed).toEqual([]);
    client.socket.resume();
    expect((await client.find(({ id }) => id === 'after')).result.version).toBe(1);
    expect(client.messages.filter(({ id }) => String(id).startsWith('big'))).toHaveLength(24);
  });

  it('[LIVE37][S17] is closed with 1013 when it stays behind for 30 s, not before', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    await stall(client, 24 * mebi);
    live.clock.advance(limits.closeAfterPausedMs - 1_000);
    expect(live.server.counts.detached).toBe(0);
    live.clock.advance(1_500);
    expect(live.server.counts.detached).toBe(1);
    client.socket.resume();
    expect(await client.closed).toEqual({ code: 1013, reason: 'too far behind' });
    expect((await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } })).opened.resumed).toBe(true);
  });

  it('[LIVE38][S17] is closed with 1013 past 8 MiB, and what was answered before is delivered', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    await client.call('tween.storage.get', { key: 'a' });
    // Answers that were already under way when reading stopped: they cannot be held back.
    for (let i = 0; i < 40; i++) client.request('tween.storage.get', { key: `hold-${i}` }, i);
    await client.settled();
    client.socket.pause();
    const value = 'x'.repeat(mebi);
    for (const message of live.held.splice(0)) message.reply(null, { value });
    expect(live.server.counts.detached).toBe(1);
    client.socket.resume();
    expect((await client.closed).code).toBe(1013);
    expect(client.messages.length).toBeGreaterThan(8);
    expect(client.messages.map(({ id }) => id)).toEqual(client.messages.map((_, i) => i));
  });

  it('[LIVE38] one answer above the bound reaches a client that reads', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    expect((await client.call('tween.storage.get', { key: `big:${12 * mebi}` })).result.value).toHaveLength(12 * mebi);
    await client.settled();
  });

  it('[LIVE39] events wait for it within the replay bound and arrive in order', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    await stall(client, 24 * mebi);
    for (let n = 1; n <= 1_000; n++) live.bus.publish({ userId: alice, method: 'tween.wallet.updated', params: { n } });
    client.socket.resume();
    await client.find(({ seq }) => seq === 1_000);
    expect(client.messages.filter(({ method }) => method !== undefined).map(({ seq, params }) => [seq, params.n])).toEqual(
      Array.from({ length: 999 }, (_, i) => [i + 1, i + 1]),
    );
  });

  it('[LIVE39] events of one key wait as one, the newest', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    await stall(client, 24 * mebi);
    for (let n = 1; n <= 5_000; n++) live.bus.publish({ userId: alice, method: 'tween.wallet.updated', params: { n }, key: 'wallet' });
    client.socket.resume();
    expect(await client.event('tween.wallet.updated')).toMatchObject({ seq: 1, params: { n: 5_000 } });
    await client.settled();
    expect(client.messages.filter(({ method }) => method !== undefined)).toEqual([]);
  });

  it('[LIVE39] is closed when events had to be dropped, and told so by its resume', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    await stall(client, 24 * mebi);
    for (let n = 1; n <= 1_001; n++) live.bus.publish({ userId: alice, method: 'tween.wallet.updated', params: { n } });
    client.socket.resume();
    expect((await client.closed).code).toBe(1013);
    expect((await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } })).opened.resumed).toBe(false);
  });

  it('[LIVE37] that sends on and on is closed when too much waits', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    await stall(client, 24 * mebi);
    for (let i = 0; i < 200; i++) client.notify('tween.session.ack', { seq: 0 });
    await expect.poll(() => live.server.counts.sockets).toBeLessThan(2);
    client.socket.resume();
    expect((await client.closed).code).toBe(1013);
  });

  it('[LIVE39] 100 of them under broadcast keep the memory of the server within their bounds', async () => {
    live = await startLiveServer();
    const { client: reader } = await live.open();
    const stalled = await Promise.all(Array.from({ length: 100 }, () => live.open()));
    for (const { client } of stalled) client.socket.pause();
    const before = process.memoryUsage().rss;
    const text = 'x'.repeat(10_000);
    let seen = 0;
    for (let n = 1; n <= 3_000; n++) {
      live.bus.publish({ userId: alice, method: 'tween.wallet.updated', params: { text, n }, key: 'wallet' });
      if (n % 50 !== 0) continue;
      await reader.find(({ params }) => params?.n === n);
      reader.messages.length = 0;
      reader.notify('tween.session.ack', { seq: n });
      seen = n;
    }
    expect(seen).toBe(3_000);
    // 30 MB were published to each; kernel buffers of this same process take their part.
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 5 * mebi);
  });
});
