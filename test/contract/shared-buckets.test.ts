/** What shared buckets promise, in memory and on Redis alike (ports.ts, `SharedBuckets`; protocol section 28.2). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SharedBuckets } from '../../src/actors/ports.ts';
import { SystemClock } from '../../src/clock.ts';
import { createMemoryBuckets } from '../../src/persistence/memory/shared-buckets.ts';
import { openRedis } from '../../src/persistence/redis/open.ts';
import { createRedisBuckets } from '../../src/persistence/redis/shared-buckets.ts';
import { freshRedis } from '../support/redis.ts';

interface Opened {
  readonly buckets: SharedBuckets;
  close(): Promise<void>;
}

const clock = new SystemClock();
const adapters: readonly { name: string; open(): Promise<Opened> }[] = [
  { name: 'memory', open: async () => ({ buckets: createMemoryBuckets({ clock }), close: async () => {} }) },
  {
    name: 'Redis',
    open: async () => {
      const share = await freshRedis();
      const redis = openRedis(share.url, { prefix: share.prefix });
      await redis.tried;
      return {
        buckets: createRedisBuckets(redis, { clock }),
        close: async () => {
          // Nothing of this suite was answered from the local share.
          expect(redis.counters.commandErrors).toBe(0);
          await redis.close();
        },
      };
    },
  },
];

describe.each(adapters)('shared buckets in $name', ({ open }) => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  it('start full, give as many tokens as they hold, then refuse with the wait for one', async () => {
    const bucket = { capacity: 5, windowMs: 3_600_000 };
    for (let taken = 0; taken < 5; taken++) expect(await opened.buckets.take('full', bucket)).toEqual({ ok: true, retryAfterS: 0 });
    const refused = await opened.buckets.take('full', bucket);
    expect(refused.ok).toBe(false);
    expect(refused.retryAfterS).toBeGreaterThan(700);
    expect(refused.retryAfterS).toBeLessThanOrEqual(720);
  });

  it('a refusal takes nothing', async () => {
    const bucket = { capacity: 1, windowMs: 3_600_000 };
    await opened.buckets.take('refusal', bucket);
    const waits: number[] = [];
    for (let tries = 0; tries < 10; tries++) waits.push((await opened.buckets.take('refusal', bucket)).retryAfterS);
    expect(Math.max(...waits)).toBeLessThanOrEqual(3_600);
  });

  it('grant exactly their capacity to many takers at once', async () => {
    const bucket = { capacity: 100, windowMs: 3_600_000 };
    const answers = await Promise.all(Array.from({ length: 300 }, () => opened.buckets.take('crowd', bucket)));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(100);
  });

  it('refill: a refused taker gets a token after its wait', async () => {
    const bucket = { capacity: 2, windowMs: 100 };
    let refused = 0;
    let granted = 0;
    while (granted < 4) {
      const { ok } = await opened.buckets.take('refill', bucket);
      if (ok) granted++;
      else refused++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(refused).toBeGreaterThan(0);
  });

  it('are apart by key', async () => {
    const bucket = { capacity: 1, windowMs: 3_600_000 };
    expect((await opened.buckets.take('key-a', bucket)).ok).toBe(true);
    expect((await opened.buckets.take('key-b', bucket)).ok).toBe(true);
    expect((await opened.buckets.take('key-a', bucket)).ok).toBe(false);
  });
});
