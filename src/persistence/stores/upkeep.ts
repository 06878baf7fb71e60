/** Small statements that belong to no actor: readiness, the database's epoch, taking away what is past its time. */
import type { Clock } from '../../actors/ports.ts';
import { limits } from '../../protocol/limits.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const probeSql = loadSql(import.meta.url, './probe.sql');
const purgeSql = loadSql(import.meta.url, './purge.sql');
const forgetTombstonesSql = loadSql(import.meta.url, './forget-tombstones.sql');

const probeTimeoutMs = 1_000;
/** Far longer than any lane can wait to send a group again. */
const laneKeepMs = 7 * 24 * 3600_000;
const purgeRows = 1_000;
/** Rounds of one run: what a busy hour leaves behind is taken away in the next run, not in a lifetime. */
const purgeRounds = 500;
const forgottenRows = 10_000;

/** Commits a row of this node. Errors: Error when the database does not answer within 1 s; the driver's when it refuses. */
export async function readinessProbe(db: Database, node: string, clock: Clock): Promise<void> {
  let cancel = (): void => {};
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(probeTimeoutMs, () => reject(new Error(`the database did not commit a probe row within ${probeTimeoutMs} ms`)));
  });
  try {
    await Promise.race([db.urgent.query(probeSql, [node, clock.now()], 'probe'), late]);
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

/**
 * Takes away tombstones and conflicts past 30 days, expired idempotency rows and dead lanes: 1,000 rows a table a statement, until
 * there are no more, `rounds` are over (default 500) or `goOn`, asked before each, says no. Gives how many.
 */
export async function purgeExpired(db: Database, now: number, rounds = purgeRounds, goOn = (): boolean => true): Promise<Purged> {
  const params = [now - limits.tombstoneMs, now - limits.conflictKeepMs, now, now - laneKeepMs, purgeRows];
  let all: Purged = { tombstones: 0, conflicts: 0, answers: 0, lanes: 0 };
  for (let round = 0; round < rounds && goOn(); round++) {
    const [row] = await db.query<Purged>(purgeSql, params);
    if (row === undefined) break;
    all = {
      tombstones: all.tombstones + row.tombstones,
      conflicts: all.conflicts + row.conflicts,
      answers: all.answers + row.answers,
      lanes: all.lanes + row.lanes,
    };
    if (Math.max(row.tombstones, row.conflicts, row.answers) < purgeRows) break;
  }
  return all;
}

/**
 * Takes away a vault's tombstones up to a version, at most 10,000 a call. For versions that the vault's stored snapshot counts as dropped:
 * nobody can see them any more. Idempotent.
 */
export async function forgetTombstones(db: Database, address: string, version: number): Promise<void> {
  await db.query(forgetTombstonesSql, [address, version, forgottenRows], 'forget_tombstones');
}
