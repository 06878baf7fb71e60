/** Links between nodes over real sockets: asks, events, silence, loss and bounds. Who may come at all is in `peer-refusal.test.ts`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { disposed } from '../../support/disposed.ts';
import { startFaultProxy } from '../../support/fault-proxy.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type Outcome, PeerNode, twoNodes, until } from '../../support/peer-nodes.ts';

type Answer = (value: unknown, last: boolean) => void;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('an ask', () => {
  it('is answered, with its deadline and its trace told to the peer', async () => {
    const seen: unknown[] = [];
    const nodes = disposed(
      await twoNodes(
        {},
        {
          onAsk: (from, body, deadlineMs, trace, answer) => {
            seen.push([from, body, deadlineMs, trace]);
            answer({ got: body }, true);
          },
        },
      ),
    );
    const body = { to: 'vault:@alice:x', bytes: new Uint8Array([1, 2]), at: 1_700_000_000_000 };
    expect(await nodes.a.ask('b', body, { deadlineMs: 1_500, trace: '00-abc' })).toEqual({ values: [{ got: body }] });
    await nodes.a.ask('b', 1, { deadlineMs: 700 });
    expect(seen).toEqual([
      ['a', body, 1_500, '00-abc'],
      ['a', 1, 700, undefined],
    ]);
  });

  it('takes several answers, and those after the last go nowhere', async () => {
    const nodes = disposed(
      await twoNodes(
        {},
        {
          onAsk: (_from, body, _deadlineMs, _trace, answer) => {
            answer(['accepted', body], false);
            setImmediate(() => {
              answer(['durable', body], true);
              answer(['again', body], true);
            });
          },
        },
      ),
    );
    expect(await Promise.all([nodes.a.ask('b', 1), nodes.a.ask('b', 2)])).toEqual([
      {
        values: [
          ['accepted', 1],
          ['durable', 1],
        ],
      },
      {
        values: [
          ['accepted', 2],
          ['durable', 2],
        ],
      },
    ]);
    expect(nodes.a.counts.roundTrips).toBe(2);
  });

  it('[A3] of ten thousand at once gets its own answer; one more is told busy, and the next fits again', async () => {
    const held: (() => void)[] = [];
    const nodes = disposed(await twoNodes({}, { onAsk: (_from, body, _d, _t, answer) => held.push(() => answer(body, true)) }));
    const asked = Array.from({ length: 10_000 }, (_, i) => nodes.a.ask('b', i));
    const over = nodes.a.ask('b', 'over');
    expect(await over).toEqual({ values: [], kind: 'busy' });
    await until(() => held.length === 10_000);
    held.reverse();
    held.shift()?.();
    expect(await asked[9_999]).toEqual({ values: [9_999] });
    asked.push(nodes.a.ask('b', 10_000));
    await until(() => held.length === 10_000);
    for (const answer of held) answer();
    const answers = await Promise.all(asked);
    expect(answers.every(({ values }, i) => values.length === 1 && values[0] === i)).toBe(true);
  });

  it('is late at its deadline, not before, and its late answer goes nowhere', async () => {
    const clock = new ManualClock();
    let answer: Answer | undefined;
    const nodes = disposed(
      await twoNodes(
        { clock },
        {
          onAsk: (_from, body, _d, _t, given) => {
            if (body === 'echo') given(body, true);
            else answer = given;
          },
        },
      ),
    );
    const told: Outcome[] = [];
    void nodes.a.ask('b', 'slow', { deadlineMs: 400 }).then((outcome) => told.push(outcome));
    await until(() => answer !== undefined);
    clock.advance(399);
    await turn();
    expect(told).toEqual([]);
    clock.advance(1);
    await until(() => told.length > 0);
    expect(told).toEqual([{ values: [], kind: 'late' }]);
    answer?.('too late', true);
    expect(await nodes.a.ask('b', 'echo')).toEqual({ values: ['echo'] });
    expect(told).toHaveLength(1);
    expect(await nodes.a.ask('b', 'never sent', { deadlineMs: 0 })).toEqual({ values: [], kind: 'late' });
  });

  it('of a peer nobody knows, or that is not there, is told unreachable at once', async () => {
    const nodes = disposed(await twoNodes());
    expect(await nodes.a.ask('nobody', 1)).toEqual({ values: [], kind: 'unreachable' });
    await nodes.b[Symbol.asyncDispose]();
    await until(() => !nodes.a.net.reachable('b'));
    expect(await nodes.a.ask('b', 1)).toEqual({ values: [], kind: 'unreachable' });
  });

  it('[A3] is told busy past the bound of unsent bytes, and then certainly not delivered; the others all are', async () => {
    const clock = new ManualClock();
    const seen: number[] = [];
    const b = disposed(
      await PeerNode.start('b', {
        clock,
        onAsk: (_from, body, _d, _t, answer) => {
          seen.push((body as [number])[0]);
          answer(null, true);
        },
      }),
    );
    const proxy = disposed(await startFaultProxy({ port: b.net.port }));
    const a = disposed(await PeerNode.start('a', { clock, bounds: { unsentBytes: 256 * 1024 } }));
    a.net.setPeers([b.at(proxy.port)]);
    await a.reaches(b);
    proxy.stall('toServer');
    const load = 'x'.repeat(60_000);
    const busy: number[] = [];
    const asked: Promise<unknown>[] = [];
    for (let i = 0; busy.length < 3; i++) {
      asked.push(
        a.ask('b', [i, load]).then(({ kind }) => {
          if (kind === 'busy') busy.push(i);
          else expect(kind).toBeUndefined();
        }),
      );
      await turn();
    }
    proxy.flow('toServer');
    await Promise.all(asked);
    expect(seen).toHaveLength(asked.length - busy.length);
    expect(seen.filter((i) => busy.includes(i))).toEqual([]);
    expect(await a.ask('b', [0])).toEqual({ values: [null] });
  });

  it('[A3] is not read from a peer that does not take its answers', async () => {
    const clock = new ManualClock();
    let handled = 0;
    const load = 'x'.repeat(60_000);
    const b = disposed(
      await PeerNode.start('b', {
        clock,
        bounds: { unsentBytes: 256 * 1024 },
        onAsk: (_from, _body, _d, _t, answer) => {
          handled += 1;
          answer(load, true);
        },
      }),
    );
    const proxy = disposed(await startFaultProxy({ port: b.net.port }));
    const a = disposed(await PeerNode.start('a', { clock }));
    a.net.setPeers([b.at(proxy.port)]);
    await a.reaches(b);
    proxy.stall('toClient');
    const asked: Promise<Outcome>[] = [];
    for (let i = 0; i < 1_500; i++) {
      asked.push(a.ask('b', 'x'.repeat(1_000)));
      if (i % 20 === 0) await turn();
    }
    // Nothing moves any more.
    for (let quiet = 0, seen = -1; quiet < 500; quiet = seen === handled ? quiet + 1 : 0) {
      seen = handled;
      await turn();
    }
    // Answers of 90 MB are wanted; the sockets and the bound hold some 15 MB of them.
    expect(handled).toBeGreaterThan(0);
    expect(handled).toBeLessThan(700);
    proxy.flow('toClient');
    const answers = await Promise.all(asked);
    expect(answers.every(({ values }) => values.length === 1)).toBe(true);
  });

  it('larger than a frame is told busy; with a larger answer, lost; both leave the link as it was', async () => {
    const bounds = { frameBytes: 1_000 };
    const nodes = disposed(
      await twoNodes({ bounds }, { bounds, onAsk: (_from, body, _d, _t, answer) => answer('x'.repeat(body as number), true) }),
    );
    expect((await nodes.a.ask('b', 'x'.repeat(1_000))).kind).toBe('busy');
    expect((await nodes.a.ask('b', 1_000)).kind).toBe('lost');
    expect((await nodes.a.ask('b', 900)).values).toEqual(['x'.repeat(900)]);
    expect(nodes.a.ups).toEqual(['b up']);
  });

  it('whose handler throws is told lost, and the link goes on', async () => {
    const nodes = disposed(
      await twoNodes(
        {},
        {
          onAsk: (_from, body, _d, _t, answer) => {
            if (body === 'throw') throw new Error('mine');
            answer(body, true);
          },
        },
      ),
    );
    expect(await Promise.all([nodes.a.ask('b', 'throw'), nodes.a.ask('b', 'echo')])).toEqual([
      { values: [], kind: 'lost' },
      { values: ['echo'] },
    ]);
    expect(nodes.b.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('that waits when the peer is killed is told lost, also after an answer that was not the last', async () => {
    const a = disposed(await PeerNode.start('a'));
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('./peer-child.ts', import.meta.url)), 'child'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      a.net.setPeers([{ bootId: 'child', name: 'child', host: '127.0.0.1', port: Number(line.toString()) }]);
      await until(() => a.net.reachable('child'));
      expect(await a.ask('child', 'echo')).toEqual({ values: ['echo'] });
      const values: unknown[] = [];
      const ended = new Promise<string>((resolve) => {
        a.net.ask('child', 'hold', { deadlineMs: 20_000 }, (error, value) => (error === null ? values.push(value) : resolve(error.kind)));
      });
      await until(() => values.length === 1);
      child.kill('SIGKILL');
      expect([await ended, values]).toEqual(['lost', ['working']]);
      await until(() => !a.net.reachable('child'));
      expect(a.net.peerLease('child')).toBeUndefined();
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('that waits for a peer who is dropped is told lost', async () => {
    const nodes = disposed(await twoNodes({}, { onAsk: () => undefined }));
    const waiting = nodes.a.ask('b', 1);
    nodes.a.net.setPeers([]);
    expect(await waiting).toEqual({ values: [], kind: 'lost' });
    expect(await nodes.a.ask('b', 1)).toEqual({ values: [], kind: 'unreachable' });
    expect(nodes.a.ups).toEqual(['b up', 'b down']);
  });

  it('reaches a peer whose address has changed', async () => {
    const nodes = disposed(await twoNodes());
    const proxy = disposed(await startFaultProxy({ port: nodes.b.net.port }));
    nodes.a.net.setPeers([nodes.b.at(proxy.port)]);
    await until(() => proxy.connections === 1);
    await nodes.a.reaches(nodes.b);
    expect(await nodes.a.ask('b', 1)).toEqual({ values: [1] });
  });

  it('is answered twenty thousand times over with 256 under way, each with its own', async () => {
    const nodes = disposed(await twoNodes());
    const total = 20_000;
    let next = 0;
    let wrong = 0;
    await new Promise<void>((resolve) => {
      let answered = 0;
      const one = (): void => {
        const i = next++;
        nodes.a.net.ask('b', i, { deadlineMs: 20_000 }, (error, value) => {
          if (error !== null || value !== i) wrong += 1;
          answered += 1;
          if (answered === total) resolve();
          else if (next < total) one();
        });
      };
      for (let i = 0; i < 256; i++) one();
    });
    expect(wrong).toBe(0);
  });
});

describe('a link', () => {
  it('that is black-holed is noticed: no lease after two beats, cut after 2 s, dialled again', async () => {
    const clock = new ManualClock();
    let lease = true;
    const b = disposed(await PeerNode.start('b', { clock, leaseValid: () => lease, onAsk: () => undefined }));
    const proxy = disposed(await startFaultProxy({ port: b.net.port }));
    const a = disposed(await PeerNode.start('a', { clock }));
    a.net.setPeers([b.at(proxy.port)]);
    await a.reaches(b);
    const beat = async (): Promise<void> => {
      const before = a.counts.framesIn;
      clock.advance(500);
      await until(() => a.counts.framesIn > before);
    };
    for (let i = 0; i < 20; i++) await beat();
    expect([a.net.peerLease('b'), a.ups]).toEqual([true, ['b up']]);
    lease = false;
    await beat();
    expect(a.net.peerLease('b')).toBe(false);

    proxy.stall('both');
    const waiting = a.ask('b', 'hello?', { deadlineMs: 60_000 });
    clock.advance(1_000);
    expect([a.net.reachable('b'), a.net.peerLease('b')]).toEqual([true, false]);
    clock.advance(500);
    expect([a.net.reachable('b'), a.net.peerLease('b')]).toEqual([false, undefined]);
    expect(await a.ask('b', 1)).toEqual({ values: [], kind: 'unreachable' });
    clock.advance(500);
    expect(a.ups).toEqual(['b up']);
    clock.advance(500);
    expect(a.ups).toEqual(['b up', 'b down']);
    expect(await waiting).toEqual({ values: [], kind: 'lost' });

    proxy.flow('both');
    await until(() => {
      clock.advance(100);
      return a.net.reachable('b');
    });
    expect(a.net.peerLease('b')).toBe(false);
  });

  it('tells the lease over the link that the peer dialled, too', async () => {
    // No beat comes: the hello says it.
    const clock = new ManualClock();
    const a = disposed(await PeerNode.start('a', { clock }));
    const b = disposed(await PeerNode.start('b', { clock, leaseValid: () => false }));
    b.net.setPeers([a.at()]);
    await b.reaches(a);
    expect(a.net.peerLease('b')).toBe(false);
    expect([a.net.reachable('b'), b.net.peerLease('a')]).toEqual([false, true]);
  });

  it('is not blamed for a silence of our own: after a stall of our loop one beat has passed, not twenty', async () => {
    const nodes = disposed(await twoNodes());
    const until = performance.now() + 2_600;
    while (performance.now() < until);
    expect(await nodes.a.ask('b', 1)).toEqual({ values: [1] });
    expect(nodes.a.ups).toEqual(['b up']);
  });

  it('ends in order: what was published just before arrives, what waits is lost', async () => {
    const nodes = disposed(await twoNodes({}, { onAsk: () => undefined }));
    const waiting = nodes.a.ask('b', 1);
    for (let i = 0; i < 1_000; i++) nodes.a.net.publish('@u', i);
    await nodes.a[Symbol.asyncDispose]();
    expect(await waiting).toEqual({ values: [], kind: 'lost' });
    await until(() => nodes.b.events.length === 1_000);
  });
});

describe('a hint', () => {
  it('[C6] reaches the peers that can be reached, and nobody later', async () => {
    const nodes = disposed(await twoNodes());
    nodes.a.net.hint(['revoked', 1]);
    await until(() => nodes.b.hints.length === 1);
    const c = disposed(await PeerNode.start('c'));
    nodes.a.net.setPeers([nodes.b.at(), c.at()]);
    nodes.a.net.hint(['revoked', 2]);
    await nodes.a.reaches(c);
    nodes.a.net.hint(['revoked', 3]);
    await until(() => nodes.b.hints.length === 3 && c.hints.length === 1);
    expect([nodes.b.hints, c.hints]).toEqual([
      [
        ['revoked', 1],
        ['revoked', 2],
        ['revoked', 3],
      ],
      [['revoked', 3]],
    ]);
    // A hint that went out ahead of the hello would have been refused, with the link.
    expect(c.counts.refused).toBe(0);
  });
});
