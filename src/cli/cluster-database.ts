/** The database of a cluster, for commands that look at it and change nothing of its shape: no migrations, one connection. */
import type { Config } from '../config.ts';
import type { Database } from '../persistence/database.ts';
import { openPostgres } from '../persistence/postgres/open.ts';
import { StartError } from './explain.ts';

/** What these commands need of the configuration. */
export type ClusterConfig = Pick<Config, 'databaseUrl' | 'nodeName' | 'pepper'>;

/** Where a command writes what was asked for. */
export type Print = (text: string) => void;

export const print: Print = (text) => void process.stdout.write(text);

const undefinedTable = '42P01';

/** Runs `work` on the database of DATABASE_URL. Errors: `StartError` when there is none, or none of ours; the driver's. */
export async function withCluster<T>({ databaseUrl }: ClusterConfig, work: (database: Database) => Promise<T>): Promise<T> {
  if (databaseUrl === undefined) throw new StartError('DATABASE_URL is not set: nodes find each other in Postgres.', 2);
  const database = await openPostgres(databaseUrl, { poolSize: 1, applicationName: 'tmcp-operator' });
  try {
    return await work(database);
  } catch (error) {
    if ((error as NodeJS.ErrnoException | null)?.code !== undefinedTable) throw error;
    throw new StartError('The database has no table of nodes: run `tmcp migrate`, or look at DATABASE_URL.');
  } finally {
    await database.close();
  }
}
