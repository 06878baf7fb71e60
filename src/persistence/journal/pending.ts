/**
 * An entry that waits, and the chain of its actor. JSON is made when the entry is taken: its size then counts exactly, a value
 * that has no JSON fails in the caller's hands, and nobody can change it afterwards.
 */
import type { Address, Flushed, JournalEntry } from '../../actors/ports.ts';

/** The entries of one activation of one actor that are on their way. */
export interface Chain {
  readonly address: Address;
  /** `seq` of the newest entry taken: the next entry's base. */
  tail: number;
  /** Entries taken and not yet settled. */
  waiting: number;
  /** Set once an entry failed: all later ones of the chain fail with it. */
  broken: Error | undefined;
}

export interface Pending {
  readonly entry: JournalEntry;
  readonly flushed: Flushed;
  readonly chain: Chain;
  readonly slot: number;
  /** The slot's epoch when the entry was taken: a slot that was lost and won back since must not carry it. */
  readonly epoch: number;
  readonly snapshotJson: string | null;
  readonly eventsJson: readonly string[];
  readonly payloadsJson: readonly string[];
  readonly bytes: number;
}

const none: readonly string[] = [];
/** What a row costs besides its texts and bytes: numbers, headers, our own objects. */
const rowOverheadBytes = 96;

/**
 * Sizes an entry and renders its JSON. Errors: RangeError when `seq` does not grow; TypeError for a value that has no JSON.
 */
export function prepare(entry: JournalEntry, flushed: Flushed, chain: Chain, slot: number, epoch: number): Pending {
  const { baseSeq, seq } = entry;
  if (!(Number.isSafeInteger(baseSeq) && Number.isSafeInteger(seq) && baseSeq >= 0 && seq > baseSeq)) {
    throw new RangeError(`entry of ${entry.address} goes from seq ${baseSeq} to ${seq}`);
  }
  let bytes = rowOverheadBytes + entry.address.length;
  const snapshotJson = entry.snapshot === undefined ? null : jsonOf(entry.snapshot);
  if (snapshotJson !== null) bytes += snapshotJson.length;

  const eventsJson = entry.records === undefined ? none : entry.records.map((record) => jsonOf(record.event));
  for (const text of eventsJson) bytes += rowOverheadBytes + text.length;
  const payloadsJson = entry.outbox === undefined ? none : entry.outbox.map((row) => jsonOf(row.payload));
  for (const text of payloadsJson) bytes += rowOverheadBytes + text.length;

  if (entry.storage !== undefined) for (const row of entry.storage) bytes += rowOverheadBytes + row.key.length + (row.value?.length ?? 0);
  if (entry.conflicts !== undefined)
    for (const row of entry.conflicts) bytes += rowOverheadBytes + row.key.length + (row.value?.length ?? 0);
  if (entry.idempotency !== undefined)
    for (const row of entry.idempotency) bytes += rowOverheadBytes + row.scope.length + row.result.length;
  const small = (entry.timers?.length ?? 0) + (entry.timersDone?.length ?? 0) + (entry.outboxDone?.length ?? 0);
  return { entry, flushed, chain, slot, epoch, snapshotJson, eventsJson, payloadsJson, bytes: bytes + small * rowOverheadBytes };
}

function jsonOf(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) throw new TypeError(`a ${typeof value} has no JSON`);
  return text;
}
