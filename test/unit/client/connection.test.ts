/** The life of the connection: opening, resuming, waiting as the server says, and ending. */
import { describe, expect, it } from 'vitest';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { LivePeer, turn } from './live-peer.ts';
import { newWorld, openWorld, outcomeOf, pass, useFakeTime } from './world.ts';

useFakeTime();

describe('connecting', () => {
  it('opens a session with the token, the device and the client’s name', async () => {
    const { peer, client, states } = await openWorld({ client: { name: 'test', version: '1' } });
    expect(peer.of('tween.session.open')[0]?.params).toEqual({
      token: 'tep.1',
      device: { id: 'device' },
      client: { name: 'test', version: '1' },
    });
    expect(peer.socket.protocols).toEqual(['tmcp.msgpack.v1']);
    expect(states).toEqual(['connecting', 'opening', 'open']);
    expect(client.session).toMatchObject({ user_id: '@alice:tween.example', node: 'n1' });
    expect(Object.keys(client.session ?? {})).not.toContain('secret');
  });

  it('twice at once dials once, and again when open does nothing', async () => {
    const { peer, client, renewals } = newWorld();
    await Promise.all([client.connect(), client.connect()]);
    await client.connect();
    expect(renewals).toEqual([false]);
    expect(peer.sockets).toHaveLength(1);
    expect(peer.of('tween.session.open')).toHaveLength(1);
  });

  it('goes on trying while the server is away', async () => {
    const { peer, client } = newWorld();
    peer.network = 'down';
    const connecting = client.connect();
    await pass(60_000);
    expect(peer.sockets.length).toBeGreaterThan(3);
    peer.network = 'up';
    await pass(60_000);
    await connecting;
    expect(client.state).toBe('open');
  });

  it('drops a socket that never opens after fifteen seconds, and tries again', async () => {
    const { peer, client } = newWorld();
    peer.network = 'silent';
    void client.connect().catch(() => {});
    await pass(14_999);
    expect(client.state).toBe('connecting');
    await pass(1);
    expect(client.state).toBe('waiting');
    expect(peer.socket.closedByClient).toBe(true);
    peer.network = 'up';
    await pass(60_000);
    expect(client.state).toBe('open');
  });

  it('drops a socket whose open is never answered', async () => {
    const { peer, client } = newWorld();
    peer.handlers.set('tween.session.open', () => undefined);
    void client.connect().catch(() => {});
    await pass(15_000);
    expect(client.state).toBe('waiting');
  });

  it('ends with an address that no socket takes', async () => {
    const Refusing = class extends new LivePeer().WebSocket {
      constructor() {
        super('', []);
        throw new SyntaxError('not a URL');
      }
    };
    const { client } = newWorld({ WebSocket: Refusing as never });
    await expect(client.connect()).rejects.toThrow('not a URL');
    expect(client.state).toBe('closed');
  });

  it('refuses a device id that no operation id could be made of', () => {
    for (const deviceId of ['', 'a b', 'ä', 'x'.repeat(129)]) expect(() => newWorld({ deviceId })).toThrow(TypeError);
    expect(() => newWorld({ deviceId: 'x'.repeat(128) })).not.toThrow();
  });
});

