/**
 * The part of a group that belongs to one actor: several entries collapsed into what one transaction writes. One actors row, from
 * the first base to the last seq with the last snapshot; every record; of rows with one key the newest; of timers with one id
 * the last word. Pure.
 */
import type { ConflictRow, IdempotencyRow, StorageRow } from '../../actors/ports.ts';
import type { Chain, Pending } from './pending.ts';

/** One actor's entries of one group, in order of append. */
export interface Work {
  readonly chain: Chain;
  readonly items: Pending[];
}

/** The entries of a group by actor, ordered by address: two transactions that meet then wait for each other in one direction only. */
export function worksOf(items: readonly Pending[]): Work[] {
  const works = new Map<Chain, Work>();
  for (const item of items) {
    const work = works.get(item.chain);
    if (work === undefined) works.set(item.chain, { chain: item.chain, items: [item] });
    else work.items.push(item);
  }
  return [...works.values()].sort((a, b) => (a.chain.address < b.chain.address ? -1 : 1));
}

/** The last snapshot of the work; null when none of its entries has one. */
export function snapshotOf(work: Work): string | null {
  for (let index = work.items.length - 1; index >= 0; index--) {
    const text = work.items[index]?.snapshotJson ?? null;
    if (text !== null) return text;
  }
  return null;
}

/** The rows to write, each key once, the highest version; of equal versions the later. */
export function storageOf(work: Work): Iterable<StorageRow> {
  const only = work.items[0]?.entry.storage;
  // The common case, one write of one key, needs no map.
  if (work.items.length === 1 && (only === undefined || only.length <= 1)) return only ?? [];
  const newest = new Map<string, StorageRow>();
  for (const { entry } of work.items) {
    for (const row of entry.storage ?? []) {
      const before = newest.get(row.key);
      if (before === undefined || row.version >= before.version) newest.set(row.key, row);
    }
  }
  return newest.values();
}

export function conflictsOf(work: Work): ConflictRow[] {
  return work.items.flatMap(({ entry }) => entry.conflicts ?? []);
}

/** Each scope once, the later answer. */
export function idempotencyOf(work: Work): Iterable<IdempotencyRow> {
  const byScope = new Map<string, IdempotencyRow>();
  for (const { entry } of work.items) for (const row of entry.idempotency ?? []) byScope.set(row.scope, row);
  return byScope.values();
}

/** Timer id → due instant, or null where it was taken away. Within one entry `timersDone` comes before `timers`: a timer may be replaced. */
export function timersOf(work: Work): Map<string, number | null> {
  const timers = new Map<string, number | null>();
  for (const { entry } of work.items) {
    for (const id of entry.timersDone ?? []) timers.set(id, null);
    for (const row of entry.timers ?? []) timers.set(row.id, row.dueAt);
  }
  return timers;
}
