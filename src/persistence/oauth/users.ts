/**
 * Local accounts: who may sign in, and the directory of people the rest of the server reads.
 * Order: each call is one statement. Who else writes: other nodes; a change is seen here within a second.
 */
import type { Clock, UserDirectory, UserProfile } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';
import { cached } from './cached.ts';
import { together } from './together.ts';

const load = (name: string): string => loadSql(import.meta.url, `./sql/${name}.sql`);
const sql = {
  find: load('user-find'),
  password: load('user-password'),
  setWallet: load('user-set-wallet'),
  seed: load('user-seed'),
  setStatus: load('user-set-status'),
  setPassword: load('user-set-password'),
};

interface UserRow {
  user_id: string;
  display_name: string;
  avatar_url: string | null;
  status: 'active' | 'suspended';
  wallet_id: string | null;
}

/** A person to make. `passwordHash` comes from the `SecretHasher`; without one the person cannot sign in here. */
export interface UserSeed {
  readonly userId: string;
  readonly displayName: string;
  readonly avatarUrl?: string;
  readonly passwordHash?: string;
}

/** The accounts on `db`, with a directory whose answers are at most a second old. */
export function createUsers(db: Database, clock: Clock) {
  const rows = cached(
    clock,
    together(async (userIds) => new Map((await db.query<UserRow>(sql.find, [userIds], 'user-find')).map((row) => [row.user_id, row]))),
  );

  const directory: UserDirectory = {
    async find(userId) {
      const row = await rows.get(userId);
      if (row === undefined) return undefined;
      const profile: UserProfile = { userId: row.user_id, displayName: row.display_name, status: row.status };
      return row.avatar_url === null ? profile : { ...profile, avatarUrl: row.avatar_url };
    },
  };

  return {
    ...directory,

    /** The hash to verify a password with; undefined when there is no such active account. Never cached. */
    async passwordHash(userId: string): Promise<string | undefined> {
      const found = await db.query<{ password_hash: string }>(sql.password, [userId], 'user-password');
      return found[0]?.password_hash;
    },

    /** The wallet the account is known to have. */
    async walletId(userId: string): Promise<string | undefined> {
      return (await rows.get(userId))?.wallet_id ?? undefined;
    },

    /** Remembers the account's wallet; the first one stays. */
    async setWallet(userId: string, walletId: string): Promise<void> {
      await db.query(sql.setWallet, [userId, walletId, clock.now()]);
      rows.forget(userId);
    },

    /** Makes the account or updates its names; a password that is set stays. Idempotent. */
    async seed(user: UserSeed): Promise<void> {
      await db.query(sql.seed, [user.userId, user.displayName, user.avatarUrl ?? null, user.passwordHash ?? null, clock.now()]);
      rows.forget(user.userId);
    },

    /** Suspends an account or lets it in again; other nodes follow within a second. */
    async setStatus(userId: string, status: UserProfile['status']): Promise<void> {
      await db.query(sql.setStatus, [userId, status, clock.now()]);
      rows.forget(userId);
    },

    /** Replaces the password; `passwordHash` comes from the `SecretHasher`. */
    async setPassword(userId: string, passwordHash: string): Promise<void> {
      await db.query(sql.setPassword, [userId, passwordHash, clock.now()]);
    },
  };
}
