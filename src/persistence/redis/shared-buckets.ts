/**
 * Token buckets that all nodes share, each taken from by one atomic script. While Redis is away a node grants its own share of
 * each bucket from memory: neither open nor shut.
 */
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import type { Clock, SharedBuckets } from '../../actors/ports.ts';
import { createMemoryBuckets } from '../memory/shared-buckets.ts';
import type { RedisConnection } from './open.ts';

const script = readFileSync(new URL('./take-token.lua', import.meta.url), 'utf8');

export interface RedisBucketsOptions {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Nodes that share the buckets, for the local share. Default 1. */
  readonly nodes?: () => number;
}

type WithScript = Redis & { tmcpTakeToken(key: string, capacity: number, windowMs: number): Promise<number> };

export function createRedisBuckets(redis: RedisConnection, options: RedisBucketsOptions): SharedBuckets {
  const local = createMemoryBuckets({ clock: options.clock });
  // The client sends the script's digest, and its text only where the server does not know it.
  redis.client.defineCommand('tmcpTakeToken', { numberOfKeys: 1, lua: script });
  const client = redis.client as WithScript;
  return {
    take: async (key, bucket) => {
      try {
        const waitUs = await client.tmcpTakeToken(`bucket:${key}`, bucket.capacity, bucket.windowMs);
        return waitUs === 0 ? { ok: true, retryAfterS: 0 } : { ok: false, retryAfterS: Math.ceil(waitUs / 1_000_000) };
      } catch {
        redis.counters.commandErrors++;
        const share = Math.max(1, Math.floor(bucket.capacity / Math.max(1, options.nodes?.() ?? 1)));
        return local.take(key, { capacity: share, windowMs: bucket.windowMs });
      }
    },
  };
}
