/** The command line as an operator meets it: real processes of the built server. */
import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Running, startTmcp } from '../../scripts/lib/server-process.ts';
import { freePort } from '../support/ports.ts';
import { freshDatabase, startPostgres } from '../support/postgres.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const main = join(root, 'dist/main.js');
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TMCP_|DATABASE_URL|REDIS_URL)/.test(name))) as Record<
  string,
  string
>;

/** Runs `tmcp` to its end, without standing still: sockets that the tests keep must see what happens to them. */
function tmcp(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [main, ...args], { env: { ...clean, ...env }, timeout: 60_000 });
    const text = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (chunk: string) => (text[name] += chunk));
    child.once('close', (status) => resolve({ status, ...text }));
  });
}

function serveEnv(databaseUrl: string, walletUrl: string, port: number): Record<string, string> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'tmcp-test', alg: 'RS256', use: 'sig' };
  return {
    DATABASE_URL: databaseUrl,
    TMCP_HOST: '127.0.0.1',
    TMCP_PORT: String(port),
    TMCP_METRICS_PORT: '0',
    TMCP_PUBLIC_URL: `http://127.0.0.1:${port}`,
    TMCP_SIGNING_KEYS: JSON.stringify({ keys: [jwk] }),
    TMCP_MASTER_KEY: `m1:${randomBytes(32).toString('base64')}`,
    TMCP_PEPPER: randomBytes(32).toString('base64'),
    TMCP_COOKIE_KEYS: randomBytes(32).toString('hex'),
    TMCP_WALLET_URL: walletUrl,
    TMCP_WALLET_TOKEN: 'wallet-token-for-the-tests',
    TMCP_LOG_LEVEL: 'error',
  };
}

beforeAll(() => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root });
});

