/**
 * A change to a vault that is not in force yet. A writer reads and writes through it; `write` is what the journal takes, and only
 * when the journal has taken it does `apply` put it in force. So a refused commit changes nothing, and several writes of one
 * message see each other. Rules [STO3], [STO8] to [STO11].
 */
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { utf8Length } from '../../protocol/utf8.ts';
import type { ConflictRow, StorageRow } from '../ports.ts';
import type { Write } from '../runtime/behaviour.ts';
import type { Stamp } from './conflict.ts';
import { DeviceChanges } from './devices.ts';
import { type Entry, isLive, rowOf } from './entry.ts';
import { addHistory, type History, historyHasRoom } from './history.ts';
import { exceeded, quotaError } from './quota.ts';
import { sealLoser, sealValue } from './seal.ts';
import type { VaultSnapshot } from './snapshot.ts';
import { pruneTombstones, type VaultState } from './vault-state.ts';

export interface NewValue extends Stamp {
  readonly value: string;
  readonly contentType: string | null;
  /** Infinity: never. */
  readonly expiresAt: number;
}

/** A losing write: `value` in clear, null for a removal. */
export type Loser = Omit<ConflictRow, 'value'> & { readonly value: string | null };

/** Values read from the store for this change, by key. */
export type ColdValues = ReadonlyMap<string, string>;

export const noColdValues: ColdValues = new Map();

export class Draft {
  readonly now: number;
  /** What becomes of each key, in order of version. */
  readonly changes = new Map<string, Entry>();
  readonly losers: Loser[] = [];
  readonly #state: VaultState;
  readonly #cold: ColdValues;
  #devices: DeviceChanges | undefined;
  #sequence: number;
  #bytes: number;
  #keys: number;
  #history: History;
  #removed: boolean;
  /** The rows alone would not bring back what this changes. */
  #needsSnapshot = false;
  /** Set when expired values were looked for. */
  #nextExpiryAt: number | undefined;

  constructor(state: VaultState, now: number, cold: ColdValues) {
    this.#state = state;
    this.now = now;
    this.#cold = cold;
    this.#sequence = state.sequence;
    this.#bytes = state.usageBytes;
    this.#keys = state.usageKeys;
    this.#history = state.history;
    this.#removed = state.removed;
    if (state.nextExpiryAt <= now) this.#buryExpired();
  }

