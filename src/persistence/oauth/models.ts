/**
 * Rows of the OAuth library: grants, codes, refresh tokens, sessions, interactions. Ids that are secrets arrive here already hashed.
 * Order: each call is one statement. Atomicity: `consume` and `rotate` have one winner among any number of callers on any node.
 * Who else writes: other nodes, through the same statements.
 */
import type { Clock } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const load = (name: string): string => loadSql(import.meta.url, `./sql/${name}.sql`);
const sql = {
  upsert: load('model-upsert'),
  rotate: load('model-rotate'),
  find: load('model-find'),
  findByUid: load('model-find-by-uid'),
  consume: load('model-consume'),
  grantOf: load('model-grant-of'),
  destroy: load('model-destroy'),
  destroyByUid: load('model-destroy-by-uid'),
  destroyByGrant: load('model-destroy-by-grant'),
  sweep: load('model-sweep'),
};

/** One row to write. `expiresAt` is epoch ms; a row past it does not exist for any reader. */
export interface ModelRow {
  readonly kind: string;
  readonly id: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly grantId: string | null;
  readonly accountId: string | null;
  readonly clientId: string | null;
  readonly userCode: string | null;
  readonly uid: string | null;
  readonly expiresAt: number;
}

/** A row as stored; `consumedAt` is epoch ms. */
export interface StoredModel {
  readonly payload: Record<string, unknown>;
  readonly consumedAt: number | null;
}

interface FoundRow {
  payload: Record<string, unknown>;
  consumed_at: number | null;
}

/** A used code is remembered this long, so that a late second use still ends its family. */
const usedKeptMs = 24 * 3_600_000;

/** The statements over `oauth_models`. */
export function createModels(db: Database, clock: Clock) {
  const stored = (rows: FoundRow[]): StoredModel | undefined => {
    const row = rows[0];
    return row === undefined ? undefined : { payload: row.payload, consumedAt: row.consumed_at };
  };
  return {
    /** Writes the row or replaces it; a used row stays used. */
    async upsert(row: ModelRow): Promise<void> {
      const { kind, id, payload, grantId, accountId, clientId, userCode, uid, expiresAt } = row;
      await db.query(
        sql.upsert,
        [kind, id, JSON.stringify(payload), grantId, accountId, clientId, userCode, uid, expiresAt],
        'oauth-upsert',
      );
    },

    /** Uses up `usedId` and writes `next` in one statement, and keeps their grant until `grantExpiresAt`. False: it was used, or the grant is gone. */
    async rotate(usedId: string, next: ModelRow, grantExpiresAt: number): Promise<boolean> {
      const { kind, id, payload, grantId, accountId, clientId, expiresAt } = next;
      const params = [kind, usedId, clock.now(), id, JSON.stringify(payload), grantId, accountId, clientId, expiresAt, grantExpiresAt];
      return (await db.query(sql.rotate, params, 'oauth-rotate')).length === 1;
    },

    async find(kind: string, id: string): Promise<StoredModel | undefined> {
      return stored(await db.query<FoundRow>(sql.find, [kind, id, clock.now()], 'oauth-find'));
    },

    async findByUid(kind: string, uid: string): Promise<StoredModel | undefined> {
      return stored(await db.query<FoundRow>(sql.findByUid, [kind, uid, clock.now()], 'oauth-find-by-uid'));
    },

    /** True for the one caller that used the row up. */
    async consume(kind: string, id: string): Promise<boolean> {
      const now = clock.now();
      return (await db.query(sql.consume, [kind, id, now, now + usedKeptMs], 'oauth-consume')).length === 1;
    },

    /** The grant a row belongs to, also when the row has expired. */
    async grantOf(kind: string, id: string): Promise<string | undefined> {
      const rows = await db.query<{ grant_id: string | null }>(sql.grantOf, [kind, id]);
      return rows[0]?.grant_id ?? undefined;
    },

    async destroy(kind: string, id: string): Promise<void> {
      await db.query(sql.destroy, [kind, id]);
    },

    async destroyByUid(kind: string, uid: string): Promise<void> {
      await db.query(sql.destroyByUid, [kind, uid]);
    },

    async destroyByGrant(kind: string, grantId: string): Promise<void> {
      await db.query(sql.destroyByGrant, [kind, grantId]);
    },

    /** Deletes up to `limit` expired rows; how many there were. */
    async sweep(limit: number): Promise<number> {
      return (await db.query(sql.sweep, [clock.now(), limit])).length;
    },
  };
}
