/** Raw bytes against the HTTP port: framing that can be read in two ways, slow and silent peers, peers that leave. */
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ambiguous, hiding } from '../support/ambiguous-requests.ts';
import { type LiveServer, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

async function dial(): Promise<Socket> {
  const socket = connect(live.port, '127.0.0.1').setNoDelay(true);
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  return socket;
}

/** Everything the server sends until it closes, or until `done` likes it. */
function collect(socket: Socket, done: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (done(text)) resolve(text);
    });
    socket.on('close', () => resolve(text));
  });
}

const answers = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status as string);

describe('framing', () => {
  it.each(ambiguous)('[HTTP23] with %s never lets a hidden request through', async (what, headers, body) => {
    live = await startLiveServer();
    const socket = await dial();
    socket.write(hiding(what, headers, body, 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'));
    // A peer that the library leaves waiting is ended by its own patience, not by ours.
    const text = await Promise.race([collect(socket), fetch(`${live.origin}/healthz`).then(() => 'silence')]);
    socket.destroy();
    for (const status of answers(text)) expect(['400', '404', '505']).toContain(status);
    expect(answers(text).length).toBeLessThanOrEqual(1);
    // The request itself may be handled; a second one would be the hidden one.
    const handled = live.lines.filter(({ event, route }) => event === 'http.request' && route !== '/healthz');
    expect(handled.length).toBeLessThanOrEqual(1);
  });

  it('[HTTP23] an honest body is read, and the connection is used again', async () => {
    live = await startLiveServer();
    const socket = await dial();
    const token = live.token();
    const put = (value: string): string => {
      const body = JSON.stringify({ value });
      return `PUT /api/v1/storage/k HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    };
    let seen = 0;
    for (const value of ['1', '2', '3']) {
      const answered = collect(socket, (text) => text.includes('"version":'));
      const bytes = Buffer.from(put(value));
      // In pieces that end anywhere but in the first line, which the library wants whole.
      const line = bytes.indexOf('\r\n') + 2;
      socket.write(bytes.subarray(0, line));
      for (let at = line; at < bytes.length; at += 17) {
        await new Promise((resolve) => socket.write(bytes.subarray(at, at + 17), resolve));
        await fetch(`${live.origin}/healthz`);
      }
      expect(await answered).toContain(`"version":${++seen}`);
    }
    socket.destroy();
  });

  it('[HTTP24] a refused body is read to its end, so that the answer arrives', async () => {
    live = await startLiveServer();
    const socket = await dial();
    const body = Buffer.alloc(1024 * 1024);
    socket.write(`POST /api/v1/auth/revoke HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
    socket.write(body);
    socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answers(await collect(socket, (text) => answers(text).length === 2))).toEqual(['401', '200']);
    socket.destroy();
  });
});

describe('peers that are slow or leave', () => {
  it('[HTTP25][S1][S2] header drips, body drips and silence are ended within 12 s; others are served meanwhile', {
    timeout: 30_000,
  }, async () => {
    live = await startLiveServer();
    const began = performance.now();
    const sockets = await Promise.all(Array.from({ length: 300 }, () => dial()));
    const drips = sockets.map((socket, index) => {
      if (index % 3 === 0) socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n');
      if (index % 3 === 1) socket.write('PUT /api/v1/storage/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n');
      const timer = setInterval(() => index % 3 !== 2 && socket.write(index % 3 === 0 ? 'X: y\r\n' : ' '), 1_000);
      return new Promise<void>((resolve) => {
        // An early answer to the bodies is as good an end as any.
        socket.resume().on('close', () => {
          clearInterval(timer);
          resolve();
        });
      });
    });
    let done = false;
    const all = Promise.all(drips).then(() => {
      done = true;
    });
    while (!done) {
      const one = performance.now();
      expect((await fetch(`${live.origin}/healthz`)).status).toBe(200);
      expect(performance.now() - one).toBeLessThan(1_000);
      await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 250))]);
    }
    expect(performance.now() - began).toBeLessThan(16_000);
  });

  it('[HTTP26] a client that leaves before its answer hurts nobody', async () => {
    live = await startLiveServer();
    const token = live.token();
    for (let i = 0; i < 30; i++) {
      const socket = await dial();
      const body = JSON.stringify({ reason: 'hold' });
      socket.write(
        `POST /api/v1/auth/revoke HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${i % 2 === 0 ? body : body.slice(0, 5)}`,
      );
      if (i % 3 === 0) await fetch(`${live.origin}/healthz`);
      socket.destroy();
    }
    await expect.poll(() => live.held.length).toBeGreaterThan(0);
    for (const message of live.held.splice(0)) message.reply(null, { late: true });
    expect((await fetch(`${live.origin}/healthz`)).status).toBe(200);
    expect(live.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('[HTTP27] connections past the bound are closed, and there is room again when some leave', async () => {
    live = await startLiveServer({ maxConnections: 1 });
    const sockets: Socket[] = [];
    for (let i = 0; i < 1_010; i++) sockets.push(await dial());
    await expect
      .poll(() => sockets.filter((socket) => socket.destroyed || socket.readableEnded || socket.closed).length)
      .toBeGreaterThan(0);
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await fetch(`${live.origin}/healthz`).catch(() => undefined))?.status).toBe(200);
  });
});
