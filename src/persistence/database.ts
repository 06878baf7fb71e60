/**
 * The database as the adapters see it: the same SQL on Postgres (`pg`) and on PGlite. Callers keep statements in `.sql`
 * files, one a file, and hand parameters as plain values. Who else writes: other nodes on the same database.
 */

/** One row as the driver gives it: `bigint` columns arrive as numbers (they are checked to be safe), `bytea` as Uint8Array, `jsonb` parsed, `timestamptz` is not used (instants are bigint epoch ms). */
export type Row = Record<string, unknown>;

export interface Queryable {
  /**
   * Runs one statement. `name` makes it a prepared statement where the driver has those. Parameters: numbers, strings, booleans, null,
   * arrays of these, Uint8Array for `bytea`; JSON is handed as text. Errors: the driver's, with SQLSTATE in `code`.
   */
  query<R extends object = Row>(text: string, params?: readonly unknown[], name?: string): Promise<R[]>;
  /** Runs a text of many statements without parameters, for migrations. */
  script(text: string): Promise<void>;
}

/** A connection for one caller alone. `release(true)` also ends it: for one that broke, or whose answer never came. */
export interface Connection extends Queryable {
  release(broken?: boolean): void;
}

export interface Database extends Queryable {
  readonly dialect: 'postgres' | 'pglite';
  /**
   * For the few statements that the node's life hangs on (its lease, its readiness, withdrawn tokens): they wait for none of the others,
   * which a busy node has queues of. On PGlite they do wait: all share the one engine.
   */
  readonly urgent: Queryable;
  /** Runs `work` in one transaction on one connection; a throw rolls back. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
  /** One connection for the caller alone, until `release`. The journal's lanes hold one each. On PGlite all share the one engine. */
  connect(): Promise<Connection>;
  close(): Promise<void>;
}
