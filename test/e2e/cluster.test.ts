import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';

describe('three nodes on one database', () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startTestCluster(3);
  }, 60_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  it('[CLU1] share all slots, each owned by one', async () => {
    await cluster.until('every node has a share', () =>
      cluster.nodes.every(({ dev }) => dev.app.parts.nodes.slots.count > 250) ? true : undefined,
    );
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
});
