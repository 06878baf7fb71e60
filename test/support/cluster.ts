/** Several nodes in this process on one Postgres and one wallet, each as `tmcp dev` starts it, joined by real links. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'undici';
import { type Client, type ClientOptions, createClient } from '../../src/client/mod.ts';
import type { SocketConstructor } from '../../src/client/socket.ts';
import { loadConfig } from '../../src/config.ts';
import { type DevServer, startDev } from '../../src/dev/start-dev.ts';
import { createLogger } from '../../src/log.ts';
import { startWalletSandbox, type WalletSandbox } from '../../src/wallet-sandbox/sandbox.ts';
import { allScopes } from './dev-app.ts';
import { freePort } from './ports.ts';
import { freshDatabase } from './postgres.ts';

export interface TestNode {
  readonly name: string;
  readonly origin: string;
  readonly dev: DevServer;
  /** Ends it as SIGTERM would. */
  stop(): Promise<void>;
}

export interface TestCluster extends AsyncDisposable {
  readonly nodes: TestNode[];
  readonly wallet: WalletSandbox;
  readonly databaseUrl: string;
  /** Starts one more node. */
  add(env?: Readonly<Record<string, string>>): Promise<TestNode>;
  token(userId: string, scopes?: readonly string[]): Promise<string>;
  /** Makes a person with a wallet and a device. */
  addUser(userId: string): Promise<void>;
  /** A connected client of a node; closed with the cluster. */
  client(node: TestNode, userId: string, options?: Partial<ClientOptions>): Promise<Client>;
  /** Resolves when `found` gives something. Errors: 20 s pass first. */
  until<T>(what: string, found: () => T | undefined | false | Promise<T | undefined | false>): Promise<T>;
  /** The node that owns a user's actors. */
  ownerOf(userId: string): TestNode;
}

const walletToken = 'wallet-token-for-the-tests';

/** Starts `count` nodes, one after the other. */
export async function startTestCluster(count: number, env: Readonly<Record<string, string>> = {}): Promise<TestCluster> {
  const databaseUrl = await freshDatabase();
  const wallet = await startWalletSandbox({ port: 0, host: '127.0.0.1', token: walletToken });
  const dataDir = mkdtempSync(join(tmpdir(), 'tmcp-cluster-'));
  const clients: Client[] = [];
  const nodes: TestNode[] = [];
  let names = 0;
  const add = async (more: Readonly<Record<string, string>> = {}): Promise<TestNode> => {
    const port = await freePort();
    const name = `n${++names}`;
    const config = loadConfig(
      {
        TMCP_PORT: String(port),
        TMCP_PUBLIC_URL: 'http://127.0.0.1:8080',
        TMCP_METRICS_PORT: '0',
        TMCP_DATA_DIR: join(dataDir, name),
        DATABASE_URL: databaseUrl,
        TMCP_WALLET_URL: wallet.url,
        TMCP_WALLET_TOKEN: walletToken,
        TMCP_WALLET_TIMEOUT_MS: '1000',
        TMCP_RATE_LIMITS: 'relaxed',
        TMCP_LOG_LEVEL: 'fatal',
        TMCP_DRAIN_MS: '500',
        TMCP_CLUSTER_PORT: '0',
        TMCP_NODE_NAME: name,
        ...env,
        ...more,
      },
      'dev',
    );
    const dev = await startDev(config, createLogger(config));
    const node: TestNode = {
      name,
      origin: `http://127.0.0.1:${port}`,
      dev,
      async stop() {
        nodes.splice(nodes.indexOf(node), 1);
        await dev.app.drain();
        await dev[Symbol.asyncDispose]();
      },
    };
    nodes.push(node);
    return node;
  };
  for (let i = 0; i < count; i++) await add();
  const cluster: TestCluster = {
    nodes,
    wallet,
    databaseUrl,
    add,
    async token(userId, scopes = allScopes) {
      const [any] = nodes;
      const response = await fetch(`${any?.origin}/dev/token`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ user_id: userId, app_id: 'ma_demo_shop', scopes }),
      });
      return ((await response.json()) as { access_token: string }).access_token;
    },
    async addUser(userId) {
      const [any] = nodes;
      const response = await fetch(`${any?.origin}/dev/users`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ user_id: userId, balance: 100 }),
      });
      if (!response.ok) throw new Error(await response.text());
    },
    async client(node, userId, options = {}) {
      const client = createClient({
        url: `${node.origin.replace('http', 'ws')}/v1/live`,
        token: () => cluster.token(userId),
        deviceId: `test-${clients.length}`,
        WebSocket: WebSocket as unknown as SocketConstructor,
        timeoutMs: 15_000,
        onError: () => {},
        ...options,
      });
      clients.push(client);
      await client.connect();
      return client;
    },
    async until(what, found) {
      const giveUpAt = performance.now() + 20_000;
      for (;;) {
        const value = await found();
        if (value !== undefined && value !== false) return value;
        if (performance.now() > giveUpAt) throw new Error(`${what}: not within 20 s`);
        await new Promise<void>((resolve) => setTimeout(resolve, 20));
      }
    },
    ownerOf(userId) {
      const owner = nodes.find(({ dev }) => dev.app.parts.nodes.describe(`user:${userId}`)?.state === 'mine');
      if (owner === undefined) throw new Error(`no node owns ${userId}`);
      return owner;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()));
      for (const { dev } of [...nodes]) await dev[Symbol.asyncDispose]();
      await wallet.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  return cluster;
}