describe('a lost connection', () => {
  it('is resumed with the secret of the last open and the last event’s number', async () => {
    const { peer, client, resyncs } = await openWorld();
    const { session } = client.session ?? {};
    peer.event('tween.wallet.updated', { n: 1 });
    await turn();
    peer.socket.cut(1006);
    await pass(5_000);
    peer.socket.cut(1006);
    await pass(5_000);
    const [, second, third] = peer.of('tween.session.open').map(({ params }) => params['resume'] as { secret: string; seq: number });
    expect(client.session).toMatchObject({ session, resumed: true });
    expect(second?.seq).toBe(1);
    expect(second?.secret).not.toBe(third?.secret);
    expect(resyncs).toEqual([]);
  });

  it('whose session is gone tells so once, after it is open', async () => {
    const { peer, client, states, resyncs } = await openWorld();
    const seen: string[] = [];
    client.on('resync', () => seen.push(client.state, states.at(-1) ?? ''));
    peer.forgetSessions();
    client.disconnect();
    await pass(5_000);
    expect(resyncs).toEqual([{ reason: 'session' }]);
    expect(seen).toEqual(['open', 'open']);
  });

  it('by disconnect is waited for at once, not when the socket says so', async () => {
    const { client } = await openWorld();
    client.disconnect();
    expect(client.state).toBe('waiting');
    await pass(5_000);
    expect(client.state).toBe('open');
  });

  it('is noticed by a heartbeat that is not answered', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.session.ping', () => undefined);
    await pass(25_000 + 14_999);
    expect(client.state).toBe('open');
    await pass(1);
    expect(client.state).toBe('waiting');
  });

  it('is not suspected while heartbeats are answered', async () => {
    const { peer, client } = await openWorld();
    await pass(300_000);
    expect(client.state).toBe('open');
    expect(peer.sockets).toHaveLength(1);
    expect(peer.of('tween.session.ping')).toHaveLength(12);
  });
});

describe('coming back', () => {
  it.each([120, 4_321])('after a drain waits exactly as long as the server said (%i ms)', async (reconnectAfterMs) => {
    const { peer, client } = await openWorld();
    peer.event('tween.session.draining', { reconnect_after_ms: reconnectAfterMs });
    await turn();
    peer.socket.cut(1012);
    await pass(reconnectAfterMs - 1);
    expect(peer.sockets).toHaveLength(1);
    await pass(1);
    expect(client.state).toBe('open');
  });

  it.each([1012, 1013, 1006, 1009, 4408, 4500, 4000, 4999])(
    'after %i is never sooner than the hint, nor later than its jitter',
    async (code) => {
      const { peer, client } = await openWorld();
      peer.socket.cut(code);
      await pass(249);
      expect(peer.sockets).toHaveLength(1);
      await pass(2_001);
      expect(client.state).toBe('open');
    },
  );

  it('after flooding takes a minute', async () => {
    const { peer, client } = await openWorld();
    peer.socket.cut(4429);
    await pass(59_999);
    expect(peer.sockets).toHaveLength(1);
    await pass(2_001);
    expect(client.state).toBe('open');
  });

  it.each([4400, 4403, 4409, 4499])('after %i does not happen', async (code) => {
    const { peer, client } = await openWorld();
    const call = client.call('tween.wallet.getBalance', {});
    peer.socket.cut(code, 'why');
    await expect(call).rejects.toThrow(`${code} (why)`);
    expect(client.state).toBe('closed');
    await pass(120_000);
    expect(peer.sockets).toHaveLength(1);
    await expect(client.connect()).rejects.toThrow(`${code}`);
  });

  it('grows slower with a server that ends every session at once', async () => {
    const { peer, client } = newWorld();
    peer.handlers.set('tween.session.open', (request) => {
      peer.open(request);
      setTimeout(() => request.socket.cut(4500), 1);
      return undefined;
    });
    void client.connect().catch(() => {});
    await pass(300_000);
    expect(peer.sockets.length).toBeLessThan(20);
  });

  it('is quick again after a session that lasted', async () => {
    const { peer, client } = await openWorld();
    for (let n = 0; n < 5; n++) {
      await pass(5_000);
      expect(client.state).toBe('open');
      peer.socket.cut(4500);
      await pass(2_251);
    }
    expect(client.state).toBe('open');
  });

  it('waits for what a refused open says', async () => {
    const { peer, client } = newWorld();
    let refusals = 0;
    peer.handlers.set('tween.session.open', (request) => {
      if (refusals++ === 0) throw new TmcpError('SERVICE_UNAVAILABLE', 'draining', { retryAfter: 10 });
      return peer.open(request);
    });
    void client.connect();
    await pass(9_999);
    expect(peer.sockets).toHaveLength(1);
    await pass(2_001);
    expect(client.state).toBe('open');
  });
});

