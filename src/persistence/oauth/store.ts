/**
 * Everything identity keeps in the database, joined. Withdrawing a permission is one transaction: consents, grants, codes and refresh
 * tokens go, and the revocation that ends the live tokens is written with them.
 */
import type { Clock } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';
import { type AppSeed, createApps } from './apps.ts';
import { createConsents, deleteConsents } from './consents.ts';
import { createGuards } from './guards.ts';
import { createModels } from './models.ts';
import type { DurableRevocations } from './revocations.ts';
import { createUsers, type UserSeed } from './users.ts';

const destroyByPair = loadSql(import.meta.url, './sql/model-destroy-by-pair.sql');

const sweepRows = 1_000;
const sweepRounds = 100;

/** What is withdrawn: of one app (`clientIds` are the client ids it goes by) or of all; some scopes or all. */
export interface Withdrawal {
  readonly userId: string;
  readonly appId?: string;
  readonly clientIds?: readonly string[];
  readonly scopes?: readonly string[];
}

/** The stores of identity on `db`. */
export function createIdentityStore(db: Database, clock: Clock, revocations: DurableRevocations) {
  const models = createModels(db, clock);
  const guards = createGuards(db, clock);
  return {
    models,
    guards,
    users: createUsers(db, clock),
    apps: createApps(db, clock),
    consents: createConsents(db, clock),

    /** Withdraws in one transaction; all tokens of the pair end, also when only some scopes are named. Idempotent. `at` is epoch ms. */
    async withdraw(withdrawal: Withdrawal): Promise<{ readonly revoked: { appId: string; scope: string }[]; readonly at: number }> {
      const { userId, appId, clientIds, scopes } = withdrawal;
      return revocations.revokeWith(async (tx) => {
        const revoked = await deleteConsents(tx, userId, appId, scopes);
        const clients = appId === undefined ? null : JSON.stringify(clientIds ?? [appId]);
        const models = await tx.query<{ kind: string; id: string }>(destroyByPair, [userId, clients]);
        const at = clock.now();
        // The grants are named too: a refresh under way may sign a token after `at` and before the commit.
        const grants = models.filter(({ kind }) => kind === 'Grant').map(({ id }) => ({ grantId: id, at }));
        const pair = appId === undefined ? { userId, at } : { userId, appId, at };
        return { result: { revoked, at }, revocations: [pair, ...grants] };
      });
    },

    /** Deletes what has expired, a bounded piece at a time, as long as `goOn` says yes: anybody can begin sign-ins, and each leaves a row. */
    async sweep(goOn = (): boolean => true): Promise<void> {
      let rounds = 0;
      while (++rounds <= sweepRounds && goOn() && (await models.sweep(sweepRows)) === sweepRows);
      if (goOn()) await guards.sweep();
    },
  };
}

/** Makes a person for fixtures. Idempotent. */
export async function seedUser(store: ReturnType<typeof createIdentityStore>, user: UserSeed): Promise<void> {
  await store.users.seed(user);
}

/** Makes an app for fixtures. Idempotent. */
export async function seedApp(store: ReturnType<typeof createIdentityStore>, app: AppSeed): Promise<void> {
  await store.apps.seed(app);
}
