/** What the tests' own Redis promises: real, shared by prefix, and back (empty) after a kill. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { freshRedis, startRedis } from '../../support/redis.ts';

async function withClient<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

describe('freshRedis', () => {
  it('gives each asker a prefix of its own on a real server', async () => {
    const [one, two] = [await freshRedis(), await freshRedis()];
    expect(one.prefix).not.toBe(two.prefix);
    expect(await withClient(one.url, (client) => client.set(`${one.prefix}k`, 'v'))).toBe('OK');
    expect(await withClient(one.url, (client) => client.get(`${one.prefix}k`))).toBe('v');
    expect(await withClient(two.url, (client) => client.get(`${two.prefix}k`))).toBeNull();
  });
});

describe('startRedis', () => {
  it('is gone after a kill, and back and empty after a restart', async () => {
    const server = await startRedis();
    try {
      await withClient(server.url, (client) => client.set('k', 'v'));
      await server.kill();
      await expect(withClient(server.url, (client) => client.get('k'))).rejects.toThrow();
      await server.restart();
      expect(await withClient(server.url, (client) => client.get('k'))).toBeNull();
    } finally {
      await server.stop();
    }
  });
});