describe('the token', () => {
  it('is renewed once when the open is refused, and the refusal ends the client when that does not help', async () => {
    const { peer, client, renewals } = newWorld();
    peer.goodTokens = new Set();
    const connecting = client.connect();
    connecting.catch(() => {});
    await pass(60_000);
    await expect(connecting).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
    expect(renewals).toEqual([false, true]);
    expect(client.state).toBe('closed');
  });

  it('that was renewed opens the session', async () => {
    const { peer, client, renewals } = newWorld();
    peer.goodTokens = new Set(['tep.2']);
    void client.connect();
    await pass(5_000);
    expect(client.state).toBe('open');
    expect(renewals).toEqual([false, true]);
  });

  it('is renewed after 4401, and not after any other loss', async () => {
    const { peer, renewals } = await openWorld();
    for (const code of [1006, 4401, 4408, 1012]) {
      peer.socket.cut(code);
      await pass(10_000);
    }
    expect(renewals).toEqual([false, false, true, false, false]);
  });

  it('is renewed once when the server closes with 4401 instead of opening, and the second time ends the client', async () => {
    const { peer, client, renewals } = newWorld();
    peer.handlers.set('tween.session.open', ({ socket }) => socket.cut(4401));
    const connecting = client.connect();
    connecting.catch(() => {});
    await pass(60_000);
    await expect(connecting).rejects.toThrow('4401');
    expect(renewals).toEqual([false, true]);
  });

  it('is swapped on the open socket when it is about to expire', async () => {
    const { peer, client, renewals } = await openWorld();
    peer.event('tween.session.expiring', { expires_at: '2026-06-01T00:00:00.000Z' });
    await turn();
    expect(renewals).toEqual([false, true]);
    expect(peer.of('tween.session.refresh')[0]?.params).toEqual({ token: 'tep.2' });
    expect(client.session?.expires_at).toBe('2027-01-01T00:00:00.000Z');
  });

  it('that cannot be swapped is renewed for the next connection', async () => {
    const { peer, renewals, errors } = await openWorld();
    peer.handlers.set('tween.session.refresh', () => {
      throw new TmcpError('INVALID_TOKEN');
    });
    peer.event('tween.session.expiring', {});
    await turn();
    expect(errors).toMatchObject([{ code: 'INVALID_TOKEN' }]);
    peer.socket.cut(1006);
    await pass(5_000);
    expect(renewals).toEqual([false, true, true]);
  });

  it('source that fails is asked again later, and its failure reported', async () => {
    let fails = 2;
    const { client, errors } = newWorld({
      token: async () => {
        if (fails-- > 0) throw new Error('the sign-in server is away');
        return 'tep.x';
      },
    });
    void client.connect();
    await pass(10_000);
    expect(client.state).toBe('open');
    expect(errors.map(String)).toEqual(['Error: the sign-in server is away', 'Error: the sign-in server is away']);
  });

  it('source that never answers is given up after thirty seconds, and what it gives later is not used', async () => {
    const late: ((token: string) => void)[] = [];
    const { client, peer, errors } = newWorld({ token: () => new Promise((resolve) => late.push(resolve)) });
    void client.connect().catch(() => {});
    await pass(30_000);
    expect(client.state).toBe('waiting');
    expect(String(errors[0])).toContain('30000 ms');
    late[0]?.('tep.late');
    await turn();
    expect(peer.sockets).toHaveLength(0);
  });

  it('source that says that nobody is signed in ends the client at the second time', async () => {
    const { client } = newWorld({
      token: async () => {
        throw new TmcpError('INVALID_TOKEN', 'nobody is signed in');
      },
    });
    const connecting = client.connect();
    connecting.catch(() => {});
    await pass(10_000);
    await expect(connecting).rejects.toThrow('nobody is signed in');
  });

  it('of another user ends the client, before anything of the first is sent', async () => {
    const { peer, client } = await openWorld();
    client.goOffline();
    await client.storage.set('k', 'of alice');
    peer.handlers.set('tween.session.open', (request) => peer.open(request, '@bob:tween.example'));
    await expect(client.connect()).rejects.toThrow('@bob:tween.example');
    await pass(60_000);
    expect(client.state).toBe('closed');
    expect(peer.of('tween.sync.push')).toEqual([]);
  });

  it('that is too long for the first frame ends the client instead of the socket', async () => {
    const { client, peer } = newWorld({ token: async () => `tep.${'x'.repeat(9_000)}` });
    const connecting = client.connect();
    connecting.catch(() => {});
    await pass(10_000);
    await expect(connecting).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    expect(peer.received).toEqual([]);
  });
});

