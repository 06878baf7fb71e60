/** `tmcp migrate`. */
import { openDatabase } from '../persistence/open-database.ts';
import type { Settings } from './settings.ts';

/** Brings the database to this version. Two may run at once: one waits for the other. */
export async function runMigrate({ config, log }: Settings): Promise<void> {
  const database = await openDatabase(config, (error) => log.warn({ err: error }, 'a database connection broke'));
  await database.close();
  process.stdout.write('The database is up to date.\n');
}
