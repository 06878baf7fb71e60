/**
 * A real Postgres for tests and harnesses: the one that TEST_DATABASE_URL or DATABASE_URL names, else one we start
 * ourselves with its default, durable settings on a free loopback port in a temporary folder. Test files ask
 * `freshDatabase()`; scripts take `usePostgres()`, or `startPostgres()` when they mean to kill it.
 * TEST_POSTGRES=local|embedded limits where the programs of a server of our own come from.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { type Account, removeFolder, runFolder, type ServerProcess, serverAccount, startServer, tail } from './child.ts';
import { freePort } from './ports.ts';
import { findPostgres, type PostgresBinaries } from './postgres-binaries.ts';

/** A Postgres to work on; `url` names a database that is empty and ours alone. */
export interface UsedPostgres {
  readonly url: string;
  /** Makes another empty database on the same server and gives its URL. */
  createDatabase(): Promise<string>;
  /** Drops what was made; a server of our own ends with it. */
  stop(): Promise<void>;
}

/** A server of our own. The port and the data stay the same over `kill` and `restart`. */
export interface OwnPostgres extends UsedPostgres {
  readonly port: number;
  /** SIGKILL: what a crash of the machine's Postgres looks like to its clients. */
  kill(): Promise<void>;
  /** Starts it again after `kill`; resolves when it answers, recovery included. */
  restart(): Promise<void>;
}

/** An empty database of the run's one Postgres, for one test file. Needs vitest's global set-up; dropped when the run ends. */
export async function freshDatabase(): Promise<string> {
  // Loaded here, because vitest is not there for scripts.
  const { askBroker } = await import('./broker-client.ts');
  return (await askBroker<{ url: string }>('/database')).url;
}

/** A real Postgres, however it can be had: by the environment's URL, else a server of our own. */
export async function usePostgres(): Promise<UsedPostgres> {
  const given = process.env['TEST_DATABASE_URL'] ?? process.env['DATABASE_URL'];
  if (given === undefined || given === '') return startPostgres();
  const made = new Set<string>();
  const createDatabase = async (): Promise<string> => {
    const url = await createDatabaseAt(given);
    made.add(url);
    return url;
  };
  return {
    url: await createDatabase(),
    createDatabase,
    async stop() {
      for (const url of made) await administer(given, `DROP DATABASE IF EXISTS ${databaseOf(url)} WITH (FORCE)`);
      made.clear();
    },
  };
}

/** Starts a Postgres of our own. `settings` are server parameters on top of the defaults, for example `{ max_connections: '300' }`. */
export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<OwnPostgres> {
  const account = serverAccount();
  const folder = runFolder('pg', account);
  const binaries = findPostgres(process.env['TEST_POSTGRES'], () => copyFolder(folder, account), account !== undefined);
  const password = randomBytes(12).toString('hex');
  initialise(binaries, folder, password, account);

  const launch = async (port: number): Promise<ServerProcess> => {
    const merged = { max_connections: '200', ...settings };
    const parameters = Object.entries(merged).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    return startServer({
      command: binaries.postgres,
      args: ['-D', join(folder, 'data'), '-h', '127.0.0.1', '-p', String(port), '-k', socketFolder(folder), ...parameters],
      cwd: folder,
      logFile: join(folder, 'server.log'),
      environment: cleanEnvironment(binaries),
      account,
    });
  };

  let port = 0;
  let server: ServerProcess | undefined;
  // The port may be taken between the asking and the start: then another is tried.
  for (let attempt = 1; server === undefined; attempt += 1) {
    port = await freePort();
    const started = await launch(port);
    if (await answers(started, adminUrl(port, password))) server = started;
    else if (attempt === 5) throw new Error(`Postgres did not start:\n${tail(join(folder, 'server.log'))}`);
  }
  const admin = adminUrl(port, password);
  return {
    port,
    url: await createDatabaseAt(admin),
    createDatabase: () => createDatabaseAt(admin),
    async kill() {
      await server?.end('SIGKILL');
    },
    async restart() {
      // Backends of the killed server hold its shared memory until they notice, so the first tries may fail.
      for (let attempt = 1; ; attempt += 1) {
        const started = await launch(port);
        server = started;
        if (await answers(started, admin)) return;
        if (attempt === 40) throw new Error(`Postgres did not come back:\n${tail(join(folder, 'server.log'))}`);
        await pause(100);
      }
    },
    async stop() {
      await server?.end('SIGQUIT');
      removeFolder(folder);
    },
  };
}

function initialise(binaries: PostgresBinaries, folder: string, password: string, account: Account | undefined): void {
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (account !== undefined) chownSync(passwordFile, account.uid, account.gid);
  const args = [
    '-D',
    join(folder, 'data'),
    '-U',
    'postgres',
    '--auth=password',
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    '--no-locale',
    '--no-sync',
  ];
  const run = spawnSync(binaries.initdb, args, { cwd: folder, env: cleanEnvironment(binaries), encoding: 'utf8', ...account });
  if (run.status !== 0) throw new Error(`initdb failed: ${run.error?.message ?? ''}${run.stdout ?? ''}${run.stderr ?? ''}`);
}

/** A folder below `folder` for a copy of the programs; readable by the account that owns `folder`. */
function copyFolder(folder: string, account: Account | undefined): string {
  const copy = join(folder, 'programs');
  mkdirSync(copy);
  chmodSync(copy, 0o755);
  if (account !== undefined) chownSync(copy, account.uid, account.gid);
  return copy;
}

/** A Unix socket's path holds 107 bytes; a longer one would stop the server, so it goes without a socket then. */
function socketFolder(folder: string): string {
  return folder.length < 80 ? folder : '';
}

/** Nothing of ours: PGDATA, PGPORT and their like would lead the server elsewhere. */
function cleanEnvironment(binaries: PostgresBinaries): Record<string, string> {
  const environment: Record<string, string> = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
  if (binaries.libraryPath !== undefined) environment['LD_LIBRARY_PATH'] = binaries.libraryPath;
  return environment;
}

/** Waits until the server takes a connection (true), or has ended without doing so (false). */
async function answers(server: ServerProcess, url: string): Promise<boolean> {
  for (let tries = 0; tries < 600 && server.running; tries += 1) {
    try {
      await administer(url, 'SELECT 1');
      return true;
    } catch {
      // Not listening yet, or still recovering: the loop's end is the server's end, or 60 s.
      await pause(100);
    }
  }
  await server.end('SIGKILL');
  return false;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function adminUrl(port: number, password: string): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

/** Makes an empty database beside the one that `url` names, and gives its URL. */
async function createDatabaseAt(url: string): Promise<string> {
  const name = `tmcp_test_${process.pid}_${randomBytes(6).toString('hex')}`;
  await administer(url, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  const made = new URL(url);
  made.pathname = `/${name}`;
  return made.href;
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // A server that goes away must not become an unhandled 'error' event.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
