/** What a resume store promises, in memory and on Redis alike (ports.ts, `ResumeStore`). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ResumeRecord, ResumeStore } from '../../src/actors/ports.ts';
import { createMemoryResumeStore } from '../../src/persistence/memory/resume-store.ts';
import { openRedis } from '../../src/persistence/redis/open.ts';
import { createRedisResumeStore } from '../../src/persistence/redis/resume-store.ts';
import { limits } from '../../src/protocol/limits.ts';
import { freshRedis } from '../support/redis.ts';

interface Opened {
  readonly store: ResumeStore;
  /** Ms until the record is gone, as the store sees it. */
  ttlMs(session: string): Promise<number>;
  close(): Promise<void>;
}

const adapters: readonly { name: string; open(): Promise<Opened> }[] = [
  {
    name: 'memory',
    open: async () => {
      const clock = { at: 0, now: () => clock.at };
      const store = createMemoryResumeStore({ clock });
      return {
        store,
        ttlMs: async (session) => {
          clock.at += limits.resumeMs - 1;
          const there = await store.take(session);
          if (there === undefined) return 0;
          await store.put(there);
          clock.at += limits.resumeMs;
          return (await store.take(session)) === undefined ? limits.resumeMs : Number.POSITIVE_INFINITY;
        },
        close: async () => {},
      };
    },
  },
  {
    name: 'Redis',
    open: async () => {
      const share = await freshRedis();
      const redis = openRedis(share.url, { prefix: share.prefix });
      await redis.tried;
      return {
        store: createRedisResumeStore(redis),
        ttlMs: (session) => redis.client.pttl(`resume:${session}`),
        close: () => redis.close(),
      };
    },
  },
];

function recordOf(session: string): ResumeRecord {
  return {
    session,
    secretHash: 'hash',
    userId: '@alice:x',
    appId: 'ma_x',
    deviceId: 'd',
    generation: 0,
    seq: 7,
    events: [{ seq: 7, method: 'tween.payment.updated', params: { payment_id: 'pay_1', note: 'zwölf "字"' } }],
    gap: false,
  };
}

describe.each(adapters)('a resume store in $name', ({ open }) => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  it('gives a record once, as it was put', async () => {
    await opened.store.put(recordOf('once'));
    expect(await opened.store.take('once')).toEqual(recordOf('once'));
    expect(await opened.store.take('once')).toBeUndefined();
  });

  it('gives the record to one of many takers', async () => {
    await opened.store.put(recordOf('race'));
    const taken = await Promise.all(Array.from({ length: 20 }, () => opened.store.take('race')));
    expect(taken.filter((record) => record !== undefined)).toHaveLength(1);
  });

  it('keeps the newest record of a session', async () => {
    await opened.store.put(recordOf('twice'));
    await opened.store.put({ ...recordOf('twice'), seq: 9 });
    expect((await opened.store.take('twice'))?.seq).toBe(9);
  });

  it('keeps a record for the resume window, not longer', async () => {
    await opened.store.put(recordOf('window'));
    const ttlMs = await opened.ttlMs('window');
    expect(ttlMs).toBeGreaterThan(limits.resumeMs / 2);
    expect(ttlMs).toBeLessThanOrEqual(limits.resumeMs);
  });
});
