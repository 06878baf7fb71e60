/**
 * A journal and its reads in memory: a real implementation of the ports `Journal`, `ActorStore` and `VaultStore`, with the
 * same conditions (order, whole entries, `baseSeq`), whose flushes a test holds in its hand. What it stores are copies, and
 * snapshots go through JSON, so nothing that a database would not keep survives here either.
 */
import type {
  ActorStore,
  Address,
  ConflictRow,
  Flushed,
  IdempotencyRow,
  Journal,
  JournalEntry,
  OutboxRow,
  RecordRow,
  StorageRow,
  VaultStore,
} from '../../src/actors/ports.ts';
import { slotOf } from '../../src/actors/runtime/slots.ts';
import { TmcpError } from '../../src/protocol/errors.ts';

export interface MemoryJournalOptions {
  /** True: what was appended is committed in the next microtask. False: only `flush` and `drain` commit. Default true. */
  readonly autoFlush?: boolean;
  /** Entries that may wait; one more and `append` throws `SERVICE_UNAVAILABLE`. Default: no bound. */
  readonly maxEntries?: number;
  /** Wall time for the outbox rows' age. Default: always 0. */
  readonly now?: () => number;
}

export interface MemoryJournal extends Journal, ActorStore, VaultStore {
  /** Commits up to `count` waiting entries (all when left out), oldest first; returns how many were tried. */
  flush(count?: number): number;
  /** The next `count` entries to be committed fail (default 1); later ones of the same actors then fail by their `baseSeq`. */
  failNext(count?: number, error?: Error): void;
  /** Makes `append` refuse as a full journal does, until told otherwise. */
  refuse(on: boolean): void;
  /** Makes reads reject, as when the database is away, until told otherwise: all of them, or only those of values. */
  unreadable(on: boolean | 'values'): void;
  /** The process dies: what waits is gone and nobody is told. What was committed stays. */
  crash(): void;
  /** Every committed entry, oldest first. */
  readonly committed: readonly JournalEntry[];
  /** Every storage row of an address as stored, tombstones included, in the order of their keys. */
  rows(address: Address): StorageRow[];
  /** Removes storage rows, as a retention job would. */
  dropRows(address: Address, which: (row: StorageRow) => boolean): void;
}

interface StoredState {
  seq: number;
  machineVersion: number;
  snapshot: unknown;
  readonly records: RecordRow[];
  readonly storage: Map<string, StorageRow>;
  readonly conflicts: ConflictRow[];
  readonly timers: Map<string, number>;
}

