/** Many at once, and compression that nobody asked for: rows S5 and S15 of the threat catalogue, against the whole server. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allScopes, type DevApp, startDevApp } from '../support/dev-app.ts';

let app: DevApp;

beforeAll(async () => {
  app = await startDevApp();
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
});

describe('compression', () => {
  it('is declined when offered, and a frame that says it is compressed ends the connection [S5]', async () => {
    const { port } = new URL(app.origin);
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      `GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n`,
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).toContain('101 Switching Protocols');
    expect(head.toString().toLowerCase()).not.toContain('sec-websocket-extensions');
    const ended = once(socket, 'close');
    // FIN, RSV1, binary; masked with zeroes; four bytes that would inflate.
    socket.write(Buffer.from([0xc2, 0x84, 0, 0, 0, 0, 0x4b, 0x04, 0x00, 0x00]));
    socket.on('data', () => {});
    await ended;
  });
});

describe('a storm of connections', () => {
  it('opens every session, while one that was there is answered throughout [S15]', async () => {
    const resident = await app.client('@alice:tween.example', allScopes);
    await resident.call('tween.storage.set', { key: 'here', value: 'still' });
    let storming = true;
    let answers = 0;
    const asking = (async () => {
      while (storming) {
        expect((await resident.call('tween.storage.get', { key: 'here' })).value).toBe('still');
        answers++;
      }
    })();
    const storm = await Promise.all(Array.from({ length: 200 }, () => app.client('@bob:tween.example', ['storage:read'])));
    storming = false;
    await asking;
    expect(storm.every((client) => client.state === 'open')).toBe(true);
    expect(answers).toBeGreaterThan(0);
  });
});
