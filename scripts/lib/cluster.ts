/**
 * A whole cluster on loopback, every part a process of its own: Postgres, Redis, the wallet sandbox, N nodes of the built server, and a
 * balancer in front by its file in deploy/. For `npm run cluster`, and for tests and harnesses that break parts of it.
 * Nothing outlives the process that started it.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Fixtures, FixtureUser } from '../../src/dev/fixtures.ts';
import { removeFolder, runFolder } from '../../test/support/child.ts';
import { lastingPort } from '../../test/support/ports.ts';
import { type OwnPostgres, startPostgres } from '../../test/support/postgres.ts';
import { type OwnRedis, startRedis } from '../../test/support/redis.ts';
import { type Balancer, type BalancerKind, startBalancer } from './balancer.ts';
import { Program } from './program.ts';

type Environment = Readonly<Record<string, string>>;

export interface ClusterOptions {
  readonly nodes: number;
  /** Default true. */
  readonly redis?: boolean;
  /** Default `haproxy`. With `none` the origin is the first node's. */
  readonly balancer?: BalancerKind | 'none';
  /** Of the balancer; a free one when left out. */
  readonly port?: number;
  /** For every node. */
  readonly env?: Environment;
  /** For one node on top of that, for example to lead its database traffic through a proxy. `place` counts from 1. */
  readonly nodeEnv?: (place: number) => Environment;
  /** Server parameters of Postgres. */
  readonly postgres?: Environment;
}

/** A node. `restart` is what a rollout does to it: SIGTERM, its whole drain, and a new process of the same name on the same port. */
export class ClusterNode extends Program {
  readonly port: number;
  readonly metricsUrl: string;

  constructor(name: string, ports: { readonly port: number; readonly metrics: number }, env: Environment, folder: string) {
    const { port, metrics } = ports;
    const url = `http://127.0.0.1:${port}`;
    super({ name, args: ['dev'], env: { ...env, TMCP_PORT: `${port}`, TMCP_METRICS_PORT: `${metrics}` }, folder, probe: `${url}/readyz` });
    this.port = port;
    this.metricsUrl = `http://127.0.0.1:${metrics}/metrics`;
  }

  get liveUrl(): string {
    return `ws://127.0.0.1:${this.port}/v1/live`;
  }
}

export interface Cluster extends AsyncDisposable {
  /** Where clients go: the balancer's. */
  readonly origin: string;
  readonly liveUrl: string;
  readonly nodes: readonly ClusterNode[];
  readonly balancer: Balancer | undefined;
  readonly postgres: {
    readonly url: string;
    readonly port: number;
    stop(): Promise<void>;
    start(): Promise<void>;
    restart(): Promise<void>;
  };
  /** Undefined when the cluster runs without. */
  readonly redis: { readonly url: string; stop(): Promise<void>; start(): Promise<void>; flushall(): Promise<void> } | undefined;
  readonly wallet: Program & { readonly token: string };
  /** Logs, data and configuration of everything. */
  readonly folder: string;
  /** Starts one more node and waits until it is ready. The balancer does not know it: its file names those of the start. */
  add(env?: Environment): Promise<ClusterNode>;
  /** Resolves when all nodes are ready, and the balancer sends clients to all of them. Errors: 60 s pass first. */
  ready(): Promise<void>;
  token(userId: string, appId: string, scopes: readonly string[]): Promise<string>;
  fixtures(): Promise<Fixtures>;
  /** Makes a person with a wallet and a device, or finds the one that was made. */
  user(userId: string, balance?: number): Promise<FixtureUser>;
  stop(): Promise<void>;
}

