/** Small statements that belong to no actor: readiness, the database's epoch, taking away what is past its time. */
import type { Clock } from '../../actors/ports.ts';
import { limits } from '../../protocol/limits.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const probeSql = loadSql(import.meta.url, './probe.sql');
const purgeSql = loadSql(import.meta.url, './purge.sql');

const probeTimeoutMs = 1_000;
/** Far longer than any lane can wait to send a group again. */
const laneKeepMs = 7 * 24 * 3600_000;
const purgeRows = 1_000;

/** Commits a row of this node. Errors: Error when the database does not answer within 1 s; the driver's when it refuses. */
export async function readinessProbe(db: Database, node: string, clock: Clock): Promise<void> {
  let cancel = (): void => {};
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(probeTimeoutMs, () => reject(new Error(`the database did not commit a probe row within ${probeTimeoutMs} ms`)));
  });
  try {
    await Promise.race([db.query(probeSql, [node, clock.now()], 'probe'), late]);
  } finally {
    cancel();
  }
}

/** The identity of this history of data, made with the database: part of the durable watermark (live binding, section 5). */
export async function readDbEpoch(db: Database): Promise<string> {
  const [row] = await db.query<{ dbEpoch: string }>('select db_epoch::text as "dbEpoch" from meta');
  if (row === undefined) throw new Error('The database has no epoch: its meta row is gone.');
  return row.dbEpoch;
}

export interface Purged {
  readonly tombstones: number;
  readonly conflicts: number;
  readonly answers: number;
  readonly lanes: number;
}

/** Takes away tombstones and conflicts past 30 days, expired idempotency rows and dead lanes: at most 1,000 rows a table a call. */
export async function purgeExpired(db: Database, now: number): Promise<Purged> {
  const [row] = await db.query<Purged>(purgeSql, [now - limits.tombstoneMs, now - limits.conflictKeepMs, now, now - laneKeepMs, purgeRows]);
  return row ?? { tombstones: 0, conflicts: 0, answers: 0, lanes: 0 };
}
