/**
 * Counts sign-in tries of one subject (what somebody typed as the account, known or not). A try is charged before the password is
 * looked at, in one conditional statement, so that no number of parallel tries on any number of nodes is evaluated past the limit.
 */
import type { Clock } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const load = (name: string): string => loadSql(import.meta.url, `./sql/${name}.sql`);
const sql = { charge: load('guard-charge'), state: load('guard-state'), clear: load('guard-clear'), sweep: load('guard-sweep') };

/** Tries in a row before the subject is locked. */
const triesInARow = 5;
const firstLockMs = 15 * 60_000;
const longestLockMs = 24 * 3_600_000;

/** The guards on `db`. */
export function createGuards(db: Database, clock: Clock) {
  return {
    /** Charges one try. `lockedForMs` is 0 when the try may be looked at, otherwise how long the subject stays locked. */
    async charge(subject: string): Promise<{ readonly lockedForMs: number }> {
      const now = clock.now();
      const charged = await db.query(sql.charge, [subject, now, triesInARow, firstLockMs, longestLockMs], 'guard-charge');
      if (charged.length === 1) return { lockedForMs: 0 };
      const rows = await db.query<{ locked_until: number }>(sql.state, [subject]);
      return { lockedForMs: Math.max(1, (rows[0]?.locked_until ?? now) - now) };
    },

    /** Forgets the subject's failures: it proved itself. */
    async clear(subject: string): Promise<void> {
      await db.query(sql.clear, [subject]);
    },

    /** Forgets subjects that have been silent for a day. */
    async sweep(): Promise<void> {
      const now = clock.now();
      await db.query(sql.sweep, [now, now - longestLockMs]);
    },
  };
}
