/** The database that a configuration names, ready for use: Postgres when there is an address, else the embedded one. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from './database.ts';
import { migrate } from './migrate.ts';
import { checkDatabase } from './postgres/check.ts';
import { openPostgres } from './postgres/open.ts';

export interface DatabaseOptions {
  readonly databaseUrl: string | undefined;
  /** Where the embedded database lies. */
  readonly dataDir: string;
  readonly databasePool: number;
  readonly unsafeDatabase: readonly string[];
}

/** Opens, checks and migrates. Errors: those of `openPostgres`, `checkDatabase` and `migrate`. */
export async function openDatabase(options: DatabaseOptions, onError: (error: Error) => void): Promise<Database> {
  const { databaseUrl, dataDir, databasePool, unsafeDatabase } = options;
  let database: Database;
  if (databaseUrl === undefined) {
    // It holds the keys of development.
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    // 40 MB of WebAssembly that a node on Postgres never needs.
    const { openPglite } = await import('./pglite/open.ts');
    database = await openPglite(join(dataDir, 'pglite'));
  } else database = await openPostgres(databaseUrl, { poolSize: databasePool, onError });
  try {
    await checkDatabase(database, unsafeDatabase);
    await migrate(database);
  } catch (error) {
    await database.close();
    throw error;
  }
  return database;
}
