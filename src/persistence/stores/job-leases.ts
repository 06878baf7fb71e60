/**
 * Jobs that one node at a time runs. A lease is by the database's clock; when it ends, another node goes on under a higher epoch, and
 * whatever the former holder then says is refused. Who else writes: every other node, through the same statements.
 */
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const trySql = loadSql(import.meta.url, './job-lease-try.sql');
const renewSql = loadSql(import.meta.url, './job-lease-renew.sql');
const doneSql = loadSql(import.meta.url, './job-lease-done.sql');

/** Errors of all methods: the driver's, when the database is away. */
export interface JobLeases {
  /**
   * Takes the job for `leaseMs`. Undefined: a lease is running, also when it is the owner's own, or the job was done less than
   * `everyMs` ago (default 0). Of many that try at once one gets it.
   */
  tryLease(name: string, owner: string, leaseMs: number, everyMs?: number): Promise<{ readonly epoch: number } | undefined>;
  /** Makes the lease last `leaseMs` from now, a lapsed one too while nobody took it. False: it is lost, so stop the job. */
  renew(name: string, owner: string, epoch: number, leaseMs: number): Promise<boolean>;
  /** Ends the lease and notes the run. False, with nothing changed: it was lost before. */
  done(name: string, owner: string, epoch: number): Promise<boolean>;
}

/** The leases on a migrated database. `owner` is a node's boot id. */
export function createJobLeases(db: Database): JobLeases {
  return {
    tryLease: async (name, owner, leaseMs, everyMs = 0) => (await db.query<{ epoch: number }>(trySql, [name, owner, leaseMs, everyMs]))[0],
    renew: async (name, owner, epoch, leaseMs) => (await db.query(renewSql, [name, owner, epoch, leaseMs])).length > 0,
    done: async (name, owner, epoch) => (await db.query(doneSql, [name, owner, epoch])).length > 0,
  };
}
