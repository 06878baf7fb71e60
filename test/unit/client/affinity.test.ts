/** The hint for balancers: told at open, added to the address of every later dial, kept by the app if it likes. */
import { describe, expect, it } from 'vitest';
import { isAffinity, withAffinity } from '../../../src/client/affinity.ts';
import { LivePeer } from './live-peer.ts';
import { newWorld, openWorld, pass, useFakeTime } from './world.ts';

useFakeTime();

/** A peer whose opens tell `affinity()`. */
function hinting(affinity: () => unknown): LivePeer {
  const peer = new LivePeer();
  peer.handlers.set('tween.session.open', (request) => peer.open(request, '@alice:tween.example', { affinity: affinity() }));
  return peer;
}

describe('the affinity of a session', () => {
  it('is in the address of every dial after the first open, and of none before', async () => {
    const { peer, client } = newWorld(
      {},
      hinting(() => 'q7'),
    );
    expect(client.affinity).toBeUndefined();
    await client.connect();
    expect(client.affinity).toBe('q7');
    client.disconnect();
    await pass(5_000);
    client.goOffline();
    await client.connect();
    expect(peer.sockets.map(({ url }) => url)).toEqual([
      'ws://peer/v1/live',
      'ws://peer/v1/live?affinity=q7',
      'ws://peer/v1/live?affinity=q7',
    ]);
  });

  it('follows what the last open told, and stays when one tells nothing or nonsense', async () => {
    const told: unknown[] = ['aa', 'b2', undefined, 'c&token=x', 7, 'ABC'];
    const { peer, client } = await openWorld(
      {},
      hinting(() => told.shift()),
    );
    for (let n = 0; n < 6; n++) {
      client.disconnect();
      await pass(5_000);
    }
    expect(client.state).toBe('open');
    expect(peer.sockets.slice(1).map(({ url }) => url.slice(url.indexOf('?') + 1))).toEqual([
      'affinity=aa',
      ...Array.from({ length: 5 }, () => 'affinity=b2'),
    ]);
  });

  it('is used from the first dial on when the app kept it, and the server may still tell another', async () => {
    const { peer, client } = await openWorld(
      { affinity: 'zz', url: 'wss://peer/v1/live?region=eu' },
      hinting(() => 'aa'),
    );
    expect(peer.socket.url).toBe('wss://peer/v1/live?region=eu&affinity=zz');
    expect(client.affinity).toBe('aa');
  });

  it('is left out of the dial after one that heard nothing, and not after one that was refused', async () => {
    const { peer, client } = await openWorld(
      {},
      hinting(() => 'q7'),
    );
    const dialled = (): string => peer.socket.url.slice('ws://peer/v1/live'.length);
    peer.network = 'silent';
    client.disconnect();
    await pass(5_000);
    expect(dialled()).toBe('?affinity=q7');
    await pass(15_000);
    expect(dialled()).toBe('');
    const before = peer.sockets.length;
    peer.network = 'down';
    await pass(90_000);
    const [first, ...later] = peer.sockets.slice(before).map(({ url }) => url.includes('affinity=q7'));
    // It follows one that heard nothing either.
    expect(first).toBe(false);
    expect(later.length).toBeGreaterThan(1);
    expect(later).not.toContain(false);
    peer.network = 'up';
    await pass(60_000);
    expect(dialled()).toBe('?affinity=q7');
  });

  it('is refused where the app gives what no server told', () => {
    for (const affinity of ['', 'a', 'abc', 'A2', 'a1', 'a&', 'é2']) expect(() => newWorld({ affinity })).toThrow(TypeError);
  });
});

describe('the address', () => {
  it.each([
    ['ws://h/v1/live', 'ws://h/v1/live?affinity=ab'],
    ['ws://h/v1/live?', 'ws://h/v1/live?affinity=ab'],
    ['ws://h/v1/live?a=1&b', 'ws://h/v1/live?a=1&b&affinity=ab'],
    ['ws://h/v1/live?affinity=zz&a=1', 'ws://h/v1/live?a=1&affinity=ab'],
    ['ws://h/v1/live?my_affinity=zz', 'ws://h/v1/live?my_affinity=zz&affinity=ab'],
    ['ws://h/v1/live?a=%26#frag', 'ws://h/v1/live?a=%26&affinity=ab#frag'],
    ['/v1/live', '/v1/live?affinity=ab'],
  ])('%s becomes %s', (url, dialled) => {
    expect(withAffinity(url, 'ab')).toBe(dialled);
    expect(withAffinity(url, undefined)).toBe(url);
  });

  it('takes two characters of RFC 4648 base 32 in lower case', () => {
    for (const good of ['aa', 'z7', '22']) expect(isAffinity(good)).toBe(true);
    for (const bad of ['', 'a', 'aaa', 'a0', 'a1', 'a8', 'AA', 'a\n', undefined, null, 5, ['aa']]) expect(isAffinity(bad)).toBe(false);
  });
});
