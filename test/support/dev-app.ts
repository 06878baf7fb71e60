/** The whole server in this process, as `tmcp dev` starts it, on a free port, with the wallet sandbox beside it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'undici';
import { type Client, type ClientOptions, createClient } from '../../src/client/mod.ts';
import type { SocketConstructor } from '../../src/client/socket.ts';
import { loadConfig } from '../../src/config.ts';
import { type DevServer, startDev } from '../../src/dev/start-dev.ts';
import type { FixtureUser } from '../../src/dev/fixtures.ts';
import { createLogger } from '../../src/log.ts';
import { startWalletSandbox, type WalletSandbox } from '../../src/wallet-sandbox/sandbox.ts';
import { freePort } from './ports.ts';

export interface DevApp extends AsyncDisposable {
  readonly origin: string;
  readonly dev: DevServer;
  readonly wallet: WalletSandbox;
  readonly dataDir: string;
  user(name: 'alice' | 'bob' | 'carol'): FixtureUser;
  token(userId: string, scopes: readonly string[], options?: { appId?: string; expiresInS?: number }): Promise<string>;
  /** A connected client with these scopes; closed with the app. */
  client(userId: string, scopes: readonly string[], options?: Partial<ClientOptions> & { appId?: string }): Promise<Client>;
  advance(ms: number): Promise<void>;
  now(): number;
  /** Stops the server and starts it again on the same data and port. */
  restart(): Promise<void>;
}

export const allScopes = ['user:read', 'wallet:balance', 'wallet:pay', 'wallet:history', 'storage:read', 'storage:write'];
const walletToken = 'wallet-token-for-the-tests';

/** Starts it. `env` overrides variables; rate limits are relaxed unless it says otherwise. */
export async function startDevApp(env: Readonly<Record<string, string>> = {}): Promise<DevApp> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tmcp-test-'));
  const port = await freePort();
  const wallet = await startWalletSandbox({ port: 0, host: '127.0.0.1', token: walletToken });
  const config = loadConfig(
    {
      TMCP_PORT: String(port),
      TMCP_METRICS_PORT: '0',
      TMCP_DATA_DIR: dataDir,
      TMCP_WALLET_URL: wallet.url,
      TMCP_WALLET_TOKEN: walletToken,
      TMCP_WALLET_TIMEOUT_MS: '1000',
      TMCP_RATE_LIMITS: 'relaxed',
      TMCP_LOG_LEVEL: 'fatal',
      TMCP_DRAIN_MS: '500',
      ...env,
    },
    'dev',
  );
  const log = createLogger(config);
  let dev = await startDev(config, log);
  const clients: Client[] = [];
  const origin = `http://127.0.0.1:${port}`;
  const post = async <T>(path: string, body: unknown): Promise<T> => {
    const response = await fetch(origin + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  };
  const app: DevApp = {
    origin,
    get dev() {
      return dev;
    },
    wallet,
    dataDir,
    user(name) {
      const found = dev.fixtures().users.find(({ user_id }) => user_id === `@${name}:tween.example`);
      if (found === undefined) throw new Error(`no fixture ${name}`);
      return found;
    },
    async token(userId, scopes, options = {}) {
      const body = {
        user_id: userId,
        app_id: options.appId ?? 'ma_demo_shop',
        scopes,
        ...(options.expiresInS === undefined ? {} : { expires_in: options.expiresInS }),
      };
      return (await post<{ access_token: string }>('/dev/token', body)).access_token;
    },
    async client(userId, scopes, options = {}) {
      const { appId, ...rest } = options;
      const client = createClient({
        url: `${origin.replace('http', 'ws')}/v1/live`,
        token: () => app.token(userId, scopes, appId === undefined ? {} : { appId }),
        deviceId: `test-${clients.length}`,
        WebSocket: WebSocket as unknown as SocketConstructor,
        timeoutMs: 10_000,
        // Restarts are part of these tests.
        onError: () => {},
        ...rest,
      });
      clients.push(client);
      await client.connect();
      return client;
    },
    async advance(ms) {
      await post('/dev/clock', { advance_ms: ms });
    },
    now: () => dev.app.parts.clock.now(),
    async restart() {
      await dev[Symbol.asyncDispose]();
      dev = await startDev(config, log);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()));
      await dev[Symbol.asyncDispose]();
      await wallet.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  return app;
}
