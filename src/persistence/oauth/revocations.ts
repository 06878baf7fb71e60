/**
 * Withdrawn tokens: a durable row each, and in memory what every check reads. Rows of other nodes arrive by polling.
 * Order: `revoke` resolves after the commit and after the local memory knows. Bound: rows live as long as a token can.
 */
import type { Clock, Revocation, Revocations } from '../../actors/ports.ts';
import type { Database, Queryable } from '../database.ts';
import { loadSql } from '../sql.ts';

const load = (name: string): string => loadSql(import.meta.url, `./sql/${name}.sql`);
const sql = { insert: load('revocation-insert'), since: load('revocation-since'), sweep: load('revocation-sweep') };

/** The longest a token lives (protocol section 5.2), and the clock difference a verifier forgives. */
const keptMs = (86_400 + 60) * 1_000;
const pollMs = 1_000;
const pageRows = 1_000;
/** Ids may commit out of order: rows are read again until they have been visible this long. */
const settleMs = 10_000;
const sweepMs = 60_000;

interface RevocationRow {
  id: number;
  token_id: string | null;
  grant_id: string | null;
  user_id: string | null;
  app_id: string | null;
  at: number;
  expires_at: number;
}

/** `Revocations` that can also be written in the transaction of what caused them. */
export interface DurableRevocations extends Revocations {
  /** Runs `work` and writes the revocations it names in one transaction; announces them after the commit. */
  revokeWith<T>(work: (tx: Queryable) => Promise<{ readonly result: T; readonly revocations: readonly Revocation[] }>): Promise<T>;
  /** Reads what other nodes wrote. The poll does this every second. */
  refresh(): Promise<void>;
  close(): void;
}

/**
 * Loads what is withdrawn and starts the poll. `onFault` hears of polls that failed; the next one tries again. `onWritten` hears of what this
 * node withdrew, so that others need not wait for their poll.
 */
export async function createRevocations(
  db: Database,
  clock: Clock,
  onFault: (error: unknown) => void = () => {},
  onWritten: () => void = () => {},
): Promise<DurableRevocations> {
  const memory = new Memory();
  const listeners = new Set<(revocation: Revocation) => void>();
  /** Ids above `settled` that were applied, and when they were seen. */
  const seen = new Map<number, number>();
  let settled = 0;
  let closed = false;
  let sweptAt = clock.monotonic();

  const announce = (revocation: Revocation, expiresAt: number): void => {
    memory.add(revocation, expiresAt);
    for (const listener of listeners) listener(revocation);
  };

  const insert = async (on: Queryable, revocation: Revocation): Promise<number | undefined> => {
    const { tokenId, grantId, userId, appId, at } = revocation;
    const params = [tokenId ?? null, grantId ?? null, userId ?? null, appId ?? null, at, at + keptMs];
    return (await on.query<{ id: number }>(sql.insert, params, 'revocation-insert'))[0]?.id;
  };

  const settle = (id: number | undefined, revocation: Revocation): void => {
    if (id !== undefined && seen.has(id)) return;
    if (id !== undefined) seen.set(id, clock.monotonic());
    announce(revocation, revocation.at + keptMs);
  };

  const refresh = async (): Promise<void> => {
    const now = clock.monotonic();
    let after = settled;
    for (;;) {
      const rows = await db.urgent.query<RevocationRow>(sql.since, [after, clock.now(), pageRows], 'revocation-since');
      for (const row of rows) {
        after = row.id;
        if (seen.has(row.id)) continue;
        seen.set(row.id, now);
        announce(revocationOf(row), row.expires_at);
      }
      if (rows.length < pageRows) break;
    }
    for (const [id, at] of seen) if (now - at >= settleMs) settled = Math.max(settled, id);
    for (const id of seen.keys()) if (id <= settled) seen.delete(id);
  };

  const sweep = async (): Promise<void> => {
    if (clock.monotonic() - sweptAt < sweepMs) return;
    sweptAt = clock.monotonic();
    memory.prune(clock.now());
    await db.query(sql.sweep, [clock.now()]);
  };

  let cancel = (): void => {};
  const poll = (): void => {
    cancel = clock.after(pollMs, () => {
      refresh()
        .then(sweep)
        .catch(onFault)
        .finally(() => {
          if (!closed) poll();
        });
    });
  };

  await refresh();
  poll();

  return {
    async revoke(revocation) {
      settle(await insert(db, revocation), revocation);
      onWritten();
    },
    async revokeWith(work) {
      const { result, written } = await db.transaction(async (tx) => {
        const done = await work(tx);
        const ids: [number | undefined, Revocation][] = [];
        for (const revocation of done.revocations) ids.push([await insert(tx, revocation), revocation]);
        return { result: done.result, written: ids };
      });
      for (const [id, revocation] of written) settle(id, revocation);
      if (written.length > 0) onWritten();
      return result;
    },
    isRevoked: (principal) => memory.has(principal),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    refresh,
    close() {
      closed = true;
      cancel();
    },
  };
}

/** What every check reads. A person's (or a person's and app's) entry is the instant up to which tokens are dead. */
class Memory {
  readonly #tokens = new Map<string, number>();
  readonly #grants = new Map<string, number>();
  readonly #pairs = new Map<string, { at: number; expiresAt: number }>();

  add(revocation: Revocation, expiresAt: number): void {
    const { tokenId, grantId, userId, appId, at } = revocation;
    if (tokenId !== undefined) this.#tokens.set(tokenId, expiresAt);
    if (grantId !== undefined) this.#grants.set(grantId, expiresAt);
    if (userId !== undefined) {
      const key = pairKey(userId, appId);
      if ((this.#pairs.get(key)?.at ?? 0) <= at) this.#pairs.set(key, { at, expiresAt });
    }
  }

  has(principal: Parameters<Revocations['isRevoked']>[0]): boolean {
    const { tokenId, grantId, userId, appId, issuedAt } = principal;
    if (this.#tokens.has(tokenId) || this.#grants.has(grantId)) return true;
    if (this.#pairs.size === 0) return false;
    const person = this.#pairs.get(pairKey(userId, undefined));
    const pair = this.#pairs.get(pairKey(userId, appId));
    return (person !== undefined && issuedAt <= person.at) || (pair !== undefined && issuedAt <= pair.at);
  }

  prune(now: number): void {
    for (const [id, expiresAt] of this.#tokens) if (expiresAt <= now) this.#tokens.delete(id);
    for (const [id, expiresAt] of this.#grants) if (expiresAt <= now) this.#grants.delete(id);
    for (const [key, { expiresAt }] of this.#pairs) if (expiresAt <= now) this.#pairs.delete(key);
  }
}

function pairKey(userId: string, appId: string | undefined): string {
  return `${userId}\u0000${appId ?? ''}`;
}

function revocationOf(row: RevocationRow): Revocation {
  return {
    at: row.at,
    ...(row.token_id === null ? {} : { tokenId: row.token_id }),
    ...(row.grant_id === null ? {} : { grantId: row.grant_id }),
    ...(row.user_id === null ? {} : { userId: row.user_id }),
    ...(row.app_id === null ? {} : { appId: row.app_id }),
  };
}
