/**
 * Brings the database's schema up to this release: numbered files, each run once, all that are missing in one transaction. Two
 * nodes that start at once take turns. Run at start and by `tmcp migrate`.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Database, Queryable } from './database.ts';

export interface Migration {
  readonly version: number;
  readonly name: string;
  /** SHA-256 of the text, hex. A file that was released is never edited. */
  readonly checksum: string;
  readonly text: string;
}

export interface MigrationResult {
  /** Names of the files that were run now, in order. */
  readonly ran: readonly string[];
  /** The schema's version afterwards. */
  readonly version: number;
}

/** Key of the transaction-scoped advisory lock: "tmcp", and a number outside the slots. */
const lockSql = 'select pg_advisory_xact_lock(1953325936, -1)';

const tableSql = `create table if not exists schema_migrations (
  version int primary key,
  name text not null,
  checksum text not null,
  applied_at bigint not null
)`;

/** The migrations that ship with this release, ascending. Errors: Error for a gap or a repeated number. */
export function shippedMigrations(folder: URL = new URL('./migrations/', import.meta.url)): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name))
    .sort();
  return names.map((file, index) => {
    const version = Number(file.slice(0, 4));
    if (version !== index + 1) throw new Error(`Migration ${file} should be number ${index + 1}`);
    // Line ends depend on how the files were checked out and are no change.
    const text = readFileSync(new URL(file, folder), 'utf8').replaceAll('\r\n', '\n');
    return { version, name: file.slice(0, -4), checksum: createHash('sha256').update(text).digest('hex'), text };
  });
}

/**
 * Runs what is missing. Idempotent; safe on several nodes at once. A statement that waits longer than 5 s for a table fails the whole
 * run and leaves the schema as it was: a migration must never be what stops a running node.
 * Errors: Error when an applied file has changed since, or when the database is of a newer release.
 */
export async function migrate(db: Database, migrations: readonly Migration[] = shippedMigrations()): Promise<MigrationResult> {
  return db.transaction(async (tx) => {
    // Another node's run may take long; ours waits for it, and is then mostly done.
    await tx.script('set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; set local lock_timeout = 0');
    await tx.query(lockSql);
    await tx.query(tableSql);
    const missing = missingOf(migrations, await appliedOf(tx));
    await tx.script("set local lock_timeout = '5s'");
    for (const migration of missing) {
      await tx.script(migration.text);
      await tx.query(
        'insert into schema_migrations (version, name, checksum, applied_at) values ($1, $2, $3, (extract(epoch from clock_timestamp()) * 1000)::bigint)',
        [migration.version, migration.name, migration.checksum],
      );
    }
    return { ran: missing.map(({ name }) => name), version: migrations.at(-1)?.version ?? 0 };
  });
}

interface Applied {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
}

function appliedOf(tx: Queryable): Promise<Applied[]> {
  return tx.query<Applied>('select version, name, checksum from schema_migrations order by version');
}

function missingOf(migrations: readonly Migration[], applied: readonly Applied[]): Migration[] {
  const shipped = new Map(migrations.map((migration) => [migration.version, migration]));
  for (const row of applied) {
    const migration = shipped.get(row.version);
    if (migration === undefined) {
      throw new Error(
        `The database has migration ${row.name}, which this release does not know. Start a release at least as new as the database.`,
      );
    }
    if (migration.checksum !== row.checksum) {
      throw new Error(
        `Migration ${row.name} was changed after it was applied here. Restore the released file; put the change into a new one.`,
      );
    }
  }
  const done = new Set(applied.map(({ version }) => version));
  return migrations.filter(({ version }) => !done.has(version));
}
