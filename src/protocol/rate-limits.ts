/** Token buckets by class (protocol section 28.1). Capacity is limit + burst; the refill is limit a window. */
import type { LimitClass } from './operation.ts';

export interface Bucket {
  readonly limit: number;
  readonly burst: number;
  readonly windowMs: number;
}

const minute = 60_000;
const hour = 3_600_000;

export const buckets: Readonly<Record<Exclude<LimitClass, 'none'>, Bucket>> = {
  token: { limit: 10, burst: 3, windowMs: minute },
  refresh: { limit: 20, burst: 5, windowMs: hour },
  payment_initiation: { limit: 5, burst: 0, windowMs: minute },
  payment_authorization: { limit: 3, burst: 0, windowMs: minute },
  balance: { limit: 60, burst: 10, windowMs: minute },
  transactions: { limit: 30, burst: 5, windowMs: minute },
  storage: { limit: 100, burst: 20, windowMs: minute },
  storage_batch: { limit: 10, burst: 2, windowMs: minute },
  capabilities: { limit: 100, burst: 0, windowMs: minute },
  general: { limit: 100, burst: 20, windowMs: minute },
};
