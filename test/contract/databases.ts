/** The engines that the suites of the database's adapters run on, and small makers of journal entries. */
import type { Clock, JournalEntry, StorageRow } from '../../src/actors/ports.ts';
import { SystemClock } from '../../src/clock.ts';
import type { Database } from '../../src/persistence/database.ts';
import { createJournal, type JournalOptions, type NodeJournal } from '../../src/persistence/journal/journal.ts';
import { migrate } from '../../src/persistence/migrate.ts';
import { openPglite } from '../../src/persistence/pglite/open.ts';
import { openPostgres } from '../../src/persistence/postgres/open.ts';
import { claimSlots } from '../../src/persistence/stores/slots.ts';
import { freshDatabase } from '../support/postgres.ts';

export interface Engine {
  readonly name: string;
  /** An empty, migrated database. */
  open(): Promise<Database>;
}

export const engines: readonly Engine[] = [
  { name: 'PGlite', open: () => migrated(openPglite()) },
  { name: 'Postgres', open: async () => migrated(openPostgres(await freshDatabase(), { poolSize: 8 })) },
];

async function migrated(opening: Promise<Database>): Promise<Database> {
  const db = await opening;
  await migrate(db);
  return db;
}

export const clock: Clock = new SystemClock();

/** A journal that owns every slot, and one answer for each entry. */
export async function openJournal(db: Database, options: Partial<JournalOptions> = {}): Promise<TestJournal> {
  const epochs = await claimSlots(db, 'test');
  const warnings: object[] = [];
  const journal = createJournal({
    db,
    clock,
    lanes: 1,
    maxEntries: 10_000,
    maxBytes: 64 * 1024 * 1024,
    epochOf: (slot) => epochs[slot]?.epoch ?? -1,
    log: { warn: (fields) => warnings.push(fields), error: (fields) => warnings.push(fields) },
    ...options,
  });
  return { journal, warnings, append: (entry) => appended(journal, entry) };
}

export interface TestJournal {
  readonly journal: NodeJournal;
  readonly warnings: readonly object[];
  /** Resolves when the entry is flushed, with its error if it has one. */
  append(entry: JournalEntry): Promise<Error | undefined>;
}

export function appended(journal: NodeJournal, entry: JournalEntry): Promise<Error | undefined> {
  return new Promise((resolve) => journal.append(entry, resolve));
}

/** An entry that goes from `baseSeq` to the next; `more` adds or replaces members. */
export function entryOf(address: string, baseSeq: number, more: Partial<JournalEntry> = {}): JournalEntry {
  return { address, kind: address.split(':')[0] ?? 'vault', baseSeq, seq: baseSeq + 1, machineVersion: 1, ...more };
}

export function rowOf(key: string, version: number, more: Partial<StorageRow> = {}): StorageRow {
  return {
    key,
    version,
    value: new Uint8Array([version & 0xff]),
    sizeBytes: 1,
    contentType: null,
    createdAt: 1_000,
    updatedAt: 1_000 + version,
    clientAt: 1_000 + version,
    opId: null,
    expiresAt: null,
    deleted: false,
    ...more,
  };
}

/** Every value that is refused because Postgres has no such text: a data error that only the entry itself causes. */
export const poison = 'a\u0000b';
