/** The session of the live binding over real sockets: opening, `tween.session.*`, expiry, revocation, every close code but those of slow readers. */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import { type LiveClient, opcode, UpgradeRefused } from '../support/live-client.ts';
import { alice, bob, errorOf, type LiveServer, shop, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

/** Lets time pass for a client that is there: it answers pings. */
async function pass(ms: number, client: LiveClient): Promise<void> {
  for (let left = ms; left > 0; left -= 20_000) {
    live.clock.advance(Math.min(left, 20_000));
    await client.settled();
  }
}

async function refusal(options: Parameters<LiveServer['connect']>[0]): Promise<UpgradeRefused> {
  const error = await live.connect(options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof UpgradeRefused)) throw new Error(`the upgrade was not refused: ${String(error)}`);
  return error;
}

describe('the upgrade', () => {
  it('[LIVE41] takes MessagePack when no subprotocol is offered, and the first known one otherwise', async () => {
    live = await startLiveServer();
    expect((await live.connect()).subprotocol).toBe('');
    expect((await live.connect({ protocol: 'tmcp.json.v1' })).subprotocol).toBe('tmcp.json.v1');
    expect((await live.connect({ protocol: 'other, tmcp.msgpack.v1, tmcp.json.v1' })).subprotocol).toBe('tmcp.msgpack.v1');
    expect((await refusal({ protocol: 'graphql-ws, constructor' })).status).toBe(400);
  });

  it('[LIVE42][S19] refuses a foreign origin with 403 and takes an allowed one', async () => {
    live = await startLiveServer();
    expect((await refusal({ headers: { Origin: 'https://evil.example' } })).status).toBe(403);
    expect((await refusal({ headers: { Origin: 'https://shop.example.evil' } })).status).toBe(403);
    await live.connect({ headers: { Origin: 'https://shop.example' } });
    await live.connect();
  });

  it('[LIVE43] answers a bad token of the upgrade with 401 and opens with a good one', async () => {
    live = await startLiveServer();
    for (const header of ['Bearer tep.nobody', 'Basic abc', 'Bearer ', 'Bearer a b']) {
      const refused = await refusal({ headers: { Authorization: header } });
      expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, 'Bearer']);
      expect(JSON.parse(refused.body)).toMatchObject({ error: { code: 'INVALID_TOKEN' } });
    }
    const client = await live.connect({ headers: { Authorization: `bearer ${live.token()}` } });
    expect((await client.call('tween.session.open')).result).toMatchObject({ user_id: alice, app_id: shop, resumed: false });
  });

  it('[LIVE44] never takes credentials from the address, and wants a handshake of version 13', async () => {
    live = await startLiveServer();
    expect((await refusal({ path: `/v1/live?token=${live.token()}` })).status).toBe(400);
    expect((await refusal({ path: '/v1/live?access_token=tep.x' })).status).toBe(400);
    expect((await refusal({ headers: { 'Sec-WebSocket-Version': '8' } })).status).toBe(400);
    expect((await refusal({ headers: { Upgrade: 'h2c' } })).status).toBe(400);
    const plain = await fetch(`${live.origin}/v1/live`);
    expect([plain.status, plain.headers.get('upgrade')]).toEqual([426, 'websocket']);
  });

  it('[LIVE45] refuses sockets past the bound of the node and of one address with 503 and a hint', async () => {
    live = await startLiveServer({ maxConnections: 2 });
    await live.connect();
    const second = await live.connect();
    const refused = await refusal({});
    expect(refused.status).toBe(503);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    second.cut();
    await second.closed;
    await expect.poll(() => live.server.counts.sockets).toBe(1);
    await live.connect();
    await live[Symbol.asyncDispose]();

    live = await startLiveServer({ maxConnectionsPerIp: 1, trustProxyHops: 1 });
    const from = (ip: string) => ({ headers: { 'X-Forwarded-For': `9.9.9.9, ${ip}` } });
    const first = await live.connect(from('10.0.0.1'));
    expect((await refusal(from('10.0.0.1'))).status).toBe(503);
    await live.connect(from('10.0.0.2'));
    first.cut();
    await expect.poll(() => live.server.counts.sockets).toBe(1);
    await live.connect(from('10.0.0.1'));
  });

  it('[LIVE46] survives a client that leaves while its token is verified', async () => {
    live = await startLiveServer();
    const release = live.holdVerification();
    const token = live.token();
    const attempts = Array.from({ length: 20 }, () =>
      live.connect({ headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined),
    );
    const sockets = await Promise.all(Array.from({ length: 20 }, () => rawUpgrade(live.port, token)));
    for (const socket of sockets) socket.destroy();
    await fetch(`${live.origin}/healthz`);
    release();
    await Promise.all(attempts);
    expect((await live.open()).opened.resumed).toBe(false);
  });
});