/** Starts it. The first node comes alone, because it makes the tables and draws the keys. Errors: something did not start, and why. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const began: (() => Promise<void>)[] = [];
  try {
    return await assemble(options, began);
  } catch (error) {
    for (const stop of began.reverse()) await stop();
    throw error;
  }
}

async function assemble(options: ClusterOptions, began: (() => Promise<void>)[]): Promise<Cluster> {
  const folder = runFolder('cluster');
  began.push(async () => removeFolder(folder));
  const database = await startPostgres({ max_connections: '400', ...options.postgres });
  began.push(() => database.stop());
  const cache = options.redis === false ? undefined : await startRedis();
  if (cache !== undefined) began.push(() => cache.stop());
  const wallet = await startWallet(folder);
  began.push(() => wallet.kill());

  const kind = options.balancer ?? 'haproxy';
  const publicPort = options.port ?? (await lastingPort());
  const common: Environment = {
    DATABASE_URL: database.url,
    ...(cache === undefined ? {} : { REDIS_URL: cache.url }),
    TMCP_CLUSTER_PORT: '0',
    TMCP_CLUSTER_HOST: '127.0.0.1',
    TMCP_TRUST_PROXY: kind === 'none' ? '0' : '1',
    TMCP_WALLET_URL: wallet.url,
    TMCP_WALLET_TOKEN: wallet.token,
    TMCP_PUBLIC_URL: `http://127.0.0.1:${publicPort}`,
    TMCP_LOG_LEVEL: 'info',
    ...options.env,
  };
  const nodes: ClusterNode[] = [];
  let places = 0;
  const add = async (env: Environment = {}): Promise<ClusterNode> => {
    const place = ++places;
    const name = `n${place}`;
    // Without a balancer the first node has the public address.
    const port = kind === 'none' && place === 1 ? publicPort : await lastingPort();
    const data = join(folder, `${name}-data`);
    const own = { ...common, TMCP_NODE_NAME: name, TMCP_DATA_DIR: data, ...options.nodeEnv?.(place), ...env };
    const node = new ClusterNode(name, { port, metrics: await lastingPort() }, own, folder);
    nodes.push(node);
    began.push(() => node.kill());
    await node.start();
    return node;
  };
  await add();
  const others: Promise<ClusterNode>[] = [];
  for (let place = 2; place <= options.nodes; place++) others.push(add());
  await Promise.all(others);
  nodes.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  const balancer = kind === 'none' ? undefined : await startBalancer(kind, { nodes, port: publicPort });
  if (balancer !== undefined) began.push(() => balancer.stop());
  const cluster = joined({ nodes, balancer, database, cache, wallet, folder, publicPort, add, began });
  await cluster.ready();
  return cluster;
}

interface Parts {
  readonly nodes: ClusterNode[];
  readonly balancer: Balancer | undefined;
  readonly database: OwnPostgres;
  readonly cache: OwnRedis | undefined;
  readonly wallet: Program & { readonly token: string };
  readonly folder: string;
  readonly publicPort: number;
  readonly add: (env?: Environment) => Promise<ClusterNode>;
  readonly began: (() => Promise<void>)[];
}

function joined({ nodes, balancer, database, cache, wallet, folder, publicPort, add, began }: Parts): Cluster {
  /** Asks the doors of `tmcp dev` at whichever node answers. */
  async function ask<T>(path: string, body?: unknown): Promise<T> {
    const until = performance.now() + 30_000;
    for (let turn = 0; ; turn++) {
      const alive = nodes.filter((node) => node.running);
      const node = alive[turn % alive.length];
      const answer = node === undefined ? undefined : await post<T>(node.url + path, body);
      if (answer !== undefined) return answer.value;
      if (performance.now() > until) throw new Error(`no node answered ${path}`);
      await pause(50);
    }
  }
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    for (const one of began.reverse()) await one();
  };
  const cluster: Cluster = {
    origin: `http://127.0.0.1:${publicPort}`,
    liveUrl: `ws://127.0.0.1:${publicPort}/v1/live`,
    nodes,
    balancer,
    postgres: {
      url: database.url,
      port: database.port,
      stop: () => database.kill(),
      start: () => database.restart(),
      async restart() {
        await database.kill();
        await database.restart();
      },
    },
    redis: cache && {
      url: cache.url,
      stop: () => cache.kill(),
      start: () => cache.restart(),
      flushall: () => flushAll(cache.port),
    },
    wallet,
    folder,
    add,
    async ready() {
      await Promise.all(nodes.map((node) => node.ready()));
      if (balancer?.kind !== 'haproxy') return;
      const until = performance.now() + 60_000;
      while (Object.values(await balancer.states()).some((state) => state !== 'UP')) {
        if (performance.now() > until) throw new Error(`HAProxy does not see all nodes up: ${JSON.stringify(await balancer.states())}`);
        await pause(50);
      }
    },
    token: async (userId, appId, scopes) =>
      (await ask<{ access_token: string }>('/dev/token', { user_id: userId, app_id: appId, scopes })).access_token,
    fixtures: () => ask<Fixtures>('/dev/fixtures'),
    user: (userId, balance = 0) => ask<FixtureUser>('/dev/users', { user_id: userId, balance }),
    stop: () => (stopped ??= stop()),
    [Symbol.asyncDispose]: () => cluster.stop(),
  };
  return cluster;
}

async function startWallet(folder: string): Promise<Program & { readonly token: string }> {
  const port = await lastingPort();
  const token = randomUUID();
  const data = join(folder, 'wallet');
  mkdirSync(data);
  const wallet = new Program({
    name: 'wallet',
    args: ['wallet-sandbox', '--port', `${port}`, '--data-dir', data, '--token', token],
    env: {},
    folder,
    probe: `http://127.0.0.1:${port}/healthz`,
  });
  await wallet.start();
  return Object.assign(wallet, { token });
}

/** What was answered; undefined where it may be tried again. Errors: a refusal. */
async function post<T>(url: string, body: unknown): Promise<{ value: T } | undefined> {
  const init = body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
  const text = await response?.text().catch(() => undefined);
  if (response === undefined || text === undefined || response.status >= 500) return undefined;
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
  return { value: JSON.parse(text) as T };
}

function flushAll(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('FLUSHALL\r\n'));
    socket.once('error', reject).once('data', (bytes) => {
      socket.destroy();
      if (bytes.toString().startsWith('+OK')) resolve();
      else reject(new Error(`Redis answered ${bytes.toString()}`));
    });
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
