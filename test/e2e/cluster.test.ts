/** Several nodes on one database: rules of docs/spec/cluster.md. Real Postgres, real links, the real SDK. */
import { connect } from 'node:net';
import { WebSocket } from 'undici';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { slotOf } from '../../src/actors/runtime/slots.ts';
import type { Client } from '../../src/client/mod.ts';
import { TmcpError } from '../../src/protocol/errors.ts';
import { startTestCluster, type TestCluster, type TestNode } from '../support/cluster.ts';

const bob = '@bob:tween.example';
const carol = '@carol:tween.example';

describe('three nodes on one database', () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startTestCluster(3);
  }, 90_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  const others = (node: TestNode): TestNode[] => cluster.nodes.filter((other) => other !== node);
  const sql = async (text: string, params: readonly unknown[] = []): Promise<Record<string, unknown>[]> => {
    const [node] = cluster.nodes;
    return (node as TestNode).dev.app.parts.database.query(text, params);
  };

  it('[CLU1] share all slots, each owned by one', async () => {
    await cluster.until('every node has a share', () => cluster.nodes.every(({ dev }) => dev.app.parts.nodes.slots.count > 250));
    const owned = cluster.nodes.flatMap(({ dev }) => dev.app.parts.nodes.slots.mine());
    expect(new Set(owned).size).toBe(1024);
  }, 30_000);

  it('[CLU2] a message reaches its actor whichever node it comes to', async () => {
    const clients = await Promise.all(cluster.nodes.map((node) => cluster.client(node, '@alice:tween.example')));
    for (const [index, client] of clients.entries()) await client.call('tween.storage.set', { key: `k${index}`, value: String(index) });
    for (const client of clients) {
      for (const index of clients.keys()) expect((await client.call('tween.storage.get', { key: `k${index}` })).value).toBe(String(index));
    }
  }, 30_000);

  it('[CLU2] a refusal crosses nodes with its code and details', async () => {
    const away = others(cluster.ownerOf(bob))[0] as TestNode;
    const client = await cluster.client(away, bob);
    const refused = await client.call('tween.storage.get', { key: 'nothing here' }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'KEY_NOT_FOUND' });
  }, 30_000);

  it('[CLU2] an accepted write on another node is told durable to its session', async () => {
    const away = others(cluster.ownerOf(bob))[0] as TestNode;
    const client = await cluster.client(away, bob);
    const durable = new Promise<number>((resolve) => client.on<{ write: number }>('tween.session.durable', ({ write }) => resolve(write)));
    const answer = await client.call('tween.storage.set', { key: 'acc', value: 'v', durability: 'accepted' });
    expect(answer).toMatchObject({ durable: false, write: 1 });
    expect(await durable).toBe(1);
  }, 30_000);

  it('[CLU2] the same idempotency key gives the same payment on every node', async () => {
    const clients = await Promise.all(cluster.nodes.map((node) => cluster.client(node, bob)));
    const request = { amount: 3, currency: 'USD', description: 'tea', merchant_order_id: 'o-1', idempotency_key: 'one-tea' };
    const views = await Promise.all(clients.map((client) => client.call('tween.wallet.pay', request)));
    expect(new Set(views.map((view) => JSON.stringify(view))).size).toBe(1);
    const other = await clients[1]?.call('tween.wallet.pay', { ...request, amount: 4 }).catch((error: unknown) => error);
    expect(other).toMatchObject({ code: 'DUPLICATE_TRANSACTION' });
  }, 30_000);

  it('[CLU3] events reach the sessions of a user on other nodes, in order, and not the session that caused them', async () => {
    const [first, second, third] = (await Promise.all(cluster.nodes.map((node) => cluster.client(node, carol)))) as [
      Client,
      Client,
      Client,
    ];
    const heard: string[][] = [[], [], []];
    for (const [index, client] of [first, second, third].entries())
      client.on<{ changes: { key: string }[] }>('tween.storage.changed', ({ changes }) =>
        heard[index]?.push(...changes.map(({ key }) => key)),
      );
    for (let n = 0; n < 5; n++) await first.call('tween.storage.set', { key: `e${n}`, value: 'v' });
    await cluster.until('all events', () => heard[1]?.length === 5 && heard[2]?.length === 5);
    const all = ['e0', 'e1', 'e2', 'e3', 'e4'];
    expect(heard).toEqual([[], all, all]);
  }, 30_000);

  it('[CLU4] a session is resumed on another node, and its old socket is closed with 4409', async () => {
    const [from, to] = cluster.nodes as [TestNode, TestNode];
    const old = await openSocket(from, await cluster.token(bob));
    const first = await old.open();
    const other = await cluster.client(to, bob);
    await other.call('tween.storage.set', { key: 'while-open', value: 'v' });
    await cluster.until('the event', () => old.events.length === 1);
    const again = await openSocket(to, await cluster.token(bob));
    const second = await again.open({ session: first.session, secret: first.secret, seq: 0 });
    expect(second).toMatchObject({ resumed: true, session: first.session, seq: 1 });
    expect(await old.closed).toBe(4409);
    await cluster.until('the replayed event', () => again.events.length === 1);
    expect(again.events[0]).toMatchObject({ seq: 1, method: 'tween.storage.changed' });
    again.socket.close();
  }, 30_000);

  it('[CLU4] a wrong secret leaves the session where it is', async () => {
    const [from, to] = cluster.nodes as [TestNode, TestNode];
    const old = await openSocket(from, await cluster.token(bob));
    const first = await old.open();
    const thief = await openSocket(to, await cluster.token(bob));
    const second = await thief.open({ session: first.session, secret: 'x'.repeat(43), seq: 0 });
    expect(second).toMatchObject({ resumed: false });
    expect(second.session).not.toBe(first.session);
    expect(await old.ping()).toBe(true);
    old.socket.close();
    thief.socket.close();
  }, 30_000);

  it('[CLU5] slots follow their traffic, without an error and without a write lost', async () => {
    const owner = cluster.ownerOf(carol);
    const away = others(owner)[0] as TestNode;
    const client = await cluster.client(away, carol);
    let written = 0;
    await cluster.until('the slot follows', async () => {
      await client.call('tween.storage.set', { key: 'follow', value: String(++written) });
      return away.dev.app.parts.nodes.describe(`user:${carol}`)?.state === 'mine';
    });
    expect((await client.call('tween.storage.get', { key: 'follow' })).value).toBe(String(written));
    expect(cluster.ownerOf(carol)).toBe(away);
  }, 40_000);

  it('[CLU10] a withdrawn token ends its sessions on every node', async () => {
    await cluster.addUser('@dora:tween.example');
    const clients = await Promise.all(cluster.nodes.map((node) => cluster.client(node, '@dora:tween.example')));
    const { parts } = (cluster.nodes[0] as TestNode).dev.app;
    await parts.revocations.revoke({ userId: '@dora:tween.example', at: parts.clock.now() + 1_000 });
    await cluster.until('all closed', () => clients.every(({ state }) => state === 'closed'));
  }, 30_000);

  it('[CLU8] [A1] a node that was fenced answers nothing stale: it gives up what it holds and asks', async () => {
    const owner = cluster.ownerOf(bob);
    const client = await cluster.client(owner, bob);
    await client.call('tween.storage.set', { key: 'fence', value: 'before' });
    await sql('update slots set epoch = epoch + 1, owner = $1 where slot = $2', ['nobody', slotOf(`user:${bob}`)]);
    // Refused at first: its epoch is over. The node finds the slot without a living owner and takes it anew.
    await cluster.until('the write is kept', () =>
      client.call('tween.storage.set', { key: 'fence', value: 'after' }).then(
        () => true,
        (error: unknown) => {
          if (error instanceof TmcpError && error.code === 'SERVICE_UNAVAILABLE') return undefined;
          throw error;
        },
      ),
    );
    expect((await client.call('tween.storage.get', { key: 'fence' })).value).toBe('after');
    const [row] = await sql(
      'select s.epoch as slot_epoch, max(a.epoch) as actor_epoch from slots s join actors a on a.slot = s.slot where s.slot = $1 group by s.epoch',
      [slotOf(`user:${bob}`)],
    );
    expect(row?.['actor_epoch']).toBe(row?.['slot_epoch']);
  }, 40_000);

  it('[CLU11] [A1] a peer without the key is not spoken to', async () => {
    const [{ peer_port: port } = {}] = await sql('select peer_port from nodes limit 1');
    const answer = await new Promise<Buffer>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\n\r\n'));
      const chunks: Buffer[] = [];
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', () => {});
      socket.on('close', () => resolve(Buffer.concat(chunks)));
    });
    // At most a TLS alert.
    expect(answer.length).toBeLessThan(16);
  }, 30_000);

  it('[CLU12] [C7] a node with other keys is refused', async () => {
    await expect(cluster.add({ TMCP_PEPPER: Buffer.alloc(32, 7).toString('base64') })).rejects.toThrow(/configuration/);
  }, 40_000);

  it('[CLU12] [C7] a node whose current key the others do not know is refused', async () => {
    await expect(cluster.add({ TMCP_COOKIE_KEYS: 'a'.repeat(40) })).rejects.toThrow(/current cookies key/);
  }, 40_000);

  it('[CLU12] [C8] a second node of the same name is refused', async () => {
    await expect(cluster.add({ TMCP_NODE_NAME: 'n1' })).rejects.toThrow(/name n1/);
  }, 40_000);

  it('[CLU12] a node that would be alone is refused', async () => {
    await expect(cluster.add({ TMCP_CLUSTER_PORT: 'off' })).rejects.toThrow(/TMCP_CLUSTER_PORT/);
  }, 40_000);

  it('[CLU6] [C4] a node that drains hands all over and leaves: its clients go on elsewhere, and nothing is lost', async () => {
    const leaving = cluster.nodes[2] as TestNode;
    const staying = cluster.nodes[0] as TestNode;
    const client = await cluster.client(staying, bob);
    const writing = { on: true, last: 0 };
    const failures: unknown[] = [];
    const work = (async () => {
      while (writing.on) {
        const value = writing.last + 1;
        await client.call('tween.storage.set', { key: 'drain', value: String(value) }).then(
          () => (writing.last = value),
          (error: unknown) => failures.push(error),
        );
      }
    })();
    await leaving.stop();
    writing.on = false;
    await work;
    expect(failures).toEqual([]);
    expect((await client.call('tween.storage.get', { key: 'drain' })).value).toBe(String(writing.last));
    expect(await sql('select name from nodes order by name')).toEqual([{ name: 'n1' }, { name: 'n2' }]);
    await cluster.until(
      'the others have all',
      () => cluster.nodes.reduce((sum, { dev }) => sum + dev.app.parts.nodes.slots.count, 0) === 1024,
    );
  }, 60_000);

  it('[CLU7] what a dead node owned is served elsewhere once its lease is over', async () => {
    const dying = cluster.ownerOf(carol);
    const staying = others(dying)[0] as TestNode;
    const client = await cluster.client(staying, carol);
    await client.call('tween.storage.set', { key: 'dead', value: 'v' });
    // Its lease is no longer renewed and its links are gone: to others it is dead.
    await dying.dev.app.parts.nodes.stop();
    expect((await client.call('tween.storage.get', { key: 'dead' })).value).toBe('v');
    expect(cluster.ownerOf(carol)).toBe(staying);
    // Cut off, it does nothing for anybody.
    const refused = await new Promise((resolve) =>
      dying.dev.app.parts.nodes.tell(`user:${carol}`, { type: 'mfa.required', input: {}, who: null, reply: (error) => resolve(error) }),
    );
    expect(refused).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  }, 40_000);
});