async function rawUpgrade(port: number, token: string) {
  const { connect } = await import('node:net');
  const socket = connect(port, '127.0.0.1');
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  socket.write(
    `GET /v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer ${token}\r\n\r\n`,
  );
  return socket;
}

describe('opening', () => {
  it('[LIVE2] answers with everything the client needs to know', async () => {
    live = await startLiveServer();
    const { opened } = await live.open({ scopes: ['storage:read'] }, { device: { id: 'phone' }, client: { name: 'test', version: '1' } });
    expect(opened).toMatchObject({
      resumed: false,
      seq: 0,
      user_id: alice,
      app_id: shop,
      scopes: ['storage:read'],
      expires_at: '2026-01-01T01:00:00.000Z',
      server_time: '2026-01-01T00:00:00.000Z',
      heartbeat_ms: 30_000,
      limits: { frame_bytes: 2_097_152, in_flight: 64, batch: 64 },
      durable: { write: 0, db_epoch: 'epoch-1' },
      node: 'node_test',
    });
    expect(opened.session).toMatch(/^session_[a-z2-7]{26}$/);
    expect(Buffer.from(opened.secret, 'base64url')).toHaveLength(32);
  });

  it('[LIVE3] gives every open a new session and secret', async () => {
    live = await startLiveServer();
    const [a, b] = [await live.open(), await live.open()];
    expect(a.opened.session).not.toBe(b.opened.session);
    expect(a.opened.secret).not.toBe(b.opened.secret);
  });

  it('[LIVE4] refuses every other method before a successful open with INVALID_TOKEN', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    for (const method of ['tween.storage.get', 'tween.session.ping', 'no.such.method']) {
      expect(errorOf(await client.call(method))).toMatchObject({ code: -32401, data: { code: 'INVALID_TOKEN', retryable: false } });
    }
    const refused = errorOf(await client.call('tween.session.open', { token: 'tep.wrong' }));
    expect(refused).toMatchObject({ code: -32401, data: { code: 'INVALID_TOKEN' } });
    expect(refused.data.request_id).toMatch(/^req_/);
    expect(errorOf(await client.call('tween.session.open')).data.code).toBe('INVALID_TOKEN');
    expect((await client.call('tween.session.open', { token: live.token() })).result.resumed).toBe(false);
  });

  it('[LIVE4] closes with 4401 at the third refused open', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    for (let i = 0; i < 3; i++) client.request('tween.session.open', { token: 'tep.wrong' });
    expect((await client.closed).code).toBe(4401);
    expect(client.messages).toHaveLength(3);
  });

  it('[LIVE4] refuses an open with bad parameters and lets the client try again', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    const bad = [
      { token: 1 },
      { token: 'x' },
      { device: { id: '' } },
      { device: { id: 'a'.repeat(129) } },
      { surprise: 1 },
      { resume: { session: 'a', secret: 'b', seq: -1 } },
    ];
    for (const params of bad)
      expect(errorOf(await client.call('tween.session.open', { token: live.token(), ...params }))).toMatchObject({
        code: -32602,
        data: { code: 'INVALID_REQUEST' },
      });
    expect((await client.call('tween.session.open', { token: live.token(), device: { id: 'a'.repeat(128) } })).result.resumed).toBe(false);
  });

  it('[LIVE4] starts what was sent behind the open only when it is open, in order', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    const release = live.holdVerification();
    client.request('tween.session.open', { token: live.token() }, 'open');
    client.request('tween.storage.set', { key: 'a', value: '1' }, 'set');
    client.request('tween.storage.get', { key: 'a' }, 'get');
    await fetch(`${live.origin}/healthz`);
    expect(client.messages).toEqual([]);
    release();
    expect((await client.find(({ id }) => id === 'get')).result.value).toBe('1');
    expect(client.messages.map(({ id }) => id)).toContain('open');
  });

  it('[LIVE5] refuses a second open on an open session with INVALID_STATE', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    expect(errorOf(await client.call('tween.session.open', { token: live.token() }))).toMatchObject({
      code: -32409,
      data: { code: 'INVALID_STATE' },
    });
    expect((await client.call('tween.session.ping')).result.server_time).toBe('2026-01-01T00:00:00.000Z');
  });

  it('[LIVE6] closes a socket that did not open in time with 4408, not before 5 s and within 6', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    const { client: other } = await live.open();
    live.clock.advance(4_999);
    await other.settled();
    expect(client.socket.closed).toBe(false);
    live.clock.advance(501);
    expect(await client.closed).toEqual({ code: 4408, reason: 'not opened in time' });
    await other.settled();
  });

  it('[LIVE6][S18] sheds 300 silent sockets and keeps those that are open', async () => {
    live = await startLiveServer();
    const silent = await Promise.all(Array.from({ length: 300 }, () => live.connect()));
    const { client } = await live.open();
    live.clock.advance(6_000);
    expect(new Set((await Promise.all(silent.map(({ closed }) => closed))).map(({ code }) => code))).toEqual(new Set([4408]));
    await client.settled();
  });

  it('[LIVE4] closes with 4400 a peer that keeps asking without opening', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    for (let i = 0; i < 101; i++) client.request('tween.storage.get', { key: 'a' });
    expect((await client.closed).code).toBe(4400);
    expect(client.messages).toHaveLength(100);
  });
});

