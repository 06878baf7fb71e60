/** Events between nodes: each once and in order, whatever the link does, or a gap told in the place of what is gone. */
import { describe, expect, it } from 'vitest';
import { disposed } from '../../support/disposed.ts';
import { FrameReader, frameKind, readSeq } from '../../../src/transport/cluster/frames.ts';
import { eventFrame } from '../../../src/transport/cluster/frame-writer.ts';
import { startFaultProxy } from '../../support/fault-proxy.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { bytesOf, frame, hello, holder } from '../../support/peer-holder.ts';
import { type NodeOptions, PeerNode, twoNodes, until } from '../../support/peer-nodes.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A publisher whose way to its one peer goes through a proxy. */
async function proxied(publisher: NodeOptions = {}, receiver: NodeOptions = {}) {
  const b = await PeerNode.start('b', receiver);
  const proxy = await startFaultProxy({ port: b.net.port });
  const a = await PeerNode.start('a', publisher);
  a.net.setPeers([b.at(proxy.port)]);
  await a.reaches(b);
  return {
    a,
    b,
    proxy,
    bodies: () => b.events.map(([, user, body]) => (user === 'gap' ? 'gap' : body)),
    async [Symbol.asyncDispose]() {
      await a[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await b[Symbol.asyncDispose]();
    },
  };
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('an event', () => {
  it('reaches every peer with its user, and is decoded only when asked for', async () => {
    const lazy: (() => unknown)[] = [];
    const nodes = disposed(await twoNodes({}, { onEvent: (_from, _user, body) => lazy.push(body) }));
    const c = disposed(await PeerNode.start('c'));
    nodes.a.net.setPeers([nodes.b.at(), c.at()]);
    await nodes.a.reaches(nodes.b, c);
    const body = { type: 'storage.changed', at: 1_700_000_000_000 };
    nodes.a.net.publish('@älice:x', body);
    await until(() => lazy.length === 1 && c.events.length === 1);
    // Much else passes before anybody looks.
    for (let i = 0; i < 1_000; i++) nodes.a.net.publish('@b:x', i);
    await until(() => lazy.length === 1_001);
    expect(lazy[0]?.()).toEqual(body);
    expect(c.events[0]).toEqual(['a', '@älice:x', body]);
    expect([nodes.b.gaps, c.gaps]).toEqual([[], []]);
  });

  it('[CLU3] arrives exactly once and in order, however often the link is reset', async () => {
    const link = disposed(await proxied());
    let published = 0;
    for (let round = 0; round < 12; round++) {
      for (let burst = 0; burst < 20; burst++) {
        for (let i = 0; i < 25; i++) link.a.net.publish('@u', ++published);
        await turn();
      }
      // In turn: without a word to either side, to one of them, and while bytes are held back.
      if (round % 4 === 3) link.proxy.delay('both', 5);
      link.proxy.reset(round % 4 === 1 ? 'toServer' : 'both');
      link.proxy.delay('both', 0);
      if (round % 4 === 1) link.proxy.reset('toClient');
      for (let i = 0; i < 25; i++) link.a.net.publish('@u', ++published);
      if (round % 2 === 0) await until(() => link.a.net.reachable('b'));
    }
    await until(() => link.b.events.length >= published);
    expect(link.bodies()).toEqual(numbers(1, published));
    expect(link.a.ups.filter((up) => up === 'b down').length).toBeGreaterThanOrEqual(6);
  });

  it('[CLU3] is replayed up to the bound; past it a gap is told once, in its place', async () => {
    for (const [away, expected] of [
      [9, numbers(2, 10)],
      [10, numbers(2, 11)],
      [11, ['gap', ...numbers(3, 12)]],
    ] as const) {
      const link = disposed(await proxied({ bounds: { events: 10 } }));
      link.a.net.publish('@u', 1);
      await until(() => link.b.events.length === 1);
      // The first is acknowledged with the next beat, so that it no longer counts.
      const before = link.a.counts.framesIn;
      await until(() => link.a.counts.framesIn >= before + 2);
      link.proxy.refuse(true);
      link.proxy.reset();
      await until(() => !link.a.net.reachable('b'));
      for (let i = 0; i < away; i++) link.a.net.publish('@u', 2 + i);
      link.proxy.refuse(false);
      await until(() => link.b.events.length === 1 + expected.length);
      expect(link.bodies()).toEqual([1, ...expected]);
      // It is told once: the next break of the link finds nothing missing.
      link.proxy.reset();
      await until(() => link.a.ups.filter((up) => up === 'b up').length === 3);
      link.a.net.publish('@u', 'after');
      await until(() => link.b.events.length === 2 + expected.length);
      expect(link.bodies().at(-1)).toBe('after');
    }
  });

  it('[CLU3] that a slow peer has not been sent when the log overflows is a gap, too', async () => {
    const clock = new ManualClock();
    const link = disposed(await proxied({ clock, bounds: { unsentBytes: 64 * 1024, events: 50 } }, { clock }));
    link.proxy.stall('toServer');
    const load = 'x'.repeat(60_000);
    const published = 400;
    for (let i = 1; i <= published; i++) {
      link.a.net.publish('@u', [i, load]);
      await turn();
    }
    link.proxy.flow('toServer');
    const last = (): unknown => (link.b.events.at(-1)?.[2] as [number] | null)?.[0];
    await until(() => last() === published);
    const seen = link.b.events.map(([, user, body]) => (user === 'gap' ? -1 : (body as [number])[0]));
    const gap = seen.indexOf(-1);
    expect(link.b.gaps).toEqual(['a']);
    expect(seen.slice(0, gap)).toEqual(numbers(1, gap));
    const after = seen[gap + 1] as number;
    expect(after).toBeGreaterThan(gap + 1);
    expect(seen.slice(gap + 1)).toEqual(numbers(after, published));
    expect(link.a.ups).toEqual(['b up']);
  });

  it('larger than a frame is a gap for all', async () => {
    const link = disposed(await proxied({ bounds: { frameBytes: 1_000 } }));
    link.a.net.publish('@u', 1);
    await until(() => link.b.events.length === 1);
    link.a.net.publish('@u', 'x'.repeat(1_000));
    link.a.net.publish('@u', 3);
    await until(() => link.b.events.length === 3);
    expect(link.bodies()).toEqual([1, 'gap', 3]);
  });

  it('[CLU3] published before a peer was known is a gap for it, once; a publisher that was silent until then has none', async () => {
    const a = disposed(await PeerNode.start('a'));
    a.net.publish('@u', 'nobody hears this');
    const b = disposed(await PeerNode.start('b'));
    a.net.setPeers([b.at()]);
    b.net.setPeers([a.at()]);
    a.net.publish('@u', 1);
    b.net.publish('@u', 2);
    await until(() => b.events.length === 2 && a.events.length === 1);
    expect(b.events).toEqual([
      ['a', 'gap', null],
      ['a', '@u', 1],
    ]);
    expect([a.gaps, a.events]).toEqual([[], [['b', '@u', 2]]]);
  });

  it('[CLU3] missed while the peer was not among the peers is a gap when it is back', async () => {
    const nodes = disposed(await twoNodes());
    const { a, b } = nodes;
    a.net.publish('@u', 1);
    await until(() => b.events.length === 1);
    a.net.setPeers([]);
    a.net.setPeers([b.at()]);
    a.net.publish('@u', 2);
    await until(() => b.events.length === 2);
    a.net.setPeers([]);
    a.net.publish('@u', 'missed');
    a.net.setPeers([b.at()]);
    a.net.publish('@u', 3);
    await until(() => b.events.length === 4);
    expect(b.events.map(([, user, body]) => (user === 'gap' ? 'gap' : body))).toEqual([1, 2, 'gap', 3]);
  });

  it('whose handler throws does not come again, and the next one comes', async () => {
    const seen: unknown[] = [];
    const nodes = disposed(
      await twoNodes(
        {},
        {
          onEvent: (_from, _user, body) => {
            seen.push(body());
            if (seen.length === 1) throw new Error('mine');
          },
        },
      ),
    );
    nodes.a.net.publish('@u', 1);
    nodes.a.net.publish('@u', 2);
    await until(() => seen.length === 2);
    expect(seen).toEqual([1, 2]);
    expect(nodes.a.ups).toEqual(['b up']);
  });

  it('is acknowledged with 255 others, and else at the next beat', async () => {
    const clock = new ManualClock();
    const a = disposed(await PeerNode.start('a', { clock }));
    const socket = await holder(a.net.port, 'x');
    const came = bytesOf(socket);
    const acks = (): number[] => {
      const read: number[] = [];
      const reader = new FrameReader((chunk, start, end) => {
        if (chunk.bytes[start] === frameKind.ack) read.push(readSeq(chunk, start, end));
      }, 1_000);
      reader.push(came());
      return read;
    };
    socket.write(hello('x', 'a'));
    const publish = async (from: number, to: number): Promise<void> => {
      socket.write(Buffer.concat(numbers(from, to).map((seq) => eventFrame(seq, '@u', seq))));
      await until(() => a.events.length === to);
      await turn();
      await turn();
    };
    await publish(1, 255);
    // A hint that has arrived shows that everything before it was handled.
    socket.write(frame(frameKind.hint, new Uint8Array([1])));
    await until(() => a.hints.length === 1);
    expect(acks()).toEqual([]);
    await publish(256, 300);
    await until(() => acks().length === 1);
    expect(acks()).toEqual([256]);
    clock.advance(500);
    await until(() => acks().length === 2);
    expect(acks()).toEqual([256, 300]);
    socket.destroy();
  });
});
