/** Who may come to the peer port: holders of the key, who are who they say and mean us. Everybody else is refused, and costs nobody else. */
import { connect } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { disposed } from '../../support/disposed.ts';
import { encodeTrusted } from '../../../src/protocol/codec.ts';
import { frameKind } from '../../../src/transport/cluster/frames.ts';
import { createPeerNet } from '../../../src/transport/cluster/peer-net.ts';
import { bytesOf, cipher, closed, frame, hello, holder } from '../../support/peer-holder.ts';
import { PeerNode, sharedKey, twoNodes, until } from '../../support/peer-nodes.ts';

describe('the peer port', () => {
  it('[CLU11] refuses a node with another key, both ways, and says so', async () => {
    const a = disposed(await PeerNode.start('a'));
    const b = disposed(await PeerNode.start('b', { key: new Uint8Array(32).fill(8), onAsk: () => expect.fail('asked') }));
    a.net.setPeers([b.at()]);
    b.net.setPeers([a.at()]);
    await until(() => a.counts.refused > 1 && b.counts.refused > 1);
    expect([a.net.reachable('b'), a.net.peerLease('b'), b.net.reachable('a'), a.ups]).toEqual([false, undefined, false, []]);
    expect((await a.ask('b', 1)).kind).toBe('unreachable');
    expect(a.lines.filter(({ msg }) => msg === 'A peer cannot be reached')).toHaveLength(1);
  });

  it.each([
    ['plain text', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a hello without TLS', hello('x', 'a').toString('latin1')],
    ['zeroes', '\0'.repeat(10_000)],
  ])('[CLU11] refuses plain TCP: %s', async (_, text) => {
    const nodes = disposed(await twoNodes());
    const socket = connect(nodes.a.net.port, '127.0.0.1', () => socket.write(text, 'latin1'));
    await closed(socket);
    await until(() => nodes.a.counts.refused === 1);
    expect(await nodes.b.ask('a', 1)).toEqual({ values: [1] });
  });

  it.each<[string, ConnectionOptions]>([
    ['TLS without a pre-shared key', { rejectUnauthorized: false }],
    ['TLS 1.3', { minVersion: 'TLSv1.3', rejectUnauthorized: false, pskCallback: () => ({ psk: sharedKey, identity: 'x' }) }],
    ['a cipher without forward secrecy', { ciphers: 'PSK-CHACHA20-POLY1305', maxVersion: 'TLSv1.2' }],
    ['an empty identity', { ciphers: cipher, maxVersion: 'TLSv1.2', pskCallback: () => ({ psk: sharedKey, identity: '' }) }],
    ['a key of zeroes', { ciphers: cipher, maxVersion: 'TLSv1.2', pskCallback: () => ({ psk: new Uint8Array(32), identity: 'x' }) }],
  ])('[CLU11] refuses %s', async (_, options) => {
    const a = disposed(await PeerNode.start('a'));
    const socket = connectTls({
      host: '127.0.0.1',
      port: a.net.port,
      pskCallback: () => ({ psk: sharedKey, identity: 'x' }),
      checkServerIdentity: () => undefined,
      ...options,
    });
    let secure = false;
    socket.once('secureConnect', () => {
      secure = true;
    });
    await closed(socket);
    expect(secure).toBe(false);
    await until(() => a.counts.refused === 1);
  });

  it('[CLU11] is no way to a node that has taken over an address: its hello names another boot id', async () => {
    const a = disposed(await PeerNode.start('a'));
    const b = disposed(await PeerNode.start('b', { onAsk: () => expect.fail('asked') }));
    a.net.setPeers([{ ...b.at(), bootId: 'before-b' }]);
    await until(() => a.counts.refused > 1);
    expect([a.net.reachable('before-b'), a.net.reachable('b'), a.net.peerLease('b'), a.ups]).toEqual([false, false, undefined, []]);
    expect(b.net.peerLease('a')).toBeUndefined();
  });

  it.each<[string, Buffer]>([
    ['a hello in the name of another than the key was proved for', hello('b', 'a')],
    ['an ask before the hello', frame(frameKind.ask, new Uint8Array([0, 0, 0, 1, 0, 0, 0, 9, 0, 1]))],
    [
      'a hello of another version',
      frame(frameKind.hello, encodeTrusted({ link: 2, boot: 'x', name: 'n', version: '1', lease: true, to: 'a' })),
    ],
    [
      'a hello past 4 KiB',
      frame(frameKind.hello, encodeTrusted({ link: 1, boot: 'x', name: 'n'.repeat(4_096), version: '1', lease: true, to: 'a' })),
    ],
    ['a frame past its bound', Buffer.concat([hello('x', 'a'), Buffer.from([0x00, 0x80, 0x00, 0x01, frameKind.hint])])],
    ['an undecodable body', Buffer.concat([hello('x', 'a'), frame(frameKind.hint, new Uint8Array([0xa5, 0x61]))])],
    ['a kind of frame there is not', Buffer.concat([hello('x', 'a'), frame(99, new Uint8Array([1]))])],
    ['an answer to nobody', Buffer.concat([hello('x', 'a'), frame(frameKind.answer, new Uint8Array([0, 0, 0, 1, 1, 1]))])],
    ['events out of order', Buffer.concat([hello('x', 'a'), frame(frameKind.event, new Uint8Array([0, 0, 0, 0, 0, 2, 0, 1, 0x40, 1]))])],
    ['a gap in what has come', Buffer.concat([hello('x', 'a'), frame(frameKind.gap, new Uint8Array([0, 0, 0, 0, 0, 1]))])],
  ])('[CLU11] ends the link of a holder of the key that sends %s', async (_, bytes) => {
    const nodes = disposed(await twoNodes({ onAsk: (_from, body, _d, _t, answer) => answer(body, true) }));
    const socket = await holder(nodes.a.net.port, 'x');
    const end = closed(socket);
    socket.resume();
    socket.write(bytes);
    await end;
    expect(nodes.a.counts.refused).toBe(1);
    expect([nodes.a.events, nodes.a.hints, nodes.a.gaps]).toEqual([[], [], []]);
    expect(await nodes.b.ask('a', 1)).toEqual({ values: [1] });
  });

  it('[CLU11] says who it is to a holder of the key who means another node, and takes nothing from it', async () => {
    const nodes = disposed(await twoNodes({ onAsk: () => expect.fail('asked') }));
    const socket = await holder(nodes.a.net.port, 'x');
    const end = closed(socket);
    const came = bytesOf(socket);
    socket.write(Buffer.concat([hello('x', 'before-a'), frame(frameKind.hint, encodeTrusted('for before-a'))]));
    await end;
    expect(came().includes('node-a')).toBe(true);
    expect([nodes.a.hints, nodes.a.net.peerLease('x')]).toEqual([[], undefined]);
  });

  it('takes a hello of the size of a hello, and the newest link of a peer in the place of the older', async () => {
    const a = disposed(await PeerNode.start('a'));
    const first = await holder(a.net.port, 'x');
    const end = closed(first);
    first.write(hello('x', 'a'));
    await until(() => a.net.peerLease('x') === true);
    const second = await holder(a.net.port, 'x');
    second.write(hello('x', 'a'));
    first.resume();
    await end;
    expect(a.net.peerLease('x')).toBe(true);
    second.destroy();
    await until(() => a.net.peerLease('x') === undefined);
  });

  it('cannot be opened with a key of another length', async () => {
    const a = await PeerNode.start('a');
    await a[Symbol.asyncDispose]();
    for (const length of [0, 31, 33]) {
      await expect(createPeerNet({ key: new Uint8Array(length) } as never)).rejects.toThrow(RangeError);
    }
  });
});