describe('tween.session.*', () => {
  it('[LIVE26] ping tells the time, close ends the session for good', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    expect((await client.call('tween.session.close', { reason: 'done' })).result).toEqual({ closed: true });
    expect((await client.closed).code).toBe(1000);
    expect(live.server.counts.sessions).toBe(0);
    const again = await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } });
    expect(again.opened.resumed).toBe(false);
  });

  it('[LIVE25] checks the parameters of its operations', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    for (const [method, params] of [
      ['tween.session.ack', { seq: -1 }],
      ['tween.session.ack', {}],
      ['tween.session.ping', { a: 1 }],
      ['tween.session.refresh', {}],
      ['tween.session.close', { reason: 1 }],
    ] as const) {
      expect(errorOf(await client.call(method, params))).toMatchObject({ code: -32602, data: { code: 'INVALID_REQUEST' } });
    }
  });

  it('[LIVE27] refresh swaps the token of the same user and app and nobody else', async () => {
    live = await startLiveServer();
    const { client } = await live.open({ livesMs: 120_000, scopes: ['storage:read'] });
    expect(errorOf(await client.call('tween.storage.set', { key: 'a', value: 'b' })).data.code).toBe('INSUFFICIENT_PERMISSIONS');
    for (const grant of [{ userId: bob }, { appId: 'ma_other' }]) {
      expect(errorOf(await client.call('tween.session.refresh', { token: live.token(grant) })).data.code).toBe('INVALID_TOKEN');
    }
    expect(errorOf(await client.call('tween.session.refresh', { token: 'tep.wrong' })).data.code).toBe('INVALID_TOKEN');
    const refreshed = await client.call('tween.session.refresh', { token: live.token({ scopes: ['storage:write'] }) });
    expect(refreshed.result).toEqual({ expires_at: '2026-01-01T01:00:00.000Z', scopes: ['storage:write'] });
    expect((await client.call('tween.storage.set', { key: 'a', value: 'b' })).result.version).toBe(1);
    expect(errorOf(await client.call('tween.storage.get', { key: 'a' })).data.code).toBe('INSUFFICIENT_PERMISSIONS');
    await pass(130_000, client);
  });
});

