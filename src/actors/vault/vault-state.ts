/** A vault in memory: its index in order of version, usage, windows and cache. Changed only by `Draft.apply`, loads and the cache. */
import { limits } from '../../protocol/limits.ts';
import type { StorageRow, UserCipher } from '../ports.ts';
import type { Message } from '../runtime/message.ts';
import type { PrefixPolicy } from './conflict.ts';
import { type CursorMark, cursorMark } from './cursor.ts';
import { type Device, loadDevices } from './devices.ts';
import { type Entry, entryOf, isLive } from './entry.ts';
import type { History } from './history.ts';
import { type HotBudget, HotCache } from './hot-cache.ts';
import { readSnapshot } from './snapshot.ts';

/** Tombstones held in memory; past it the oldest are forgotten, and cursors from before them start afresh. */
export const maxTombstones = 10_000;

export interface VaultState {
  readonly address: string;
  readonly userId: string;
  readonly appId: string;
  readonly cipher: UserCipher;
  readonly mark: CursorMark;
  readonly policies: readonly PrefixPolicy[];
  /** By key, in ascending order of version: a replaced entry goes to the end. */
  readonly index: Map<string, Entry>;
  readonly hot: HotCache;
  /** The newest version given. */
  sequence: number;
  /** Σ over entries that are not deleted; expired ones count until they are turned into tombstones. */
  usageBytes: number;
  usageKeys: number;
  tombstones: number;
  /** No live entry expires before this instant. */
  nextExpiryAt: number;
  readonly devices: Map<string, Device>;
  history: History;
  removed: boolean;
  dropped: number;
  droppedClientAt: number;
  /** Told, once a snapshot that says so is stored, up to which version tombstones are forgotten: their rows may go. */
  readonly onForgotten: ((version: number) => void) | undefined;
  /** What was told last. */
  forgotten: number;
  /** Commits made by this activation, those known to be flushed, and the newest that a durable write waits for. */
  commits: number;
  flushed: number;
  lastDurable: number;
  /** Accepted writes not flushed yet. */
  accepted: number;
  /** Live keys in order of code units; undefined when a key came or went. */
  sortedKeys: string[] | undefined;
  /** Messages that wait for a write which reads stored values first; undefined when none does. */
  waiting: Message[] | undefined;
}

export interface VaultSource {
  readonly address: string;
  readonly id: string;
  readonly cipher: UserCipher;
  readonly rows: readonly Omit<StorageRow, 'value'>[];
  readonly snapshot: unknown;
  readonly dbEpoch: string;
  readonly budget: HotBudget;
  readonly policies: readonly PrefixPolicy[];
  readonly now: number;
  readonly onForgotten?: ((version: number) => void) | undefined;
}

/** User and app of a vault's id, `{user_id}:{app_id}`: the user id holds colons, the app id none. Errors: throws without a colon. */
export function ownerOf(id: string): { readonly userId: string; readonly appId: string } {
  const colon = id.lastIndexOf(':');
  if (colon < 1) throw new Error('a vault address names no user and app');
  return { userId: id.slice(0, colon), appId: id.slice(colon + 1) };
}

/** Builds the state from what is stored; usage is counted afresh. Errors: throws for a snapshot it cannot read. */
export function buildState(source: VaultSource): VaultState {
  const snapshot = readSnapshot(source.snapshot);
  const state: VaultState = {
    address: source.address,
    ...ownerOf(source.id),
    cipher: source.cipher,
    mark: cursorMark(source.address, source.dbEpoch),
    policies: source.policies,
    index: new Map(),
    hot: new HotCache(source.budget),
    sequence: snapshot.seq,
    usageBytes: 0,
    usageKeys: 0,
    tombstones: 0,
    nextExpiryAt: Number.POSITIVE_INFINITY,
    devices: loadDevices(snapshot.ops),
    history: new Map(snapshot.history),
    removed: snapshot.removed,
    dropped: snapshot.dropped,
    droppedClientAt: snapshot.droppedClientAt,
    onForgotten: source.onForgotten,
    forgotten: 0,
    commits: 0,
    flushed: 0,
    lastDurable: 0,
    accepted: 0,
    sortedKeys: undefined,
    waiting: undefined,
  };
  const forgetBefore = source.now - limits.tombstoneMs;
  for (const row of [...source.rows].sort((a, b) => a.version - b.version)) {
    const entry = entryOf(row);
    state.sequence = Math.max(state.sequence, entry.version);
    if (entry.deleted) {
      state.removed = true;
      if (entry.updatedAt < forgetBefore) {
        forget(state, entry);
        continue;
      }
      state.tombstones++;
    } else {
      state.usageBytes += entry.sizeBytes;
      state.usageKeys++;
      state.nextExpiryAt = Math.min(state.nextExpiryAt, entry.expiresAt);
    }
    state.index.set(entry.key, entry);
  }
  pruneTombstones(state);
  return state;
}

/** Forgets the oldest tombstones when there are too many. */
export function pruneTombstones(state: VaultState): void {
  if (state.tombstones <= maxTombstones) return;
  let surplus = state.tombstones - Math.floor(maxTombstones * 0.9);
  for (const entry of state.index.values()) {
    if (!entry.deleted) continue;
    state.index.delete(entry.key);
    state.tombstones--;
    forget(state, entry);
    if (--surplus <= 0) return;
  }
}

function forget(state: VaultState, tombstone: Entry): void {
  state.dropped = Math.max(state.dropped, tombstone.version);
  state.droppedClientAt = Math.max(state.droppedClientAt, tombstone.clientAt);
}

/** Live keys in order of UTF-16 code units. */
export function keysInOrder(state: VaultState): readonly string[] {
  if (state.sortedKeys === undefined) {
    state.sortedKeys = [];
    for (const entry of state.index.values()) if (!entry.deleted) state.sortedKeys.push(entry.key);
    state.sortedKeys.sort();
  }
  return state.sortedKeys;
}

/** Bytes and keys that count at `now`: expired ones do not. */
export function usageAt(state: VaultState, now: number): { bytes: number; keys: number } {
  const usage = { bytes: state.usageBytes, keys: state.usageKeys };
  if (state.nextExpiryAt > now) return usage;
  for (const entry of state.index.values()) {
    if (entry.deleted || isLive(entry, now)) continue;
    usage.bytes -= entry.sizeBytes;
    usage.keys--;
  }
  return usage;
}
