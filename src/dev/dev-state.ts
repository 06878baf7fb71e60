/**
 * What `tmcp dev` draws once and must find again: its keys, the fixtures' secrets, how far its clock was moved. Kept in the database, beside
 * the data that these protect, in a table that only dev makes. `serve` never reads it.
 */
import type { Database } from '../persistence/database.ts';

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
    const rows = await this.#db.query<{ value: T }>('SELECT value FROM dev_state WHERE name = $1', [name]);
    return rows[0]?.value;
  }
}
