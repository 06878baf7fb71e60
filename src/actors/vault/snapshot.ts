/**
 * What a vault stores beside its rows: operation windows, the version it had reached, and what it knows of tombstones that are
 * gone. A snapshot it does not understand stops the vault rather than let an operation be applied twice.
 */
import type { StoredDevice } from './devices.ts';

export interface VaultSnapshot {
  readonly v: 1;
  /** The namespace's version when it was taken. Rows may hold a higher one. */
  readonly seq: number;
  /** Highest version of a tombstone that was dropped, and the latest instant (epoch ms) by which such a removal was made. */
  readonly dropped: number;
  readonly droppedClientAt: number;
  /** Whether anything was ever removed here: only then can a missing key be a forgotten removal. */
  readonly removed: boolean;
  readonly history: readonly (readonly [day: number, bytes: number])[];
  readonly ops: readonly StoredDevice[];
}

export const noSnapshot: VaultSnapshot = { v: 1, seq: 0, dropped: 0, droppedClientAt: 0, removed: false, history: [], ops: [] };

/** Reads a stored snapshot. Errors: throws for a form it does not know. */
export function readSnapshot(stored: unknown): VaultSnapshot {
  if (stored === undefined || stored === null) return noSnapshot;
  const snapshot = stored as VaultSnapshot;
  if (snapshot.v !== 1 || !Number.isSafeInteger(snapshot.seq) || !Array.isArray(snapshot.ops) || !Array.isArray(snapshot.history)) {
    throw new Error('a vault has a snapshot of an unknown form');
  }
  return snapshot;
}
