/**
 * The boot check of the database: a server that may lose what it has committed is refused, because answers promise otherwise.
 * Also gives `tmcp doctor` its facts.
 */
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const factsSql = loadSql(import.meta.url, './database-facts.sql');

/** Settings that must not be off, or a commit is not a commit. */
const durabilitySettings = ['fsync', 'full_page_writes', 'synchronous_commit'] as const;

export interface DatabaseFacts {
  readonly dialect: 'postgres' | 'pglite';
  readonly serverVersion: string;
  /** Every setting that was looked at, as a new session gets it. */
  readonly settings: Readonly<Record<string, string>>;
  /** What is off and was accepted by name, for example `fsync=off`; empty on PGlite, which is for development. */
  readonly acceptedRisks: readonly string[];
}

/**
 * Looks at the server. `accepted`: what the operator puts up with, for example `['fsync=off']`.
 * Errors: Error that lists all that is wrong, with what to do; the driver's when the server cannot be asked.
 */
export async function checkDatabase(db: Database, accepted: readonly string[] = []): Promise<DatabaseFacts> {
  const rows = await db.query<{ name: string; setting: string; resetValue: string }>(factsSql);
  const settings: Record<string, string> = {};
  for (const row of rows) settings[row.name] = row.resetValue ?? row.setting;

  const off = db.dialect === 'pglite' ? [] : durabilitySettings.filter((name) => settings[name] === 'off').map((name) => `${name}=off`);
  const wrong = off
    .filter((setting) => !accepted.includes(setting))
    .map((setting) => `${setting}: a commit could be lost. Turn it on, or accept it by name.`);
  if (Number(settings.server_version_num) < 140_000) wrong.push(`Postgres ${settings.server_version} is too old: 14 or newer is needed.`);
  if (settings.server_encoding !== undefined && settings.server_encoding !== 'UTF8')
    wrong.push(`The database's encoding is ${settings.server_encoding}: UTF8 is needed.`);
  if (settings.transaction_read_only === 'on') wrong.push('The server takes no writes (a standby, or read-only by default).');
  if (wrong.length > 0) throw new Error(`The database is not fit to keep promises:\n- ${wrong.join('\n- ')}`);
  return { dialect: db.dialect, serverVersion: settings.server_version ?? 'unknown', settings, acceptedRisks: off };
}
