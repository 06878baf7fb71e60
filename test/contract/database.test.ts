/** What a `Database` promises, on each engine. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/persistence/database.ts';
import { engines } from './databases.ts';

describe.each(engines)('a database on $name', (engine) => {
  let db: Database;
  beforeAll(async () => {
    db = await engine.open();
    await db.script('create table t (id int primary key, n bigint, b bytea, j jsonb, a text[]); create table u (id int)');
  });
  afterAll(() => db.close());

  it('gives bigint as number, bytea as bytes, jsonb parsed, null as null', async () => {
    await db.query('insert into t values ($1, $2, $3, $4, $5)', [
      1,
      2 ** 40,
      new Uint8Array([0, 1, 255]),
      JSON.stringify({ a: [1] }),
      ['x', 'y"'],
    ]);
    await db.query('insert into t values ($1, $2, $3, $4, $5)', [2, null, null, null, null]);
    const rows = await db.query<{ b: unknown }>('select * from t order by id', [], 'all_t');
    expect(rows).toEqual([
      { id: 1, n: 2 ** 40, b: new Uint8Array([0, 1, 255]), j: { a: [1] }, a: ['x', 'y"'] },
      { id: 2, n: null, b: null, j: null, a: null },
    ]);
    expect(rows[0]?.b).toBeInstanceOf(Uint8Array);
  });

  it('fails rather than rounds a bigint past 2^53', async () => {
    await expect(db.query('select 9007199254740993::bigint as n')).rejects.toThrow(/safe integer/);
    expect(await db.query('select 9007199254740991::bigint as n')).toEqual([{ n: Number.MAX_SAFE_INTEGER }]);
  });

  it('rolls a transaction back when its work throws, and goes on', async () => {
    const fault = new Error('mine');
    await expect(
      db.transaction(async (tx) => {
        await tx.query('insert into u values (1)');
        throw fault;
      }),
    ).rejects.toBe(fault);
    await expect(db.transaction((tx) => tx.query('select 1 / 0'))).rejects.toMatchObject({ code: '22012' });
    expect(await db.transaction(async (tx) => (await tx.query('select * from u')).length)).toBe(0);
  });

  it('gives errors with their SQLSTATE', async () => {
    await expect(db.query('insert into t (id) values (1)')).rejects.toMatchObject({ code: '23505', severity: 'ERROR' });
    await expect(db.script('select 1; select nothing')).rejects.toMatchObject({ code: '42703' });
  });

  it('lends a connection that is given back', async () => {
    const connection = await db.connect();
    expect(await connection.query('select 1 as one')).toEqual([{ one: 1 }]);
    connection.release();
    const again = await db.connect();
    again.release(true);
    expect(await db.query('select 2 as two')).toEqual([{ two: 2 }]);
  });
});