/** A journal in memory with manual flush control. Order of `conflicts`: newest first. */
export function createMemoryJournal(options: MemoryJournalOptions = {}): MemoryJournal {
  const { autoFlush = true, maxEntries = Number.POSITIVE_INFINITY, now = () => 0 } = options;
  const actors = new Map<Address, StoredState>();
  const idempotency = new Map<string, IdempotencyRow>();
  const outbox = new Map<string, OutboxRow & { address: Address; createdAt: number }>();
  const committed: JournalEntry[] = [];
  let waiting: { readonly entry: JournalEntry; readonly flushed: Flushed }[] = [];
  let failures: Error[] = [];
  let refusing = false;
  let away: boolean | 'values' = false;
  let scheduled = false;

  const write = (entry: JournalEntry): void => {
    const known = actors.get(entry.address);
    if ((known?.seq ?? 0) !== entry.baseSeq) throw new Error(`${entry.address} is at ${known?.seq ?? 0}, not at ${entry.baseSeq}`);
    if (entry.seq <= entry.baseSeq) throw new Error(`${entry.address}: seq must grow`);
    const keys = new Set(entry.storage?.map((row) => row.key));
    if (keys.size !== (entry.storage?.length ?? 0)) throw new Error(`${entry.address}: a key twice in one entry`);
    const actor: StoredState = known ?? {
      seq: 0,
      machineVersion: entry.machineVersion,
      snapshot: null,
      records: [],
      storage: new Map(),
      conflicts: [],
      timers: new Map(),
    };
    actors.set(entry.address, actor);
    actor.seq = entry.seq;
    actor.machineVersion = entry.machineVersion;
    if (entry.snapshot !== undefined) actor.snapshot = JSON.parse(JSON.stringify(entry.snapshot));
    actor.records.push(...(entry.records ?? []));
    for (const row of entry.storage ?? []) actor.storage.set(row.key, row);
    for (const row of entry.conflicts ?? []) actor.conflicts.unshift(row);
    for (const row of entry.idempotency ?? []) idempotency.set(row.scope, row);
    for (const row of entry.outbox ?? []) outbox.set(row.id, { ...row, address: entry.address, createdAt: now() });
    for (const id of entry.outboxDone ?? []) outbox.delete(id);
    for (const { id, dueAt } of entry.timers ?? []) actor.timers.set(id, dueAt);
    for (const id of entry.timersDone ?? []) actor.timers.delete(id);
    committed.push(entry);
  };

  const flush = (count = Number.POSITIVE_INFINITY): number => {
    let tried = 0;
    while (tried < count) {
      const next = waiting.shift();
      if (next === undefined) break;
      tried++;
      const failure = failures.shift();
      if (failure !== undefined) {
        next.flushed(failure);
        continue;
      }
      try {
        write(next.entry);
      } catch (error) {
        next.flushed(error as Error);
        continue;
      }
      next.flushed();
    }
    return tried;
  };

  const read = <T>(answer: () => T, what?: 'values'): Promise<T> =>
    away === true || (away === 'values' && what === 'values')
      ? Promise.reject(new Error('the store is away'))
      : Promise.resolve().then(() => structuredClone(answer()));

  return {
    committed,
    append(entry, flushed) {
      if (refusing || waiting.length >= maxEntries) throw new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 });
      waiting.push({ entry: structuredClone(entry), flushed });
      if (!autoFlush || scheduled) return;
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        flush();
      });
    },
    backlog: () => ({ entries: waiting.length, bytes: 0 }),
    async drain() {
      while (waiting.length > 0) {
        flush();
        await Promise.resolve();
      }
    },
    flush,
    failNext(count = 1, error = new Error('the commit failed')) {
      failures = failures.concat(Array.from({ length: count }, () => error));
    },
    refuse(on) {
      refusing = on;
    },
    unreadable(on) {
      away = on;
    },
    crash() {
      waiting = [];
      failures = [];
    },
    rows: (address) => [...(actors.get(address)?.storage.values() ?? [])].sort((a, b) => (a.key < b.key ? -1 : 1)),
    dropRows(address, which) {
      const storage = actors.get(address)?.storage;
      for (const row of storage?.values() ?? []) if (which(row)) storage?.delete(row.key);
    },
    load: (address) =>
      read(() => {
        const actor = actors.get(address);
        return actor === undefined ? undefined : { seq: actor.seq, machineVersion: actor.machineVersion, snapshot: actor.snapshot };
      }),
    records: (address) => read(() => [...(actors.get(address)?.records ?? [])]),
    idempotency: (_address, scope) => read(() => idempotency.get(scope)),
    timers: (dueBefore, limit, slots) =>
      read(() => {
        const due: { address: Address; id: string; dueAt: number }[] = [];
        for (const [address, actor] of actors) {
          if (slots?.includes(slotOf(address)) === false) continue;
          for (const [id, dueAt] of actor.timers) if (dueAt <= dueBefore) due.push({ address, id, dueAt });
        }
        return due.sort((a, b) => a.dueAt - b.dueAt).slice(0, limit);
      }),
    outbox: (limit, slots) =>
      read(() => [...outbox.values()].filter(({ address }) => slots?.includes(slotOf(address)) !== false).slice(0, limit)),
    index: (address) =>
      read(() => [...(actors.get(address)?.storage.values() ?? [])].map(({ value: _value, ...row }): Omit<StorageRow, 'value'> => row)),
    values: (address, keys) =>
      read(() => {
        const found: { key: string; version: number; value: Uint8Array }[] = [];
        for (const key of keys) {
          const row = actors.get(address)?.storage.get(key);
          if (row !== undefined && row.value !== null) found.push({ key, version: row.version, value: row.value });
        }
        return found;
      }, 'values'),
    conflicts: (address, limit) => read(() => (actors.get(address)?.conflicts ?? []).slice(0, limit)),
  };
}
