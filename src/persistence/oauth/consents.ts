/**
 * What each person allowed each app, a row a scope. A row counts only with the hash of what the person was shown.
 * Order: each call is one statement. Who else writes: other nodes, through the same statements.
 */
import type { Clock } from '../../actors/ports.ts';
import type { Database, Queryable } from '../database.ts';
import { loadSql } from '../sql.ts';

const load = (name: string): string => loadSql(import.meta.url, `./sql/${name}.sql`);
const sql = { list: load('consent-list'), put: load('consent-put'), delete: load('consent-delete') };

export type ConsentMethod = 'initial' | 'consent_ui' | 'transaction' | 'preapproved';

/** One allowed scope. `scopeHash` names the meaning that was allowed; `approvedAt` is epoch ms. */
export interface Consent {
  readonly scope: string;
  readonly scopeHash: string;
  readonly method: ConsentMethod;
  readonly approvedAt: number;
}

interface ConsentRow {
  scope: string;
  scope_hash: string;
  method: ConsentMethod;
  approved_at: number;
}

/** The consents on `db`. */
export function createConsents(db: Database, clock: Clock) {
  return {
    async list(userId: string, appId: string): Promise<Consent[]> {
      const rows = await db.query<ConsentRow>(sql.list, [userId, appId], 'consent-list');
      return rows.map((row) => ({ scope: row.scope, scopeHash: row.scope_hash, method: row.method, approvedAt: row.approved_at }));
    },

    /** Records that the person allowed `entries`. Idempotent. */
    async put(userId: string, appId: string, entries: readonly { scope: string; hash: string }[], method: ConsentMethod): Promise<void> {
      if (entries.length === 0) return;
      await db.query(sql.put, [userId, appId, JSON.stringify(entries), method, clock.now()]);
    },
  };
}

/** Deletes consents inside the caller's transaction; undefined means all apps, all scopes. Gives what was deleted. */
export async function deleteConsents(
  tx: Queryable,
  userId: string,
  appId: string | undefined,
  scopes: readonly string[] | undefined,
): Promise<{ appId: string; scope: string }[]> {
  const params = [userId, appId ?? null, scopes === undefined ? null : JSON.stringify(scopes)];
  const rows = await tx.query<{ app_id: string; scope: string }>(sql.delete, params);
  return rows.map((row) => ({ appId: row.app_id, scope: row.scope }));
}
