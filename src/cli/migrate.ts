/** `tmcp migrate`. */
import { openDatabase } from '../dev/start-dev.ts';
import type { Settings } from './settings.ts';

/** Brings the database to this version. Two may run at once: one waits for the other. */
export async function runMigrate({ config, log }: Settings): Promise<void> {
  const database = await openDatabase(config, log);
  await database.close();
  process.stdout.write('The database is up to date.\n');
}
