/** Frames that are too large, or that never end: what they cost the server and everybody else. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import { clientFrame, type LiveClient, opcode } from '../support/live-client.ts';
import { type LiveServer, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

const mebi = 1024 * 1024;
const write = (client: LiveClient, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve) => client.socket.write(bytes, () => resolve()));

/** `count` one-byte fragments, the first of a message and then continuations; the last one ends it when `ends`. */
function bytewise(count: number, ends: boolean): Buffer {
  const frames = Buffer.alloc(count * 7);
  for (let i = 0; i < count; i++) {
    frames[i * 7] = (i === 0 ? opcode.binary : opcode.continuation) | (ends && i === count - 1 ? 0x80 : 0);
    frames[i * 7 + 1] = 0x80 | 1;
  }
  return frames;
}

describe('a frame that is too large', () => {
  it('[LIVE20][S3] in fragments of one byte closes with 1009, before the open and after it, and at the bound does not', async () => {
    live = await startLiveServer();
    const before = await live.connect();
    await write(before, bytewise(limits.frameBytesBeforeOpen, true));
    // Zeros are no message, and were read as one.
    expect((await before.find(({ id }) => id === null)).error?.code).toBe(-32700);
    await write(before, bytewise(limits.frameBytesBeforeOpen + 1, true));
    expect((await before.closed).code).toBe(1009);
    const { client } = await live.open();
    const { client: other } = await live.open();
    const rss = process.memoryUsage().rss;
    await write(client, bytewise(limits.frameBytes + 1, true));
    expect((await client.closed).code).toBe(1009);
    await other.settled();
    // The frames themselves, in this same process, are 14 MiB.
    expect(process.memoryUsage().rss - rss).toBeLessThan(128 * mebi);
  });

  it('[LIVE20][S3] past 4 MiB is cut when it is announced: nothing of it is kept, however many announce one', async () => {
    live = await startLiveServer();
    const { client: other } = await live.open();
    const clients = await Promise.all(Array.from({ length: 100 }, () => live.connect()));
    const rss = process.memoryUsage().rss;
    for (const client of clients) client.frame(opcode.binary, Buffer.alloc(0), { length: 4 * mebi + 1 });
    for (const client of clients) expect(await client.closed).toEqual({ code: 1006, reason: '' });
    await other.settled();
    expect(live.server.counts.sockets).toBe(1);
    expect(process.memoryUsage().rss - rss).toBeLessThan(64 * mebi);
  });

  it('[LIVE20][S3] past 4 MiB in fragments is cut when they add up to it', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const part = Buffer.alloc(mebi);
    client.frame(opcode.binary, part, { fin: false });
    for (let i = 0; i < 4; i++) client.frame(opcode.continuation, part, { fin: false });
    expect((await client.closed).code).toBe(1006);
  });
});

describe('a message that never ends', () => {
  const empties = Buffer.concat(Array.from({ length: 10_000 }, () => clientFrame(opcode.continuation, Buffer.alloc(0), { fin: false })));

  it('[LIVE9][S4] of a million empty fragments costs no memory and keeps nobody else from being answered', {
    timeout: 60_000,
  }, async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const { client: other } = await live.open();
    client.frame(opcode.binary, Buffer.alloc(0), { fin: false });
    await write(client, empties);
    await other.settled();
    const rss = process.memoryUsage().rss;
    let flooding = true;
    const asking = (async () => {
      let answers = 0;
      for (; flooding; answers++) expect((await other.call('tween.session.ack', { seq: 0 })).error).toBeUndefined();
      return answers;
    })();
    for (let i = 0; i < 99; i++) await write(client, empties);
    flooding = false;
    expect(await asking).toBeGreaterThan(0);
    expect(process.memoryUsage().rss - rss).toBeLessThan(32 * mebi);
    // Every one of them was read: the message that they are part of ends as it should.
    client.frame(opcode.continuation, Buffer.from([0xc1]));
    expect((await client.find(({ id }) => id === null)).error?.code).toBe(-32700);
  });

  it('[LIVE9][S4] is ended by the deadline: fragments are no sign of life', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.answerPings = false;
    client.frame(opcode.binary, Buffer.alloc(0), { fin: false });
    for (let waited = 0; waited < limits.silentCloseMs + 1_000; waited += 1_000) {
      await write(client, empties.subarray(0, 600));
      await fetch(`${live.origin}/healthz`);
      live.clock.advance(1_000);
      if (waited === limits.silentCloseMs - 1_000) expect(client.socket.closed).toBe(false);
    }
    expect((await client.closed).code).toBe(1006);
    expect(live.server.counts.detached).toBe(1);
  });

  it('[LIVE6][S4] is ended five seconds after the upgrade where no session was opened, pongs or not', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    client.frame(opcode.binary, Buffer.alloc(0), { fin: false });
    for (let second = 0; second < 6; second++) {
      client.frame(opcode.pong, Buffer.alloc(0));
      await write(client, empties.subarray(0, 600));
      await fetch(`${live.origin}/healthz`);
      live.clock.advance(1_000);
    }
    expect((await client.closed).code).toBe(4408);
  });
});