describe('two nodes with the protocol’s rate limits', () => {
  it('[CLU9] [R6] count one user once, whichever nodes the requests come to', async () => {
    const cluster = await startTestCluster(2, { TMCP_RATE_LIMITS: 'spec' });
    onTestFinished(() => cluster[Symbol.asyncDispose]());
    const clients = await Promise.all(cluster.nodes.map((node) => cluster.client(node, bob)));
    const outcomes: string[] = [];
    for (let n = 0; n < 12; n++) {
      const request = { amount: 1, currency: 'USD', description: 'd', merchant_order_id: `o${n}`, idempotency_key: `k${n}` };
      await (clients[n % 2] as Client).call('tween.wallet.pay', request).then(
        () => outcomes.push('ok'),
        (error: unknown) => outcomes.push((error as TmcpError).code),
      );
    }
    expect(outcomes.filter((outcome) => outcome === 'ok')).toHaveLength(5);
    expect(outcomes.filter((outcome) => outcome === 'RATE_LIMIT_EXCEEDED')).toHaveLength(7);
  }, 60_000);
});

interface Opened {
  readonly session: string;
  readonly secret: string;
  readonly resumed: boolean;
  readonly seq: number;
}

/** A bare JSON socket, for what the SDK does by itself. */
async function openSocket(node: TestNode, token: string) {
  const socket = new WebSocket(`${node.origin.replace('http', 'ws')}/v1/live`, ['tmcp.json.v1']);
  const events: { seq: number; method: string }[] = [];
  const answers = new Map<number, (message: { result?: unknown; error?: unknown }) => void>();
  let ids = 0;
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as { id?: number; seq?: number; method?: string; result?: unknown };
    if (message.id !== undefined) answers.get(message.id)?.(message);
    else events.push(message as { seq: number; method: string });
  });
  const closed = new Promise<number>((resolve) => socket.addEventListener('close', ({ code }) => resolve(code)));
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  const call = (method: string, params: unknown): Promise<{ result?: unknown; error?: unknown }> =>
    new Promise((resolve) => {
      const id = ++ids;
      answers.set(id, resolve);
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  return {
    socket,
    events,
    closed,
    open: async (resume?: { session: string; secret: string; seq: number }): Promise<Opened> =>
      (await call('tween.session.open', { token, device: { id: 'raw' }, ...(resume === undefined ? {} : { resume }) })).result as Opened,
    ping: async (): Promise<boolean> => (await call('tween.session.ping', {})).error === undefined,
  };
}
