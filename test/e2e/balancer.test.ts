/**
 * deploy/haproxy and deploy/nginx with the real programs in front of three nodes of their own processes: who is sent where, and what a
 * client sees when a node dies, freezes, drains or is not ready.
 */
import { randomBytes } from 'node:crypto';
import { WebSocket } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Balancer, findBalancer, startBalancer } from '../../scripts/lib/balancer.ts';
import { createClient } from '../../src/client/mod.ts';
import type { SocketConstructor } from '../../src/client/socket.ts';
import { BalancedNode, openThrough } from '../support/balanced-node.ts';
import { LiveClient, UpgradeRefused } from '../support/live-client.ts';

const letters = 'abcdefghijklmnopqrstuvwxyz234567';
/** 64 of the 1,024 values a user can have. */
const affinities = Array.from({ length: 64 }, (_, n) => `${letters[n >> 1]}${letters[(n * 13) % 32]}`);

for (const kind of ['haproxy', 'nginx'] as const)
  if (findBalancer(kind) === undefined) process.stdout.write(`skipped: ${kind} is not installed\n`);

const nodes = ['n1', 'n2', 'n3'].map((name) => new BalancedNode(name));
const clients: LiveClient[] = [];
let balancer: Balancer;

async function open(affinity?: string): Promise<{ client: LiveClient; node: string }> {
  const opened = await openThrough(balancer.port, affinity);
  clients.push(opened.client);
  return opened;
}

/** The node of each value, by a socket that is let go. */
async function map(values: readonly string[] = affinities): Promise<string[]> {
  const found: string[] = [];
  for (const value of values) {
    const { client, node } = await openThrough(balancer.port, value);
    client.cut();
    found.push(node);
  }
  return found;
}

function named(name: string): BalancedNode {
  return nodes.find((node) => node.name === name) as BalancedNode;
}

const share = (places: readonly string[], name: string): number => places.filter((place) => place === name).length;

function put(path: string, value = 'v'): Promise<Response> {
  return fetch(`${balancer.origin}${path}`, {
    method: 'PUT',
    headers: { authorization: 'Bearer tep.alice', 'content-type': 'application/json' },
    body: JSON.stringify({ value }),
  });
}

beforeAll(async () => {
  await Promise.all(nodes.map((node) => node.start()));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.cut();
  // A test that failed leaves nodes as they were in its middle.
  for (const node of nodes) {
    if (!node.running) await node.start();
    node.signal('SIGCONT');
    node.ready(true);
  }
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.kill()));
});

/** Ends every node and starts it again: alive, ready, and not draining. */
async function whole(): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      await node.kill();
      await node.start();
    }),
  );
}

