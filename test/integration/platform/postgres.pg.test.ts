/** What the tests' own Postgres promises: real, durable, empty, one database a file, and back after a kill. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type OwnPostgres, startPostgres } from '../../support/postgres.ts';

async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

describe('freshDatabase', () => {
  it('gives an empty database with durable settings', async () => {
    const url = await freshDatabase();
    const [settings] = await query(
      url,
      "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages, current_setting('synchronous_commit') AS commit",
    );
    expect(settings).toEqual({ fsync: 'on', pages: 'on', commit: 'on' });
    expect(await query(url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'")).toEqual([]);
  });

  it('gives each asker a database of its own', async () => {
    const [one, two] = [await freshDatabase(), await freshDatabase()];
    await query(one, 'CREATE TABLE mine (id int)');
    expect(await query(two, "SELECT 1 FROM pg_tables WHERE tablename = 'mine'")).toEqual([]);
  });
});

describe('startPostgres', () => {
  let server: OwnPostgres;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());

  it('keeps what was committed over a kill, on the same port', async () => {
    await query(server.url, 'CREATE TABLE kept AS SELECT 7 AS n');
    await server.kill();
    await expect(query(server.url, 'SELECT 1')).rejects.toThrow('ECONNREFUSED');
    await server.restart();
    expect(await query(server.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
  });
});
