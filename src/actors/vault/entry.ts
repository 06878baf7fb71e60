/** One key of a vault as the actor holds it: a live value, or the tombstone of one. Entries are replaced, never changed, but for their caches. */
import type { StoredValueView, WrittenView } from '../../protocol/operations/storage.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { StorageRow } from '../ports.ts';

export interface Entry {
  readonly key: string;
  readonly version: number;
  readonly sizeBytes: number;
  readonly contentType: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly clientAt: number;
  readonly opId: string | null;
  /** Infinity: never. */
  readonly expiresAt: number;
  readonly deleted: boolean;
  /** Number of the commit that wrote it, 0 when it was loaded; above the vault's flushed count its value is nowhere else. */
  commit: number;
  /** The same, but 0 for an accepted write: readers of a durable one wait for its flush. */
  durableCommit: number;
  /** In clear while it is hot. */
  value: string | undefined;
  /** The answer to a read, made at the first. */
  view: StoredValueView | undefined;
  /** Read since the cache last looked at it. */
  touched: boolean;
}

/** An entry as its row says, cold. */
export function entryOf(row: Omit<StorageRow, 'value'>): Entry {
  return {
    key: row.key,
    version: row.version,
    sizeBytes: row.sizeBytes,
    contentType: row.contentType,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    clientAt: row.clientAt,
    opId: row.opId,
    expiresAt: row.expiresAt ?? Number.POSITIVE_INFINITY,
    deleted: row.deleted,
    commit: 0,
    durableCommit: 0,
    value: undefined,
    view: undefined,
    touched: false,
  };
}

/** The row of an entry; `sealed` is its encrypted value, null for a tombstone. */
export function rowOf(entry: Entry, sealed: Uint8Array | null): StorageRow {
  return {
    key: entry.key,
    version: entry.version,
    value: sealed,
    sizeBytes: entry.sizeBytes,
    contentType: entry.contentType,
    createdAt: entry.createdAt,
    updatedAt: entry.updatedAt,
    clientAt: entry.clientAt,
    opId: entry.opId,
    expiresAt: entry.expiresAt === Number.POSITIVE_INFINITY ? null : entry.expiresAt,
    deleted: entry.deleted,
  };
}

/** Whether a read at `now` finds a value. At the instant of expiry it is gone. Rule [STO5]. */
export function isLive(entry: Entry, now: number): boolean {
  return !entry.deleted && entry.expiresAt > now;
}

/** The answer to a read of a live entry. */
export function valueView(entry: Entry, value: string): StoredValueView {
  const view: StoredValueView = {
    key: entry.key,
    value,
    created_at: isoOf(entry.createdAt),
    updated_at: isoOf(entry.updatedAt),
    version: entry.version,
    metadata: metadataOf(entry),
  };
  if (entry.expiresAt !== Number.POSITIVE_INFINITY) view.expires_at = toIso(entry.expiresAt);
  return view;
}

/** The answer to a write that left this entry. */
export function writtenView(entry: Entry): WrittenView {
  const updated = isoOf(entry.updatedAt);
  if (entry.deleted) return { key: entry.key, success: true, version: entry.version, updated_at: updated };
  const view: WrittenView = {
    key: entry.key,
    success: true,
    version: entry.version,
    created_at: isoOf(entry.createdAt),
    updated_at: updated,
    metadata: metadataOf(entry),
  };
  if (entry.expiresAt !== Number.POSITIVE_INFINITY) view.expires_at = toIso(entry.expiresAt);
  return view;
}

function metadataOf(entry: Entry): { size_bytes: number; content_type?: string } {
  return entry.contentType === null ? { size_bytes: entry.sizeBytes } : { size_bytes: entry.sizeBytes, content_type: entry.contentType };
}

let lastAt = Number.NaN;
let lastIso = '';

/** `toIso`, with the newest text kept: writes of one millisecond share it. */
export function isoOf(at: number): string {
  if (at !== lastAt) {
    lastIso = toIso(at);
    lastAt = at;
  }
  return lastIso;
}
