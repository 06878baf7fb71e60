/** `tween.sync.pull` and `.status`. A cursor is given only for what is durable: no crash can take back what it counted. Rules [STO30] to [STO37]. */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { ChangeValue } from '../../protocol/operations/sync.ts';
import type { ConflictRow, VaultStore } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { commit, refuse } from './answers.ts';
import { type Cursor, decodeCursor, encodeCursor } from './cursor.ts';
import { Draft, noColdValues } from './draft.ts';
import { type Entry, isLive, isoOf } from './entry.ts';
import { openLoser } from './seal.ts';
import { readValues } from './stored-values.ts';
import type { VaultState } from './vault-state.ts';

/** Values of one page; at least one change is always given. */
const pageBytes = 1024 * 1024;
const statusConflicts = 100;
const statusBytes = 1024 * 1024;

interface Page {
  readonly entries: readonly Entry[];
  /** Values that are hot while the page is planned. */
  readonly hot: Map<string, string>;
  readonly next: Cursor;
  readonly more: boolean;
}

export function pull(state: VaultState, store: VaultStore, message: Message, context: ActorContext): void {
  const { cursor: text, limit = 200 } = message.input as InputOf<'tween.sync.pull'>;
  const now = context.now();
  buryExpired(state, context, now);
  const start: Cursor = { version: 0, since: state.sequence, sinceAt: now };
  const told = text === undefined ? start : decodeCursor(text, state.mark, state.sequence);
  const reset = told === 'stale' || (text !== undefined && tooOld(state, told, now));
  const page = planPage(state, reset ? start : told, limit, now);
  const cold = page.entries.filter((entry) => isLive(entry, now) && !page.hot.has(entry.key));
  const answer = (values: ReadonlyMap<string, string>): void => {
    const changes: ChangeValue[] = [];
    for (const entry of page.entries) {
      if (!isLive(entry, now)) {
        changes.push({ key: entry.key, version: entry.version, kind: 'remove', updated_at: isoOf(entry.updatedAt) });
        continue;
      }
      const value = page.hot.get(entry.key) ?? values.get(entry.key);
      // Written again meanwhile: it comes with its new version, which is after this cursor.
      if (value === undefined) continue;
      changes.push({ key: entry.key, version: entry.version, kind: 'set', value, updated_at: isoOf(entry.updatedAt) });
    }
    const result = { changes, cursor: encodeCursor(page.next, state.mark), has_more: page.more };
    context.settleWhenFlushed({ message, result: reset ? { ...result, reset: true } : result });
  };
  if (cold.length === 0) {
    answer(page.hot);
    return;
  }
  readValues(state, store, context, cold, (read) => {
    if (read.kind !== 'values') refuse(message, read.error, context);
    else if (cold.some((entry) => !read.values.has(entry.key) && state.index.get(entry.key) === entry)) {
      const cause = new Error('a stored value is not where the index says');
      refuse(message, new TmcpError('INTERNAL_ERROR', undefined, { cause }), context);
    } else answer(read.values);
  });
}

export function status(state: VaultState, store: VaultStore, message: Message, context: ActorContext): void {
  const version = state.sequence;
  const keptFrom = context.now() - limits.conflictKeepMs;
  const read = store.conflicts(state.address, statusConflicts);
  let answered = false;
  context.work(read, (error, rows) => {
    answered = true;
    if (rows === undefined) {
      refuse(message, new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1, cause: error }), context);
      return;
    }
    try {
      const kept = rows.filter((row) => row.at >= keptFrom);
      const result: OutputOf<'tween.sync.status'> = { version, conflicts: conflictViews(state, kept) };
      context.settleWhenFlushed({ message, result });
    } catch (cause) {
      refuse(message, new TmcpError('INTERNAL_ERROR', undefined, { cause }), context);
    }
  });
  // As in `readValues`: a dropped activation gets no more turns.
  const afterwards = (): void => {
    if (!answered) refuse(message, new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }), context);
  };
  void read.then(afterwards, afterwards);
}

/** Expired values become tombstones with versions of their own, so that a client which has them hears of it. */
function buryExpired(state: VaultState, context: ActorContext, now: number): void {
  if (state.nextExpiryAt > now) return;
  const draft = new Draft(state, now, noColdValues);
  if (draft.empty) return;
  try {
    commit(state, context, draft, undefined, true);
  } catch (thrown) {
    // The journal is full: reads go on, and the next write or pull buries them.
    if (!(thrown instanceof TmcpError)) throw thrown;
  }
}

/** Whether tombstones may be gone that this client has not seen. */
function tooOld(state: VaultState, cursor: Cursor, now: number): boolean {
  return cursor.since < state.dropped || now - cursor.sinceAt > limits.tombstoneMs;
}

function planPage(state: VaultState, from: Cursor, limit: number, now: number): Page {
  const entries: Entry[] = [];
  const hot = new Map<string, string>();
  let bytes = 0;
  for (const entry of state.index.values()) {
    if (entry.version <= from.version || (entry.deleted && now - entry.updatedAt > limits.tombstoneMs)) continue;
    if (entries.length >= limit || (entries.length > 0 && bytes + entry.sizeBytes > pageBytes)) {
      const last = entries[entries.length - 1] as Entry;
      return { entries, hot, next: { ...from, version: last.version }, more: true };
    }
    entries.push(entry);
    bytes += entry.sizeBytes;
    if (entry.value !== undefined) hot.set(entry.key, entry.value);
  }
  return { entries, hot, next: { version: state.sequence, since: state.sequence, sinceAt: now }, more: false };
}

function conflictViews(state: VaultState, rows: readonly ConflictRow[]): OutputOf<'tween.sync.status'>['conflicts'] {
  let bytes = 0;
  return rows.map((row) => {
    const view = { key: row.key, op_id: row.opId, kind: row.kind, at: isoOf(row.at), resolution: row.resolution };
    if (row.value === null || (bytes > 0 && bytes + row.value.length > statusBytes)) return view;
    bytes += row.value.length;
    return { ...view, value: openLoser(state.cipher, state.address, row, row.value) };
  });
}
