/** Redis that is away: nothing throws, buckets fall back to the node's share, and all comes back by itself. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SystemClock } from '../../../src/clock.ts';
import { openRedis } from '../../../src/persistence/redis/open.ts';
import { createRedisResumeStore } from '../../../src/persistence/redis/resume-store.ts';
import { createRedisBuckets } from '../../../src/persistence/redis/shared-buckets.ts';
import { type OwnRedis, startRedis } from '../../support/redis.ts';

const clock = new SystemClock();
const record = { session: 's', secretHash: '', userId: '', appId: '', deviceId: '', generation: 0, seq: 0, events: [], gap: false };
const bucket = { capacity: 10, windowMs: 3_600_000 };

describe('[D3] Redis that goes away', () => {
  let server: OwnRedis;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  it('leaves each node its share of a bucket, drops resume records, and is used again when it is back', async () => {
    const redis = openRedis(server.url);
    await redis.tried;
    expect(redis.ready()).toBe(true);
    const buckets = createRedisBuckets(redis, { clock, nodes: () => 3 });
    const resumes = createRedisResumeStore(redis);
    await resumes.put(record);
    expect((await buckets.take('a', bucket)).ok).toBe(true);

    await server.kill();
    const answers = [];
    for (let taken = 0; taken < 10; taken++) answers.push((await buckets.take('b', bucket)).ok);
    expect(answers.filter((ok) => ok)).toHaveLength(3);
    await resumes.put(record);
    expect(await resumes.take('s')).toBeUndefined();
    expect(redis.counters.commandErrors).toBeGreaterThanOrEqual(12);

    await server.restart();
    while (!redis.ready()) await new Promise((resolve) => setImmediate(resolve));
    const errors = redis.counters.commandErrors;
    expect((await buckets.take('b', bucket)).ok).toBe(true);
    await resumes.put(record);
    expect(await resumes.take('s')).toEqual(record);
    expect(redis.counters.commandErrors).toBe(errors);
    await redis.close();
  });

  it('does not stop a start: the first try ends, commands fail at once and are counted', async () => {
    const redis = openRedis('redis://127.0.0.1:1');
    await redis.tried;
    expect(redis.ready()).toBe(false);
    expect((await createRedisBuckets(redis, { clock }).take('k', bucket)).ok).toBe(true);
    expect(redis.counters.connectionErrors).toBeGreaterThan(0);
    expect(redis.counters.commandErrors).toBe(1);
    await redis.close();
  });

  it('holds nothing that is truth: after FLUSHALL buckets are full and records are gone', async () => {
    const redis = openRedis(server.url, { prefix: 'flush:' });
    await redis.tried;
    const buckets = createRedisBuckets(redis, { clock });
    for (let taken = 0; taken < 10; taken++) await buckets.take('k', bucket);
    expect((await buckets.take('k', bucket)).ok).toBe(false);
    await redis.client.flushall();
    expect((await buckets.take('k', bucket)).ok).toBe(true);
    await redis.close();
  });
});
