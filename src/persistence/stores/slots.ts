/** Ownership of slots in the database: the fence that every commit is checked against. */
import { slotCount } from '../../actors/runtime/slots.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const claimSlotsSql = loadSql(import.meta.url, './claim-slots.sql');

export interface ClaimedSlot {
  readonly slot: number;
  /** What the owner's commits must carry from now on; higher than any before. */
  readonly epoch: number;
}

/**
 * Takes `slots` (default: all) over for `owner`, whoever had them: waits for commits in flight, then raises each epoch, in one
 * transaction. A commit of the former owner that begins later is refused. Not idempotent: each call raises the epochs.
 */
export function claimSlots(db: Database, owner: string, slots: readonly number[] = allSlots()): Promise<ClaimedSlot[]> {
  return db.query<ClaimedSlot>(claimSlotsSql, [owner, [...slots]]);
}

function allSlots(): number[] {
  return Array.from({ length: slotCount }, (_, slot) => slot);
}
