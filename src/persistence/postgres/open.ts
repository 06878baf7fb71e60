/**
 * Postgres through `pg`: a pool whose sessions are all set alike. Every session commits synchronously, whatever the server's default
 * is, because answers are given on what a commit returned.
 */
import pg from 'pg';
import type { Connection, Database, Queryable } from '../database.ts';
import { oid, parseBytea, parseInt8 } from './value-parsers.ts';

export interface PostgresOptions {
  /** Connections this process may hold, those for urgent statements apart; the journal's lanes keep one each. */
  readonly poolSize: number;
  /** The server ends a statement that runs longer. Default 5,000 ms. */
  readonly statementTimeoutMs?: number;
  /** Shown in `pg_stat_activity`. Default `tmcp`. */
  readonly applicationName?: string;
  /** Told of an idle connection that broke; the pool has dropped it by then. */
  readonly onError?: (error: Error) => void;
}

const parsers = new Map<number, (text: string) => unknown>([
  [oid.int8, parseInt8],
  [oid.bytea, parseBytea],
]);

/** A renewal of the lease, and beside it a claim of slots or a probe. */
const urgentConnections = 2;

const types = {
  getTypeParser: (id: number, format?: 'text' | 'binary') => parsers.get(id) ?? pg.types.getTypeParser(id, format as 'text'),
} as pg.CustomTypesConfig;

/**
 * Opens a pool on `url` (`postgres://…`) and makes sure that one connection can be made.
 * Errors: the driver's or the network's, when the server cannot be reached or refuses.
 */
export async function openPostgres(url: string, options: PostgresOptions): Promise<Database> {
  const statementTimeoutMs = options.statementTimeoutMs ?? 5_000;
  // Set by statements and not in the start-up packet: a pooler in between refuses parameters it does not know.
  const setUp = [
    `set statement_timeout = ${Math.trunc(statementTimeoutMs)}`,
    `set idle_in_transaction_session_timeout = ${Math.trunc(statementTimeoutMs) * 2}`,
    `set default_transaction_isolation = 'read committed'`,
    `set bytea_output = 'hex'`,
    // Only a weaker setting is replaced: an operator's `remote_apply` stays.
    `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local')`,
  ].join(';');
  const settings: pg.PoolConfig = {
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: options.applicationName ?? 'tmcp',
    types,
    onConnect: async (client: pg.ClientBase) => {
      await client.query(setUp);
    },
  };
  const pool = new pg.Pool({ ...settings, max: options.poolSize });
  const urgent = new pg.Pool({ ...settings, max: urgentConnections });
  for (const either of [pool, urgent]) either.on('error', (error) => options.onError?.(error));

  const connect = async (): Promise<Connection> => {
    const client = await pool.connect();
    // A lent client that loses its connection between statements reports it here; the next statement on it fails by itself.
    const lost = (error: Error): void => options.onError?.(error);
    client.on('error', lost);
    return {
      ...queryableOf(client),
      release: (broken = false) => {
        client.off('error', lost);
        // An ended client still emits once its socket closes, with nobody to hear it.
        if (broken) client.on('error', () => {});
        client.release(broken);
      },
    };
  };

  const database: Database = {
    dialect: 'postgres',
    // A server that cannot be reached says nothing, also not that a statement took too long.
    ...queryableOf(pool, statementTimeoutMs + 1_000),
    urgent: queryableOf(urgent, statementTimeoutMs + 1_000),
    connect,
    transaction: async (work) => {
      const connection = await connect();
      let broken = true;
      try {
        await connection.query('begin');
        const result = await rollingBack(connection, work);
        await connection.query('commit');
        broken = false;
        return result;
      } catch (error) {
        broken = !(error instanceof RolledBack);
        throw error instanceof RolledBack ? error.cause : error;
      } finally {
        connection.release(broken);
      }
    },
    close: async () => {
      await Promise.all([pool.end(), urgent.end()]);
    },
  };

  try {
    await database.query('select 1');
  } catch (error) {
    await database.close();
    throw error;
  }
  return database;
}

/** Marks a failure after which the transaction was rolled back in order, so that the connection is still good. */
class RolledBack extends Error {}

async function rollingBack<T>(connection: Connection, work: (tx: Queryable) => Promise<T>): Promise<T> {
  try {
    return await work(connection);
  } catch (error) {
    await connection.query('rollback');
    throw new RolledBack('rolled back', { cause: error });
  }
}

/** `giveUpMs`: a statement without an answer for so long has failed, and its connection is dropped. */
function queryableOf(runner: { query(config: string | pg.QueryConfig): Promise<pg.QueryResult> }, giveUpMs?: number): Queryable {
  return {
    query: async <R extends object>(text: string, params?: readonly unknown[], name?: string): Promise<R[]> => {
      const result = await runner.query({
        text,
        ...(params === undefined ? {} : { values: params as unknown[] }),
        ...(name === undefined ? {} : { name }),
        ...(giveUpMs === undefined ? {} : { query_timeout: giveUpMs }),
      } as pg.QueryConfig);
      return result.rows as R[];
    },
    script: async (text) => {
      await runner.query(text);
    },
  };
}