describe.skipIf(findBalancer('haproxy') === undefined)('HAProxy', () => {
  beforeAll(async () => {
    balancer = await startBalancer('haproxy', { nodes });
  });
  afterAll(() => balancer.stop());

  async function states(expected: Readonly<Record<string, string>>): Promise<void> {
    await expect.poll(() => balancer.states(), { timeout: 20_000, interval: 100 }).toEqual(expected);
  }
  const allUp = { n1: 'UP', n2: 'UP', n3: 'UP' };

  it('sends everybody with the same affinity to the same node, and shares the values out', async () => {
    const first = await map();
    expect(await map([...affinities].reverse())).toEqual([...first].reverse());
    for (const { name } of nodes) expect(share(first, name)).toBeGreaterThan(affinities.length / 6);
  });

  it.each([undefined, 'x', 'ABC', '%00'])('takes the node with the fewest connections with an affinity of %s', async (affinity) => {
    const places: string[] = [];
    for (let n = 0; n < 9; n++) places.push((await open(affinity)).node);
    for (const { name } of nodes) expect(share(places, name)).toBe(3);
  });

  it('brings a client of the SDK back to its node', async () => {
    const errors: unknown[] = [];
    const client = createClient({
      url: `ws://127.0.0.1:${balancer.port}/v1/live`,
      token: async () => 'tep.alice',
      deviceId: 'd',
      WebSocket: WebSocket as unknown as SocketConstructor,
      onError: (error) => errors.push(error),
    });
    await client.connect();
    expect(client.affinity).toMatch(/^[a-z2-7]{2}$/);
    // The first socket went anywhere; from the second on it is the home of its affinity.
    client.disconnect();
    await client.connect();
    const { node, session } = client.session ?? {};
    for (let n = 0; n < 3; n++) {
      client.disconnect();
      await client.connect();
      expect(client.session).toMatchObject({ node, session, resumed: true });
    }
    await client.close();
    expect(errors).toEqual([]);
  });

  it('a dead node is passed by from its first moment on, its share alone moves, and comes back with it', { timeout: 60_000 }, async () => {
    const before = await map();
    const mine = await open(affinities[before.indexOf('n2')]);
    await named('n2').kill();
    // The check has not seen it yet: these connections are refused and made elsewhere.
    const during = await map();
    expect(await mine.client.closed).toMatchObject({ code: 1006 });
    for (const [index, place] of during.entries()) {
      if (before[index] === 'n2') expect(place).not.toBe('n2');
      else expect(place).toBe(before[index]);
    }
    await states({ ...allUp, n2: 'DOWN' });
    const after = await map();
    for (const [index, place] of after.entries()) if (before[index] !== 'n2') expect(place).toBe(before[index]);
    expect(new Set(after)).toEqual(new Set(['n1', 'n3']));
    expect(await map()).toEqual(after);
    await named('n2').start();
    await states(allUp);
    // Slow start: its points on the ring come back over ten seconds.
    await expect.poll(() => map(), { timeout: 30_000, interval: 1_000 }).toEqual(before);
  });

  it('a node that is not ready gets nothing new and keeps what it has', { timeout: 60_000 }, async () => {
    const before = await map();
    const value = affinities[before.indexOf('n1')] as string;
    const mine = await open(value);
    named('n1').ready(false);
    await states({ ...allUp, n1: 'NOLB' });
    const held = (await named('n1').seen()).routes['PUT /api/v1/storage/:key'];
    expect(share(await map(), 'n1')).toBe(0);
    for (let n = 0; n < 9; n++) expect((await put(`/api/v1/storage/k${n}`)).status).toBeLessThan(300);
    expect((await named('n1').seen()).routes['PUT /api/v1/storage/:key']).toBe(held);
    await mine.client.settled();
    named('n1').ready(true);
    await states(allUp);
    await mine.client.settled();
  });

  it('with no node ready it takes those that are alive', { timeout: 60_000 }, async () => {
    for (const node of nodes) node.ready(false);
    await states({ n1: 'NOLB', n2: 'NOLB', n3: 'NOLB' });
    const { client } = await open('ab');
    expect((await put('/api/v1/storage/k')).status).toBeLessThan(300);
    for (const node of nodes) node.ready(true);
    await states(allUp);
    await client.settled();
  });

  it('a frozen node loses its sockets, so that its clients go elsewhere, and is taken again when it wakes', {
    timeout: 60_000,
  }, async () => {
    const { client, node } = await open('q7');
    // One that came by the other backend, which follows this one's checks.
    let first = await open();
    while (first.node !== node) first = await open();
    named(node).signal('SIGSTOP');
    const began = performance.now();
    await Promise.all([client.closed, first.client.closed]);
    const after = performance.now() - began;
    await states({ ...allUp, [node]: 'DOWN' });
    const moved = await open('q7');
    expect(moved.node).not.toBe(node);
    named(node).signal('SIGCONT');
    await states(allUp);
    await moved.client.settled();
    // Two checks of 2 s each, 1 s and then half a second apart.
    expect(after).toBeLessThan(10_000);
  });

  it('a request that was sent is never sent again', { timeout: 60_000 }, async () => {
    const answer = put('/api/v1/storage/hold-haproxy');
    const held = async (): Promise<string[]> => {
      const seen = await Promise.all(nodes.map((node) => node.seen()));
      return nodes.flatMap(({ name }, index) => Array.from({ length: seen[index]?.held ?? 0 }, () => name));
    };
    await expect.poll(held).toHaveLength(1);
    const [owner = ''] = await held();
    await named(owner).kill();
    expect((await answer).status).toBe(502);
    await named(owner).start();
    expect(await held()).toEqual([]);
    await states(allUp);
  });

  it('with every node dead it answers 503 in the protocol’s words, and all is well when they are back', { timeout: 60_000 }, async () => {
    for (const node of nodes) await node.kill();
    const answer = await fetch(`${balancer.origin}/api/v1/user`);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
    expect(await answer.json()).toMatchObject({ error: { code: 'SERVICE_UNAVAILABLE', retry_after: 2 } });
    await expect(open('ab')).rejects.toThrow(UpgradeRefused);
    for (const node of nodes) await node.start();
    await states(allUp);
    await open('ab');
  });

  it('a drained node’s clients are told by the node and taken by another one at once', { timeout: 60_000 }, async () => {
    const { client, node } = await open('zz');
    named(node).drain();
    await client.event('tween.session.draining');
    // The check has not seen it yet; it refuses with 503, and a handshake that was refused is made elsewhere.
    expect((await open('zz')).node).not.toBe(node);
    for (let n = 0; n < 6; n++) expect((await open()).node).not.toBe(node);
    expect(await client.closed).toMatchObject({ code: 1012 });
    await whole();
    await states(allUp);
  });

  it('a request that a node refused for now is not made elsewhere', async () => {
    const asked = async (): Promise<number> => {
      const seen = await Promise.all(nodes.map((node) => node.seen()));
      return seen.reduce((sum, { routes }) => sum + (routes['POST /api/v1/auth/revoke'] ?? 0), 0);
    };
    const before = await asked();
    const answer = await fetch(`${balancer.origin}/api/v1/auth/revoke`, {
      method: 'POST',
      headers: { authorization: 'Bearer tep.alice', 'content-type': 'application/json' },
      body: JSON.stringify({ reason: 'refuse:SERVICE_UNAVAILABLE' }),
    });
    expect(answer.status).toBe(503);
    expect(await asked()).toBe(before + 1);
  });

  it('takes so many connections of one address and not one more', async () => {
    const strict = await startBalancer('haproxy', { nodes, perAddress: 3 });
    try {
      const counts: number[] = [];
      const take = async (): Promise<number> => {
        const sockets: LiveClient[] = [];
        for (let more = true; more && sockets.length < 5; ) {
          await LiveClient.connect(strict.port).then(
            (socket) => sockets.push(socket),
            () => (more = false),
          );
        }
        for (const socket of sockets) socket.cut();
        counts.push(sockets.length);
        return sockets.length;
      };
      // What looked whether it listens, and the round before, count until they are let go.
      await expect.poll(take, { timeout: 10_000 }).toBe(3);
      expect(Math.max(...counts)).toBe(3);
    } finally {
      await strict.stop();
    }
  });
});

