/** Migrations on a real Postgres: two nodes at once, changed and unknown files, a run that fails half-way. */
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import type { Database } from '../../../src/persistence/database.ts';
import { migrate, type Migration, shippedMigrations } from '../../../src/persistence/migrate.ts';
import { openPostgres } from '../../../src/persistence/postgres/open.ts';
import { freshDatabase } from '../../support/postgres.ts';

const opened: Database[] = [];
async function open(url: string): Promise<Database> {
  const db = await openPostgres(url, { poolSize: 3 });
  opened.push(db);
  return db;
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

function migrationOf(version: number, text: string): Migration {
  return { version, name: `${String(version).padStart(4, '0')}-test`, text, checksum: createHash('sha256').update(text).digest('hex') };
}

describe('migrations', () => {
  it('run once when several nodes start at once', async () => {
    const url = await freshDatabase();
    const nodes = await Promise.all([1, 2, 3, 4].map(() => open(url)));
    const results = await Promise.all(nodes.map((db) => migrate(db)));
    const names = shippedMigrations().map(({ name }) => name);
    expect(results.map(({ ran }) => ran).filter((ran) => ran.length > 0)).toEqual([names]);
    expect(results.every(({ version }) => version === names.length)).toBe(true);
    expect(await nodes[0]!.query('select count(*) as n from slots')).toEqual([{ n: 1024 }]);
  });

  it('do nothing the second time', async () => {
    const db = await open(await freshDatabase());
    await migrate(db);
    expect((await migrate(db)).ran).toEqual([]);
  });

  it('refuse a file that was changed after it was applied', async () => {
    const db = await open(await freshDatabase());
    await migrate(db, [migrationOf(1, 'create table a (id int)')]);
    await expect(migrate(db, [migrationOf(1, 'create table a (id bigint)')])).rejects.toThrow(/was changed after/);
  });

  it('refuse a database of a newer release', async () => {
    const db = await open(await freshDatabase());
    const one = migrationOf(1, 'create table a (id int)');
    await migrate(db, [one, migrationOf(2, 'create table b (id int)')]);
    await expect(migrate(db, [one])).rejects.toThrow(/does not know/);
  });

  it('[D12] leave everything as it was when one of them fails', async () => {
    const db = await open(await freshDatabase());
    const one = migrationOf(1, 'create table a (id int)');
    await migrate(db, [one]);
    await expect(
      migrate(db, [one, migrationOf(2, 'create table b (id int)'), migrationOf(3, 'create table b (id int)')]),
    ).rejects.toMatchObject({
      code: '42P07',
    });
    expect(await db.query("select to_regclass('b') as b")).toEqual([{ b: null }]);
    expect((await migrate(db, [one, migrationOf(2, 'create table b (id int)')])).ran).toEqual(['0002-test']);
  });

  it('take texts of many statements with bodies in dollar quotes', async () => {
    const db = await open(await freshDatabase());
    await migrate(db, [
      migrationOf(1, 'create function f() returns int language plpgsql as $x$ begin return 7; end $x$; create table c (id int);'),
    ]);
    expect(await db.query('select f() as f')).toEqual([{ f: 7 }]);
  });

  it('ship without gaps, each with its checksum', () => {
    const shipped = shippedMigrations();
    expect(shipped.map(({ version }) => version)).toEqual(shipped.map((_, index) => index + 1));
    expect(shipped[0]?.name).toBe('0001-core');
    for (const { checksum } of shipped) expect(checksum).toMatch(/^[0-9a-f]{64}$/);
  });
});