describe('expiry and revocation', () => {
  it('[LIVE7] tells 60 s before and closes with 4401 at expiry', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open({ livesMs: 90_000 });
    live.clock.advance(29_500);
    await client.settled();
    expect(client.messages).toEqual([]);
    live.clock.advance(500);
    expect(await client.event('tween.session.expiring')).toMatchObject({ seq: 1, params: { expires_at: opened.expires_at } });
    live.clock.advance(59_000);
    await client.settled();
    live.clock.advance(1_000);
    expect((await client.closed).code).toBe(4401);
    expect(client.messages).toEqual([]);
  });

  it('[LIVE7] refuses the next frame of an expired token even before the clock ticks', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    live.clock.jump(3_600_000);
    client.request('tween.storage.set', { key: 'late', value: 'x' });
    expect((await client.closed).code).toBe(4401);
    expect(live.journal.committed).toEqual([]);
  });

  it('[LIVE7] a refreshed token moves the expiry, and the notice comes again', async () => {
    live = await startLiveServer();
    const { client } = await live.open({ livesMs: 61_000 });
    live.clock.advance(1_000);
    await client.event('tween.session.expiring');
    await client.call('tween.session.refresh', { token: live.token({ livesMs: 120_000 }) });
    await pass(60_000, client);
    expect((await client.event('tween.session.expiring')).seq).toBe(2);
    await pass(59_000, client);
    live.clock.advance(1_000);
    expect((await client.closed).code).toBe(4401);
  });

  it.each([
    ['the token', { tokenId: 'token_1' }],
    ['the grant', { grantId: `grant_${alice}_${shop}` }],
    ['the user and app', { userId: alice, appId: shop }],
    ['the user', { userId: alice }],
  ])('[LIVE17] closes with 4403 when %s is revoked, and nobody else', async (_what, revocation) => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    const { client: other } = await live.open({ userId: bob });
    live.revoke(revocation);
    expect(await client.closed).toEqual({ code: 4403, reason: 'access revoked' });
    await other.settled();
    expect(live.server.counts.sessions).toBe(1);
    const stranger = await live.connect();
    const answer = await stranger.call('tween.session.open', {
      token: live.token({ userId: bob }),
      resume: { session: opened.session, secret: opened.secret, seq: 0 },
    });
    expect(answer.result.resumed).toBe(false);
  });

  it('[LIVE17] refuses an open whose token is revoked while it is verified', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    const release = live.holdVerification();
    client.request('tween.session.open', { token: live.token() }, 'open');
    await fetch(`${live.origin}/healthz`);
    live.revoke({ userId: alice, appId: shop });
    release();
    expect(errorOf(await client.find(({ id }) => id === 'open')).data.code).toBe('INVALID_TOKEN');
    expect(live.server.counts.sessions).toBe(0);
  });

  it('[LIVE17] a session without a socket dies with its grant', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    client.cut();
    await expect.poll(() => live.server.counts.detached).toBe(1);
    live.revoke({ userId: alice });
    expect(live.server.counts.sessions).toBe(0);
    await expect.poll(() => live.resumes.take(opened.session)).toBeUndefined();
  });
});

describe('heartbeat', () => {
  it('[LIVE8][S16] pings every 30 s and closes a peer that was silent for 75 s', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const { client: mute } = await live.open();
    mute.answerPings = false;
    for (let s = 0; s < 60; s += 1) {
      live.clock.advance(1_000);
      if (s === 29 || s === 59) await expect.poll(() => client.pings).toBe(s === 29 ? 1 : 2);
    }
    await expect.poll(() => mute.pings).toBe(2);
    expect(live.server.counts.sockets).toBe(2);
    await client.settled();
    live.clock.advance(15_000);
    expect(live.server.counts.sockets).toBe(2);
    live.clock.advance(1_000);
    expect((await mute.closed).code).toBe(1006);
    await client.settled();
    expect(live.server.counts).toEqual({ sockets: 1, sessions: 2, detached: 1 });
  });

  it('[LIVE8] any frame of the peer counts as a sign of life', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.answerPings = false;
    for (let i = 0; i < 5; i++) {
      live.clock.advance(50_000);
      await client.settled();
    }
    expect(client.pings).toBeGreaterThan(5);
  });

  it('[LIVE9][S2] a byte now and then inside one frame is not a sign of life', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.answerPings = false;
    client.frame(opcode.binary, Buffer.from('a'), { length: 1_000 });
    for (let i = 0; i < 8; i++) {
      live.clock.advance(10_000);
      client.socket.write('a');
      await fetch(`${live.origin}/healthz`);
    }
    expect((await client.closed).code).toBe(1006);
  });
});