describe('going offline', () => {
  it('keeps the session for the next connect', async () => {
    const { peer, client } = await openWorld();
    client.goOffline();
    expect(client.state).toBe('idle');
    await pass(60_000);
    expect(peer.sockets).toHaveLength(1);
    await client.connect();
    expect(client.session?.resumed).toBe(true);
  });

  it('while opening gives that connect up, and the next one opens', async () => {
    const { peer, client } = newWorld();
    peer.handlers.set('tween.session.open', () => undefined);
    const first = client.connect();
    first.catch(() => {});
    await turn();
    expect(client.state).toBe('opening');
    client.goOffline();
    await expect(first).rejects.toThrow('offline');
    peer.handlers.delete('tween.session.open');
    await client.connect();
    expect(client.state).toBe('open');
    expect(peer.sockets.map(({ state }) => state)).toEqual(['closed', 'open']);
  });

  it('while the queue is waited for is not undone by it', async () => {
    const { peer, client } = newWorld();
    const first = client.connect();
    first.catch(() => {});
    client.goOffline();
    await expect(first).rejects.toThrow('offline');
    await pass(60_000);
    expect(peer.sockets).toEqual([]);
    expect(client.state).toBe('idle');
  });

  it.each(['given', 'refused'])('while a token is waited for is not undone when it is %s', async (how) => {
    let settle = (): void => {};
    const { peer, client, errors } = newWorld({
      token: () =>
        new Promise((resolve, reject) => {
          settle = () => (how === 'given' ? resolve('tep.x') : reject(new Error('no')));
        }),
    });
    const first = client.connect();
    first.catch(() => {});
    await turn();
    client.goOffline();
    settle();
    await pass(60_000);
    expect(peer.sockets).toEqual([]);
    expect(client.state).toBe('idle');
    expect(errors).toEqual([]);
  });

  it('while waiting stops the waiting', async () => {
    const { peer, client } = await openWorld();
    client.disconnect();
    client.goOffline();
    await pass(60_000);
    expect(peer.sockets).toHaveLength(1);
  });
});

describe('closing', () => {
  it('ends the session at the server, and can be asked for twice', async () => {
    const { peer, client } = await openWorld();
    await Promise.all([client.close(), client.close()]);
    expect(peer.of('tween.session.close')).toHaveLength(1);
    expect(client.state).toBe('closed');
    await pass(60_000);
    expect(peer.sockets).toHaveLength(1);
  });

  it('while connecting rejects the connect and lets the socket go', async () => {
    const { peer, client } = newWorld();
    peer.network = 'silent';
    const connecting = client.connect();
    connecting.catch(() => {});
    await turn();
    await client.close();
    await expect(connecting).rejects.toThrow('closed');
    expect(peer.socket.closedByClient).toBe(true);
  });

  it('before connecting, or between, makes connect reject', async () => {
    const { client } = newWorld();
    const connecting = client.connect();
    connecting.catch(() => {});
    await client.close();
    await expect(connecting).rejects.toThrow('closed');
    await expect(client.connect()).rejects.toThrow('closed');
  });

  it('does not wait longer than two seconds for the server', async () => {
    const { peer, client } = await openWorld();
    peer.handlers.set('tween.session.close', () => undefined);
    const closing = client.close();
    await pass(1_999);
    expect(await outcomeOf(closing)).toBe('pending');
    await pass(1);
    await closing;
  });
});
