/** Resume records of one node, in memory and bounded. What is dropped costs its client a fresh pull. */
import type { Clock, ResumeRecord, ResumeStore } from '../../actors/ports.ts';
import { limits } from '../../protocol/limits.ts';
import { ExpiringMap } from './expiring-map.ts';

export interface MemoryResumeOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Default 20,000 records. */
  readonly maxRecords?: number;
  /** Bound of all records' JSON together. Default 64 Mi characters. */
  readonly maxChars?: number;
}

/** Records are kept as JSON: a copy whose size is known. */
export function createMemoryResumeStore(options: MemoryResumeOptions): ResumeStore {
  const records = new ExpiringMap<string>({
    clock: options.clock,
    maxEntries: options.maxRecords ?? 20_000,
    maxWeight: options.maxChars ?? 64 * 1024 * 1024,
  });
  return {
    put: async (record) => {
      const text = JSON.stringify(record);
      records.set(record.session, text, limits.resumeMs, text.length);
      return true;
    },
    take: async (session) => {
      const text = records.get(session);
      records.delete(session);
      return text === undefined ? undefined : (JSON.parse(text) as ResumeRecord);
    },
  };
}
