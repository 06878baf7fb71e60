/**
 * Turns a group into the parameters of commit.sql. One encoder a lane: its buffers are used again for the next group, so
 * the parameters of a group are good until the next call, and a group can be sent again as it is.
 */
import { slotCount } from '../../actors/runtime/slots.ts';
import { oid } from '../postgres/value-parsers.ts';
import { ArrayWriter } from './array-writer.ts';
import { conflictsOf, idempotencyOf, snapshotOf, storageOf, timersOf } from './work.ts';
import type { Work } from './work.ts';

const { bool, bytea, int4, int8, jsonb, text } = oid;

/** Element types in the order of commit.sql's parameters from $4 on. */
const layout = {
  slots: { slot: int4, epoch: int8 },
  actors: { address: text, kind: text, slot: int4, base: int8, seq: int8, epoch: int8, version: int4, snapshot: jsonb },
  records: { address: text, seq: int8, version: int4, event: jsonb, at: int8, state: text },
  storage: {
    vault: text,
    key: text,
    version: int8,
    value: bytea,
    size: int4,
    type: text,
    created: int8,
    updated: int8,
    client: int8,
    op: text,
    expires: int8,
    deleted: bool,
  },
  conflicts: { vault: text, key: text, op: text, value: bytea, kind: text, client: int8, at: int8, resolution: text },
  idempotency: { scope: text, hash: text, result: bytea, expires: int8 },
  outbox: { id: text, address: text, type: text, payload: jsonb, slot: int4 },
  outboxDone: { id: text },
  timers: { address: text, id: text, due: int8, slot: int4 },
  timersDone: { address: text, id: text },
} as const;

type Columns<T> = { readonly [Column in keyof T]: ArrayWriter };
type Tables = { readonly [Table in keyof typeof layout]: Columns<(typeof layout)[Table]> };

export class GroupEncoder {
  readonly #tables: Tables;
  readonly #writers: readonly ArrayWriter[];

  constructor() {
    const tables: Record<string, Record<string, ArrayWriter>> = {};
    const writers: ArrayWriter[] = [];
    for (const [table, columns] of Object.entries(layout)) {
      const made: Record<string, ArrayWriter> = {};
      for (const [column, type] of Object.entries(columns)) {
        const writer = new ArrayWriter(type);
        made[column] = writer;
        writers.push(writer);
      }
      tables[table] = made;
    }
    this.#tables = tables as unknown as Tables;
    this.#writers = writers;
  }

  /**
   * The parameters from $4 on. `works` are ordered by address and name no actor twice.
   * Errors: RangeError for a number that its column cannot hold.
   */
  encode(works: readonly Work[]): Buffer[] {
    for (const writer of this.#writers) writer.reset();
    this.#slots(works);
    for (const work of works) {
      this.#actor(work);
      for (const item of work.items) {
        if (item.entry.records !== undefined) this.#records(work, item.entry.records, item.eventsJson);
        if (item.entry.outbox !== undefined) this.#outbox(work, item);
        if (item.entry.outboxDone !== undefined) for (const id of item.entry.outboxDone) this.#tables.outboxDone.id.text(id);
      }
      this.#storage(work);
      this.#rest(work);
    }
    return this.#writers.map((writer) => writer.take());
  }

  #slots(works: readonly Work[]): void {
    // One number a pair: cheaper to keep apart than a string. Slots stay below slotCount, epochs far below 2^43.
    const pairs = new Set<number>();
    for (const { items } of works) for (const { slot, epoch } of items) pairs.add(epoch * slotCount + slot);
    for (const pair of [...pairs].sort((a, b) => (a % slotCount) - (b % slotCount))) {
      this.#tables.slots.slot.int4(pair % slotCount);
      this.#tables.slots.epoch.int8(Math.floor(pair / slotCount));
    }
  }

  #actor(work: Work): void {
    const { actors } = this.#tables;
    const first = work.items[0];
    const last = work.items.at(-1);
    if (first === undefined || last === undefined) return;
    actors.address.text(work.chain.address);
    actors.kind.text(last.entry.kind);
    actors.slot.int4(last.slot);
    actors.base.int8(first.entry.baseSeq);
    actors.seq.int8(last.entry.seq);
    actors.epoch.int8(last.epoch);
    actors.version.int4(last.entry.machineVersion);
    actors.snapshot.json(snapshotOf(work));
  }

  #records(work: Work, rows: NonNullable<Work['items'][number]['entry']['records']>, events: readonly string[]): void {
    const { records } = this.#tables;
    rows.forEach((row, index) => {
      records.address.text(work.chain.address);
      records.seq.int8(row.seq);
      records.version.int4(row.machineVersion);
      records.event.json(events[index] ?? 'null');
      records.at.int8(row.at);
      records.state.text(row.stateAfter);
    });
  }

  #outbox(work: Work, item: Work['items'][number]): void {
    const { outbox } = this.#tables;
    item.entry.outbox?.forEach((row, index) => {
      outbox.id.text(row.id);
      outbox.address.text(work.chain.address);
      outbox.type.text(row.type);
      outbox.payload.json(item.payloadsJson[index] ?? 'null');
      outbox.slot.int4(item.slot);
    });
  }

  #storage(work: Work): void {
    const { storage } = this.#tables;
    for (const row of storageOf(work)) {
      storage.vault.text(work.chain.address);
      storage.key.text(row.key);
      storage.version.int8(row.version);
      storage.value.bytes(row.value);
      storage.size.int4(row.sizeBytes);
      storage.type.text(row.contentType);
      storage.created.int8(row.createdAt);
      storage.updated.int8(row.updatedAt);
      storage.client.int8(row.clientAt);
      storage.op.text(row.opId);
      storage.expires.int8(row.expiresAt);
      storage.deleted.bool(row.deleted);
    }
  }

  /** What a storage write mostly lacks: looked at only where some entry has it. */
  #rest(work: Work): void {
    if (!work.items.some(({ entry }) => entry.conflicts ?? entry.idempotency ?? entry.timers ?? entry.timersDone)) return;
    const { conflicts, idempotency, timers, timersDone } = this.#tables;
    for (const row of conflictsOf(work)) {
      conflicts.vault.text(work.chain.address);
      conflicts.key.text(row.key);
      conflicts.op.text(row.opId);
      conflicts.value.bytes(row.value);
      conflicts.kind.text(row.kind);
      conflicts.client.int8(row.clientAt);
      conflicts.at.int8(row.at);
      conflicts.resolution.text(row.resolution);
    }
    for (const row of idempotencyOf(work)) {
      idempotency.scope.text(row.scope);
      idempotency.hash.text(row.inputHash);
      idempotency.result.bytes(row.result);
      idempotency.expires.int8(row.expiresAt);
    }
    // One actor's entries are all of one slot.
    const slot = work.items[0]?.slot ?? 0;
    for (const [id, dueAt] of timersOf(work)) {
      const target = dueAt === null ? timersDone : timers;
      target.address.text(work.chain.address);
      target.id.text(id);
      if (dueAt === null) continue;
      timers.due.int8(dueAt);
      timers.slot.int4(slot);
    }
  }
}

/** How tmcp_commit names a slot and an epoch in a refusal. */
export function pairOf(slot: number, epoch: number): string {
  return `${slot}:${epoch}`;
}
