/**
 * A real Redis for tests and harnesses: the one that TEST_REDIS_URL or REDIS_URL names, else the machine's `redis-server`
 * on a free loopback port, else the distribution's package, installed when we are root and apt-get is there.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { removeFolder, runFolder, type ServerProcess, startServer, tail } from './child.ts';
import { freePort } from './ports.ts';

/** A share of a Redis. Keys and channels of a test start with `prefix`: the server may be shared with others. */
export interface RedisShare {
  readonly url: string;
  readonly prefix: string;
}

export interface UsedRedis {
  readonly url: string;
  share(): RedisShare;
  stop(): Promise<void>;
}

/** A server of our own. Its port stays the same over `kill` and `restart`; its data does not survive, as Redis may lose everything. */
export interface OwnRedis extends UsedRedis {
  readonly port: number;
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** How many numbered databases a server of our own has, so that each test file can have one. */
const databases = 4096;

/** A share of the run's one Redis, for one test file. Needs vitest's global set-up. */
export async function freshRedis(): Promise<RedisShare> {
  // Loaded here, because vitest is not there for scripts.
  const { askBroker } = await import('./broker-client.ts');
  return askBroker<RedisShare>('/redis');
}

/** A real Redis, however it can be had. Errors: one sentence that says what to install. */
export async function useRedis(): Promise<UsedRedis> {
  const given = process.env['TEST_REDIS_URL'] ?? process.env['REDIS_URL'];
  if (given === undefined || given === '') return startRedis();
  return { url: given, share: () => ({ url: given, prefix: newPrefix() }), stop: () => Promise.resolve() };
}

/** Starts a Redis of our own, without persistence. */
export async function startRedis(): Promise<OwnRedis> {
  const command = findRedis();
  const folder = runFolder('redis');
  const logFile = join(folder, 'server.log');
  const launch = (port: number): ServerProcess =>
    startServer({
      command,
      args: [
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--save',
        '',
        '--appendonly',
        'no',
        '--databases',
        String(databases),
      ],
      cwd: folder,
      logFile,
      environment: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
    });

  let port = 0;
  let server: ServerProcess | undefined;
  for (let attempt = 1; server === undefined; attempt += 1) {
    port = await freePort();
    const started = launch(port);
    if (await answers(started, port)) server = started;
    else if (attempt === 5) throw new Error(`Redis did not start:\n${tail(logFile)}`);
  }
  let next = 0;
  return {
    port,
    url: `redis://127.0.0.1:${port}/0`,
    share() {
      next = (next + 1) % databases;
      return { url: `redis://127.0.0.1:${port}/${next}`, prefix: newPrefix() };
    },
    async kill() {
      await server?.end('SIGKILL');
    },
    async restart() {
      server = launch(port);
      if (!(await answers(server, port))) throw new Error(`Redis did not come back:\n${tail(logFile)}`);
    },
    async stop() {
      await server?.end('SIGTERM');
      removeFolder(folder);
    },
  };
}

function newPrefix(): string {
  return `test:${randomBytes(6).toString('hex')}:`;
}

function findRedis(): string {
  const found = onPath('redis-server') ?? (install() ? onPath('redis-server') : undefined);
  if (found === undefined) throw new Error('These tests need Redis: install the package "redis-server", or set TEST_REDIS_URL.');
  return found;
}

function onPath(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/bin', '/usr/bin'];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/** Installs the distribution's package. Debian starts a service right after installing it; a policy file holds that back. */
function install(): boolean {
  const apt = onPath('apt-get');
  if (process.getuid?.() !== 0 || apt === undefined) return false;
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const run = (...args: string[]): boolean =>
    spawnSync(apt, ['-qq', '-o', 'DPkg::Lock::Timeout=120', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'inherit'],
    }).status === 0;
  try {
    return run('install', '-y', 'redis-server') || (run('update') && run('install', '-y', 'redis-server'));
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

/** Waits until the server answers PING (true), or has ended without doing so (false). */
async function answers(server: ServerProcess, port: number): Promise<boolean> {
  for (let tries = 0; tries < 200 && server.running; tries += 1) {
    if (await pings(port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await server.end('SIGKILL');
  return false;
}

function pings(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.setTimeout(2_000, () => socket.destroy());
    socket.once('data', (bytes) => {
      resolve(bytes.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