describe.skipIf(findBalancer('nginx') === undefined)('nginx', () => {
  beforeAll(async () => {
    await whole();
    balancer = await startBalancer('nginx', { nodes });
  });
  afterAll(() => balancer.stop());

  it('sends everybody with the same affinity to the same node, and shares the values out', async () => {
    const first = await map();
    expect(await map([...affinities].reverse())).toEqual([...first].reverse());
    for (const { name } of nodes) expect(share(first, name)).toBeGreaterThan(affinities.length / 6);
  });

  it.each([undefined, 'x', 'ABC', '%00'])('takes any node with an affinity of %s', async (affinity) => {
    const places = new Set<string>();
    for (let n = 0; n < 40 && places.size < 3; n++) places.add((await open(affinity)).node);
    expect(places.size).toBe(3);
  });

  it('a dead node is passed by from its first moment on, its share alone moves, and comes back with it', { timeout: 60_000 }, async () => {
    const before = await map();
    const mine = await open(affinities[before.indexOf('n2')]);
    await named('n2').kill();
    const during = await map();
    expect(await mine.client.closed).toMatchObject({ code: 1006 });
    for (const [index, place] of during.entries()) {
      if (before[index] === 'n2') expect(place).not.toBe('n2');
      else expect(place).toBe(before[index]);
    }
    await named('n2').start();
    await expect.poll(() => map(), { timeout: 30_000, interval: 1_000 }).toEqual(before);
  });

  it('a node that drains is passed by because it refuses', { timeout: 60_000 }, async () => {
    const { client, node } = await open('zz');
    named(node).drain();
    expect(await client.closed).toMatchObject({ code: 1012 });
    expect((await open('zz')).node).not.toBe(node);
    await whole();
  });

  it('a node that is merely not ready goes on getting its share: nobody asks it', { timeout: 60_000 }, async () => {
    await expect.poll(() => map(), { timeout: 30_000, interval: 1_000 }).toContain('n1');
    named('n1').ready(false);
    expect(share(await map(), 'n1')).toBeGreaterThan(0);
    named('n1').ready(true);
  });

  it.each(['PUT', 'DELETE', 'POST'])('a %s that was sent is never sent again', { timeout: 60_000 }, async (method) => {
    const body = method === 'DELETE' ? {} : { body: JSON.stringify(method === 'PUT' ? { value: 'v' } : { reason: 'hold' }) };
    const path = method === 'POST' ? '/api/v1/auth/revoke' : `/api/v1/storage/hold-${randomBytes(4).toString('hex')}`;
    const answer = fetch(`${balancer.origin}${path}`, {
      method,
      headers: { authorization: 'Bearer tep.alice', 'content-type': 'application/json' },
      ...body,
    });
    const held = async (): Promise<string[]> => {
      const seen = await Promise.all(nodes.map((node) => node.seen()));
      return nodes.filter((_, index) => (seen[index]?.held ?? 0) > 0).map(({ name }) => name);
    };
    await expect.poll(held).toHaveLength(1);
    const [owner = ''] = await held();
    await named(owner).kill();
    expect((await answer).status).toBe(502);
    await named(owner).start();
    expect(await held()).toEqual([]);
  });

  it('with every node dead it refuses sockets in the protocol’s words, and requests with 502', { timeout: 60_000 }, async () => {
    for (const node of nodes) await node.kill();
    expect((await fetch(`${balancer.origin}/api/v1/user`)).status).toBe(502);
    const refused: unknown = await open('ab').catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UpgradeRefused);
    const { status, headers, body } = refused as UpgradeRefused;
    expect([status, headers['retry-after']]).toEqual([503, '2']);
    expect(JSON.parse(body)).toMatchObject({ error: { code: 'SERVICE_UNAVAILABLE', retry_after: 2 } });
    for (const node of nodes) await node.start();
    const opens = (): Promise<boolean> => open('ab').then(Boolean, () => false);
    await expect.poll(opens, { timeout: 20_000, interval: 500 }).toBe(true);
  });
});
