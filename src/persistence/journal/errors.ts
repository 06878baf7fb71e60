/**
 * Why an entry will never be committed, and what a failed commit means for what to do next. The SQLSTATEs TM001 to TM003
 * come from `tmcp_commit` and its trigger (migrations/0001-core.sql).
 */

/** Another node owns the actor's slot. The host discards the actor; the new owner has it. */
export class FencedError extends Error {
  override readonly name = 'FencedError';
}

/** The stored actor is not at the entry's base: someone else wrote it. The host discards the actor and loads it anew. */
export class LostRaceError extends Error {
  override readonly name = 'LostRaceError';
}

/** The database refuses the entry itself (its `cause` says why), or an earlier entry of the same actor was refused. */
export class EntryRefusedError extends Error {
  override readonly name = 'EntryRefusedError';
}

/**
 * `unknown`: the group may be committed; send the same group again. `later`: it is not, and the fault is not the group's; wait.
 * `again`: it is not; another transaction was in the way. `fenced`, `refused`: it is not, and something in the group is the cause.
 */
export type CommitFailure = 'unknown' | 'later' | 'again' | 'fenced' | 'refused';

/**
 * What a thrown commit means. Errors without a SQLSTATE are the network's, and tell nothing about the outcome; nor does a server
 * that says farewell, because it may do so after the commit.
 */
export function classify(error: unknown): CommitFailure {
  const code = sqlStateOf(error);
  if (code === undefined || code.startsWith('08') || code === '57P01' || code === '57P02') return 'unknown';
  if (code === 'TM001') return 'fenced';
  if (code === '40001' || code === '40P01') return 'again';
  // Out of space, memory or connections; cancelled, starting, stopping; a read-only server after a failover; a lock not had in time.
  if (code.startsWith('53') || code.startsWith('57') || code.startsWith('58') || code === '25006' || code === '55P03') return 'later';
  return 'refused';
}

/** The five-character SQLSTATE of an error the server sent. The network's `EPIPE` looks like one, but has no severity. */
export function sqlStateOf(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown };
  return typeof code === 'string' && typeof severity === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** The `slot:epoch` pairs a TM001 names. */
export function fencedPairsOf(error: unknown): Set<string> {
  const detail = (error as { detail?: unknown } | null)?.detail;
  return new Set(typeof detail === 'string' ? detail.split(',') : []);
}