describe('protocol violations', () => {
  it('[LIVE20] takes a frame of 2 MiB and closes with 1009 past it', async () => {
    live = await startLiveServer();
    const { client, opened } = await live.open();
    client.frame(opcode.binary, Buffer.alloc(limits.frameBytes));
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32700);
    client.frame(opcode.binary, Buffer.alloc(limits.frameBytes + 1));
    expect(await client.closed).toEqual({ code: 1009, reason: 'frame too large' });
    const again = await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } });
    expect(again.opened.resumed).toBe(true);
  });

  it('[LIVE20][S3] counts fragments together', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const half = Buffer.alloc(limits.frameBytes / 2);
    client.frame(opcode.binary, half, { fin: false });
    client.frame(opcode.continuation, half, { fin: false });
    client.frame(opcode.continuation, Buffer.alloc(1));
    expect((await client.closed).code).toBe(1009);
  });

  it('[LIVE20] before the open takes 8 KiB and not a byte more', async () => {
    live = await startLiveServer();
    const client = await live.connect();
    client.frame(opcode.binary, Buffer.alloc(limits.frameBytesBeforeOpen));
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32700);
    client.frame(opcode.binary, Buffer.alloc(limits.frameBytesBeforeOpen + 1));
    expect((await client.closed).code).toBe(1009);
  });

  it('[LIVE21] answers an undecodable frame with id null and closes at the third within a minute with 4400', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.frame(opcode.binary, Buffer.from([0xc1]));
    expect(errorOf(await client.find(({ id }) => id === null))).toMatchObject({ code: -32700, data: { code: 'INVALID_REQUEST' } });
    client.frame(opcode.text, Buffer.from('{}'));
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32700);
    await client.settled();
    live.clock.advance(60_000);
    client.frame(opcode.binary, Buffer.from([0xc1]));
    client.frame(opcode.binary, Buffer.from([0xc1]));
    await client.settled();
    client.frame(opcode.binary, Buffer.from([0xc1]));
    expect((await client.closed).code).toBe(4400);
  });

  it('[LIVE21] a binary frame on a JSON socket is undecodable, and JSON is spoken there', async () => {
    live = await startLiveServer();
    const { client } = await live.open({}, {}, { protocol: 'tmcp.json.v1' });
    client.frame(opcode.binary, Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tween.session.ping"}'));
    expect(await client.find(({ id }) => id === null)).toMatchObject({ jsonrpc: '2.0', error: { code: -32700 } });
    expect(await client.call('tween.storage.set', { key: 'ключ', value: '\ud83d\ude00' })).toMatchObject({
      jsonrpc: '2.0',
      result: { version: 1 },
    });
    expect((await client.call('tween.storage.get', { key: 'ключ' })).result.value).toBe('\ud83d\ude00');
  });

  it('[LIVE22] answers what is no request with -32600 and an unknown method with -32601', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.send({ id: 7 });
    expect(errorOf(await client.find(({ id }) => id === 7))).toMatchObject({ code: -32600, data: { code: 'INVALID_REQUEST' } });
    client.send('text');
    expect(errorOf(await client.find(({ id }) => id === null)).code).toBe(-32600);
    expect(errorOf(await client.call('tween.no.such'))).toMatchObject({ code: -32601, data: { code: 'NOT_FOUND' } });
    for (const name of ['constructor', '__proto__', 'timer.fired', 'xstate.after.1'])
      expect(errorOf(await client.call(name)).code).toBe(-32601);
  });

  it('[LIVE29][S22] closes a peer that floods with control frames and leaves others alone', async () => {
    live = await startLiveServer();
    const { client } = await live.open();
    const { client: other } = await live.open();
    for (let i = 0; i < 199; i++) client.frame(opcode.ping, Buffer.alloc(0));
    await expect.poll(() => client.pongs).toBe(199);
    live.clock.advance(10_000);
    for (let i = 0; i < 200; i++) client.frame(opcode.ping, Buffer.alloc(0));
    expect((await client.closed).code).toBe(4429);
    await other.settled();
  });

  it.each([
    ['an unmasked frame', Buffer.from([0x82, 0x01, 0x00])],
    ['a reserved opcode', Buffer.from([0x83, 0x80, 0, 0, 0, 0])],
    ['a fragmented ping', Buffer.from([0x09, 0x80, 0, 0, 0, 0])],
    ['a continuation of nothing', Buffer.from([0x80, 0x80, 0, 0, 0, 0])],
    ['reserved bits', Buffer.from([0xf2, 0x80, 0, 0, 0, 0])],
    ['a close code out of range', Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0, 5])],
    ['a length of 2^62', Buffer.from([0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
  ])('[LIVE29] ends a connection that breaks RFC 6455 with %s', async (_what, bytes) => {
    live = await startLiveServer();
    const { client } = await live.open();
    client.socket.write(bytes);
    // An unmasked frame is only seen as one when more follows.
    client.socket.write(Buffer.alloc(64));
    await client.closed;
    expect((await live.open()).opened.resumed).toBe(false);
  });
});