describe('tmcp serve', () => {
  it('without its configuration ends with one text that names everything missing', async () => {
    const { status, stderr } = await tmcp(['serve']);
    expect(status).not.toBe(0);
    for (const name of ['DATABASE_URL', 'TMCP_SIGNING_KEYS', 'TMCP_MASTER_KEY', 'TMCP_PUBLIC_URL', 'TMCP_WALLET_URL'])
      expect(stderr).toContain(name);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('has no dev doors, answers readiness, and ends with 0 at SIGTERM', async () => {
    const walletPort = await freePort();
    const port = await freePort();
    const wallet = await startTmcp(
      ['wallet-sandbox', '--port', String(walletPort), '--token', 'wallet-token-for-the-tests'],
      {},
      `http://127.0.0.1:${walletPort}/healthz`,
    );
    let server: Running | undefined;
    try {
      server = await startTmcp(['serve'], serveEnv(await freshDatabase(), wallet.url, port), `http://127.0.0.1:${port}/readyz`);
      for (const [method, name] of [
        ['GET', 'fixtures'],
        ['POST', 'token'],
        ['POST', 'clock'],
        ['POST', 'drain'],
        ['POST', 'users'],
      ] as const) {
        const response = await fetch(`${server.url}/dev/${name}`, {
          method,
          ...(method === 'POST' ? { body: '{}', headers: { 'content-type': 'application/json' } } : {}),
        });
        expect(`${name} ${response.status}`).toBe(`${name} 404`);
      }
      expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
      await server.kill('SIGTERM');
      expect(server.child.exitCode).toBe(0);
    } finally {
      await server?.kill('SIGKILL');
      await wallet.kill('SIGTERM');
    }
  });

  it('refuses a Postgres with fsync off, unless told so by name', async () => {
    const postgres = await startPostgres({ fsync: 'off' });
    try {
      const refused = await tmcp(['serve'], serveEnv(postgres.url, 'http://127.0.0.1:9', await freePort()));
      expect(refused.status).not.toBe(0);
      expect(refused.stderr).toContain('fsync');
      const port = await freePort();
      const server = await startTmcp(
        ['serve'],
        { ...serveEnv(postgres.url, 'http://127.0.0.1:9', port), TMCP_UNSAFE_DATABASE: 'fsync=off' },
        `http://127.0.0.1:${port}/readyz`,
      );
      await server.kill('SIGKILL');
    } finally {
      await postgres.stop();
    }
  });
});

describe('tmcp doctor', () => {
  it('says what is wrong and what to do, and exits 1', async () => {
    const { status, stdout } = await tmcp(['doctor'], serveEnv('postgres://127.0.0.1:9/none', 'http://127.0.0.1:9', 8080));
    expect(status).toBe(1);
    expect(stdout).toMatch(/✗ Postgres: .*DATABASE_URL/);
    expect(stdout).toMatch(/✗ wallet: .*TMCP_WALLET_URL/);
    expect(stdout).toMatch(/✓ signing keys/);
  });
});

describe('tmcp dev', () => {
  let dataDir: string;
  let server: Running;
  let port: number;

  beforeAll(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'tmcp-cli-'));
    port = await freePort();
    server = await startTmcp(
      ['dev'],
      { TMCP_PORT: String(port), TMCP_DATA_DIR: dataDir, TMCP_METRICS_PORT: '0', TMCP_LOG_LEVEL: 'error' },
      `http://127.0.0.1:${port}/readyz`,
    );
  });

  afterAll(async () => {
    await server.kill('SIGTERM');
    rmSync(dataDir, { recursive: true, force: true });
  });

  it('prints where everything is', () => {
    const text = server.output.join('\n');
    expect(text).toContain(`ws://127.0.0.1:${port}/v1/live`);
    expect(text).toContain('not a power cut');
  });

  it('takes another metrics port when a second server has the usual one', async () => {
    const others = await Promise.all(
      [1, 2].map(async () => {
        const folder = mkdtempSync(join(tmpdir(), 'tmcp-cli-'));
        const free = await freePort();
        const other = await startTmcp(
          ['dev'],
          { TMCP_PORT: String(free), TMCP_DATA_DIR: folder, TMCP_LOG_LEVEL: 'error' },
          `http://127.0.0.1:${free}/readyz`,
        );
        return { folder, other };
      }),
    );
    const metrics = others.map(({ other }) => /http:\S+\/metrics/.exec(other.output.join('\n'))?.[0] ?? '');
    expect(new Set(metrics).size).toBe(2);
    for (const address of metrics) expect(await (await fetch(address)).text()).toContain('actor_active');
    for (const { folder, other } of others) {
      await other.kill('SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    }
    // Two servers start from nothing here, on whatever machine.
  }, 120_000);

  it('gives fixtures with everything a client needs', async () => {
    const fixtures = (await (await fetch(`${server.url}/dev/fixtures`)).json()) as {
      users: Record<string, unknown>[];
      apps: Record<string, unknown>[];
      wallet: unknown;
    };
    expect(fixtures.users).toHaveLength(3);
    for (const user of fixtures.users) {
      expect(user).toMatchObject({
        user_id: expect.any(String),
        password: expect.any(String),
        pin: expect.stringMatching(/^\d{6}$/),
        totp_secret: expect.any(String),
        wallet_id: expect.any(String),
        balance: expect.any(Number),
      });
      expect(user['device']).toMatchObject({ device_id: expect.any(String), private_key: expect.stringContaining('BEGIN PRIVATE KEY') });
    }
    expect(fixtures.apps.map((app) => app['app_id'])).toEqual(['ma_demo_shop', 'ma_demo_backend', 'ma_official_host']);
    expect(fixtures.wallet).toEqual({ url: expect.any(String), admin_url: expect.any(String) });
  });

  it('tmcp token prints as many as asked for', async () => {
    const { status, stdout } = await tmcp(
      ['token', '--user', '@load:tween.example', '--app', 'ma_demo_shop', '--scope', 'storage:read', '--count', '3', '--spread'],
      { TMCP_PORT: String(port) },
    );
    expect(status).toBe(0);
    const tokens = stdout.trim().split('\n');
    expect(tokens).toHaveLength(3);
    expect(new Set(tokens).size).toBe(3);
    for (const token of tokens) expect(token).toMatch(/^tep\./);
  });

  it('a second one on the same port says so in one sentence', async () => {
    const other = mkdtempSync(join(tmpdir(), 'tmcp-cli-'));
    const { status, stderr } = await tmcp(['dev'], { TMCP_PORT: String(port), TMCP_DATA_DIR: other, TMCP_METRICS_PORT: '0' });
    rmSync(other, { recursive: true, force: true });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/port/i);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('survives SIGKILL: the same people, keys and data at the next start', async () => {
    const before = await (await fetch(`${server.url}/dev/fixtures`)).json();
    await server.kill('SIGKILL');
    server = await startTmcp(
      ['dev'],
      { TMCP_PORT: String(port), TMCP_DATA_DIR: dataDir, TMCP_METRICS_PORT: '0', TMCP_LOG_LEVEL: 'error' },
      `http://127.0.0.1:${port}/readyz`,
    );
    const after = (await (await fetch(`${server.url}/dev/fixtures`)).json()) as { users: unknown };
    expect(after.users).toEqual((before as { users: unknown }).users);
  });
});
