/** What an operator asks of the cluster's tables. Reads only; nodes do not use it. */
import type { Address } from '../../actors/ports.ts';
import { slotOf } from '../../actors/runtime/slots.ts';
import type { Queryable } from '../database.ts';
import { loadSql } from '../sql.ts';

const slotCountsSql = loadSql(import.meta.url, './cluster-slot-counts.sql');
const actorFactsSql = loadSql(import.meta.url, './actor-facts.sql');
const nowSql = loadSql(import.meta.url, './cluster-now.sql');

export interface ActorFacts {
  readonly slot: number;
  /** The boot id as stored, whether that node lives or not. */
  readonly owner: string | null;
  readonly epoch: number;
  /** Its newest commit; null: it has never written. */
  readonly written: { readonly seq: number; readonly epoch: number; readonly at: number } | null;
}

/** Slots by owner's boot id; null: nobody's. */
export async function slotCounts(db: Queryable): Promise<ReadonlyMap<string | null, number>> {
  const rows = await db.query<{ owner: string | null; slots: number }>(slotCountsSql);
  return new Map(rows.map(({ owner, slots }) => [owner, slots]));
}

/** Where an actor belongs and what it wrote last. */
export async function actorFacts(db: Queryable, address: Address): Promise<ActorFacts> {
  const slot = slotOf(address);
  const [row] = await db.query<ActorFactsRow>(actorFactsSql, [slot, address]);
  if (row === undefined) throw new Error(`the database has no slot ${slot}`);
  const { owner, epoch, seq, writtenEpoch, writtenAt } = row;
  return { slot, owner, epoch, written: seq === null ? null : { seq, epoch: writtenEpoch, at: writtenAt } };
}

/** The database's clock, epoch ms. */
export async function databaseNow(db: Queryable): Promise<number> {
  const [row] = await db.query<{ now: number }>(nowSql);
  if (row === undefined) throw new Error('the database told no time');
  return row.now;
}

interface ActorFactsRow {
  readonly owner: string | null;
  readonly epoch: number;
  readonly seq: number | null;
  readonly writtenEpoch: number;
  readonly writtenAt: number;
}