  get empty(): boolean {
    return this.changes.size === 0 && this.losers.length === 0 && (this.#devices?.changed.size ?? 0) === 0;
  }

  /** Operation windows with this change. Most writes name no operation, so they are made at first use. */
  get devices(): DeviceChanges {
    if (this.#devices === undefined) this.#devices = new DeviceChanges(this.#state.devices, this.now);
    return this.#devices;
  }

  /** What the key holds, this change included: a value, a tombstone, or nothing known. */
  entry(key: string): Entry | undefined {
    return this.changes.get(key) ?? this.#state.index.get(key);
  }

  /** The value of a live entry. Errors: a fault when it is neither hot nor among the values that were read. */
  valueOf(entry: Entry): string {
    const value = entry.value ?? this.#cold.get(entry.key);
    if (value === undefined) throw new Error('a stored value is not where the index says');
    return value;
  }

  /** Bytes of a value. Errors: `STORAGE_QUOTA_EXCEEDED` when no vault could hold it. */
  sizeOf(value: string): number {
    const sizeBytes = value.length > limits.storageValueBytes ? value.length : utf8Length(value);
    if (sizeBytes > limits.storageValueBytes) throw quotaError(this.usage, 'value');
    return sizeBytes;
  }

  /** Writes a value. Errors: `STORAGE_QUOTA_EXCEEDED`, and nothing has changed. */
  put(key: string, next: NewValue): Entry {
    const known = this.entry(key);
    const live = known !== undefined && isLive(known, this.now) ? known : undefined;
    const sizeBytes = this.sizeOf(next.value);
    const limit = exceeded(this.#bytes, this.#keys, live?.sizeBytes, sizeBytes);
    if (limit !== undefined) throw quotaError(this.usage, limit);
    this.#bytes += sizeBytes - (live?.sizeBytes ?? 0);
    if (live === undefined) this.#keys++;
    if (next.expiresAt !== Number.POSITIVE_INFINITY) this.#needsSnapshot = true;
    return this.#change({
      key,
      version: ++this.#sequence,
      sizeBytes,
      contentType: next.contentType,
      createdAt: live?.createdAt ?? this.now,
      updatedAt: this.now,
      clientAt: next.clientAt,
      opId: next.opId,
      expiresAt: next.expiresAt,
      deleted: false,
      commit: 0,
      durableCommit: 0,
      value: next.value,
      view: undefined,
      touched: false,
    });
  }

  /** Leaves a tombstone where a value was, or renews one. */
  bury(key: string, stamp: Stamp): Entry {
    const known = this.entry(key);
    if (known !== undefined && !known.deleted) {
      this.#bytes -= known.sizeBytes;
      this.#keys--;
    }
    this.#needsSnapshot = true;
    this.#removed = true;
    return this.#change({
      key,
      version: ++this.#sequence,
      sizeBytes: 0,
      contentType: null,
      createdAt: known?.createdAt ?? this.now,
      updatedAt: this.now,
      clientAt: stamp.clientAt,
      opId: stamp.opId,
      expiresAt: Number.POSITIVE_INFINITY,
      deleted: true,
      commit: 0,
      durableCommit: 0,
      value: undefined,
      view: undefined,
      touched: false,
    });
  }

  /** Whether a losing value can still be kept. */
  canKeep(value: string | null): boolean {
    return value === null || historyHasRoom(this.#history, this.now, utf8Length(value));
  }

  /** Keeps the loser of a conflict; a value for which there is no room is kept without its text. */
  keep(loser: Omit<Loser, 'at'>): void {
    const value = this.canKeep(loser.value) ? loser.value : null;
    if (value !== null) this.#history = addHistory(this.#history, this.now, utf8Length(value));
    this.losers.push({ ...loser, value, at: this.now });
    this.#needsSnapshot = true;
  }

  /** What the usage will be. */
  get usage(): { readonly bytes: number; readonly keys: number } {
    return { bytes: this.#bytes, keys: this.#keys };
  }

  /** What the journal is to take. */
  write(): Write {
    const { cipher, address } = this.#state;
    const storage: StorageRow[] = [];
    for (const entry of this.changes.values()) {
      storage.push(rowOf(entry, entry.value === undefined ? null : sealValue(cipher, address, entry.key, entry.version, entry.value)));
    }
    if (!this.#needsSnapshot && (this.#devices?.changed.size ?? 0) === 0) return { storage };
    const conflicts = this.losers.map((loser) => ({
      ...loser,
      value: loser.value === null ? null : sealLoser(cipher, address, loser, loser.value),
    }));
    return { storage, conflicts, snapshot: this.#snapshot() };
  }

  /** Puts the change in force. `commit` is its number; `durable`: whoever reads it before its flush waits for that. */
  apply(commit: number, durable: boolean): void {
    const state = this.#state;
    if (this.#nextExpiryAt !== undefined) state.nextExpiryAt = this.#nextExpiryAt;
    for (const [key, entry] of this.changes) {
      const old = state.index.get(key);
      entry.commit = commit;
      entry.durableCommit = durable ? commit : 0;
      if (old !== undefined) {
        state.hot.remove(old);
        if (old.deleted) state.tombstones--;
        state.index.delete(key);
      }
      state.index.set(key, entry);
      if (entry.deleted) state.tombstones++;
      else {
        state.hot.add(entry);
        if (entry.expiresAt < state.nextExpiryAt) state.nextExpiryAt = entry.expiresAt;
      }
      if ((old === undefined || old.deleted) !== entry.deleted) state.sortedKeys = undefined;
    }
    state.sequence = this.#sequence;
    state.usageBytes = this.#bytes;
    state.usageKeys = this.#keys;
    state.history = this.#history;
    state.removed = this.#removed;
    if (this.#devices !== undefined) {
      for (const name of this.#devices.forgotten) state.devices.delete(name);
      for (const [name, device] of this.#devices.changed) state.devices.set(name, device);
    }
    pruneTombstones(state);
    state.hot.trim(state.flushed);
  }

  #change(entry: Entry): Entry {
    this.changes.delete(entry.key);
    this.changes.set(entry.key, entry);
    return entry;
  }

  /** Expired values become tombstones, so that they stop counting and pulls tell of them. */
  #buryExpired(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const entry of this.#state.index.values()) {
      if (entry.deleted) continue;
      if (isLive(entry, this.now)) next = Math.min(next, entry.expiresAt);
      else this.bury(entry.key, entry);
    }
    // The bound was too low; raising it changes nothing that anyone sees.
    if (this.changes.size === 0) this.#state.nextExpiryAt = next;
    this.#nextExpiryAt = next;
  }

  #snapshot(): VaultSnapshot {
    const { dropped, droppedClientAt } = this.#state;
    return {
      v: 1,
      seq: this.#sequence,
      dropped,
      droppedClientAt,
      removed: this.#removed,
      history: [...this.#history],
      ops: this.devices.stored(),
    };
  }
}

/** The refusal of an operation whose device finds no room. */
export function tooManyDevices(draft: Draft): TmcpError {
  const { details } = quotaError(draft.usage, 'devices');
  return new TmcpError('STORAGE_QUOTA_EXCEEDED', 'Too many devices wrote here within 30 days', details === undefined ? {} : { details });
}
