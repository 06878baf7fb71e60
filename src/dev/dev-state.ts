/**
 * What `tmcp dev` draws once and must find again: its keys, the fixtures' secrets, how far its clock was moved. Kept in the database, beside
 * the data that these protect, in a table that only dev makes. `serve` never reads it.
 */
import type { Database } from '../persistence/database.ts';

const selectSql = 'SELECT value FROM dev_state WHERE name = $1';

export class DevState {
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  static async open(db: Database): Promise<DevState> {
    await db.query('CREATE TABLE IF NOT EXISTS dev_state (name text PRIMARY KEY, value jsonb NOT NULL)');
    return new DevState(db);
  }

  /** The value under `name`; `draw` makes it at the first start. Two servers starting at once agree on one. */
  async once<T>(name: string, draw: () => T | Promise<T>): Promise<T> {
    const found = await this.#find<T>(name);
    if (found !== undefined) return found;
    const drawn = await draw();
    await this.#db.query('INSERT INTO dev_state (name, value) VALUES ($1, $2::jsonb) ON CONFLICT (name) DO NOTHING', [
      name,
      JSON.stringify(drawn),
    ]);
    return (await this.#find<T>(name)) ?? drawn;
  }

  async put(name: string, value: unknown): Promise<void> {
    await this.#db.query(
      'INSERT INTO dev_state (name, value) VALUES ($1, $2::jsonb) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      [name, JSON.stringify(value)],
    );
  }

  async #find<T>(name: string): Promise<T | undefined> {
    return (await this.#db.query<{ value: T }>(selectSql, [name]))[0]?.value;
  }
}

/** What is kept under `name`, without making the table; undefined: nothing, or no `tmcp dev` was ever here. */
export async function findDevState<T>(db: Database, name: string): Promise<T | undefined> {
  const [table] = await db.query<{ there: boolean }>("SELECT to_regclass('dev_state') IS NOT NULL AS there");
  if (table?.there !== true) return undefined;
  return (await db.query<{ value: T }>(selectSql, [name]))[0]?.value;
}
