/** Resume records in Redis, so that any node can resume a session. Redis ends them; a lost one costs its client a fresh pull. */
import type { ResumeRecord, ResumeStore } from '../../actors/ports.ts';
import { limits } from '../../protocol/limits.ts';
import type { RedisConnection } from './open.ts';

/** Never rejects: a fault is counted, a record that cannot be had is as one that was lost. `take` is one GETDEL: of two takers one gets it. */
export function createRedisResumeStore(redis: RedisConnection): ResumeStore {
  const keyOf = (session: string): string => `resume:${session}`;
  return {
    put: async (record) => {
      try {
        await redis.client.set(keyOf(record.session), JSON.stringify(record), 'PX', limits.resumeMs);
        return true;
      } catch {
        redis.counters.commandErrors++;
        return false;
      }
    },
    take: async (session) => {
      try {
        const text = await redis.client.getdel(keyOf(session));
        return text === null ? undefined : (JSON.parse(text) as ResumeRecord);
      } catch {
        redis.counters.commandErrors++;
        return undefined;
      }
    },
  };
}
