/** HAProxy, some nodes, Postgres, Redis and the wallet sandbox on loopback, each a process of its own; nodes end and come back on their ports. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type Balancer, startBalancer } from '../../../scripts/lib/balancer.ts';
import { freePort, startTmcp } from '../../../scripts/lib/server-process.ts';
import { slotOf } from '../../../src/actors/runtime/slots.ts';
import { runFolder, type ServerProcess, startServer, tail } from '../../support/child.ts';
import { type OwnPostgres, startPostgres } from '../../support/postgres.ts';
import { lastingPort } from '../../support/ports.ts';
import { type OwnRedis, startRedis } from '../../support/redis.ts';
import { pause, until } from './figures.ts';

const program = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));

export interface StackOptions {
  readonly nodes: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Words before a node's command: `['taskset', '-c', '0']` binds the nodes to a core. */
  readonly before?: readonly string[];
}

export class StackNode {
  readonly name: string;
  readonly port: number;
  readonly logFile: string;
  readonly #before: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #process: ServerProcess | undefined;

  constructor(name: string, port: number, folder: string, before: readonly string[], env: Readonly<Record<string, string>>) {
    this.name = name;
    this.port = port;
    this.logFile = join(folder, `${name}.log`);
    this.#before = before;
    this.#env = env;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  /** Starts it and waits until it is ready. Errors: it ends, or is not within 60 s. */
  async start(): Promise<void> {
    const [command = '', ...args] = [...this.#before, process.execPath, program, 'dev'];
    const environment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...this.#env };
    this.#process = startServer({ command, args, cwd: process.cwd(), logFile: this.logFile, environment });
    const giveUpAt = performance.now() + 60_000;
    while (!(await this.#ready())) {
      if (!this.#process.running || performance.now() > giveUpAt) throw new Error(`${this.name} did not come up:\n${tail(this.logFile)}`);
      await pause(25);
    }
  }

  /** SIGTERM; gives how long it took to end, ms. Errors: it did not end with 0 within `withinMs`. */
  async end(withinMs: number): Promise<number> {
    const began = performance.now();
    const running = this.#process;
    if (running === undefined) return 0;
    await running.end('SIGTERM', withinMs);
    const took = performance.now() - began;
    if (running.exitCode !== 0)
      throw new Error(`${this.name} ended with ${running.exitCode} after ${Math.round(took)} ms:\n${tail(this.logFile)}`);
    return took;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process?.end('SIGKILL');
  }

  /** Lines of its log that hold `text`. */
  logged(text: string): string[] {
    if (!existsSync(this.logFile)) return [];
    return readFileSync(this.logFile, 'utf8')
      .split('\n')
      .filter((line) => line.includes(text));
  }

  #ready(): Promise<boolean> {
    return fetch(`${this.origin}/readyz`, { signal: AbortSignal.timeout(1_500) }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.ok;
      },
      () => false,
    );
  }
}

export interface Stack {
  readonly nodes: readonly StackNode[];
  readonly origin: string;
  readonly walletUrl: string;
  readonly balancer: Balancer;
  readonly postgres: OwnPostgres;
  readonly redis: OwnRedis;
  /** The name of the node that owns each user's actors; undefined where nobody does. */
  ownersOf(userIds: readonly string[]): Promise<readonly (string | undefined)[]>;
  /** Resolves when each node has its share of the slots. */
  shared(): Promise<void>;
  /** Resolves when the balancer sends live sockets to a node. */
  inUse(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it all. Errors: something of it is not installed or does not start. */
export async function startStack({ nodes: count, env = {}, before = [] }: StackOptions): Promise<Stack> {
  const folder = runFolder('cluster');
  const postgres = await startPostgres();
  const redis = await startRedis();
  const walletToken = randomUUID();
  const walletPort = await freePort();
  const walletUrl = `http://127.0.0.1:${walletPort}`;
  const walletData = join(folder, 'wallet');
  mkdirSync(walletData);
  const wallet = await startTmcp(
    ['wallet-sandbox', '--port', String(walletPort), '--data-dir', walletData, '--token', walletToken],
    {},
    `${walletUrl}/healthz`,
  );
  const publicPort = await lastingPort();
  const nodes: StackNode[] = [];
  for (let number = 1; number <= count; number++) {
    const name = `n${number}`;
    const port = await lastingPort();
    nodes.push(
      new StackNode(name, port, folder, before, {
        TMCP_PORT: String(port),
        TMCP_PUBLIC_URL: `http://127.0.0.1:${publicPort}`,
        TMCP_TRUST_PROXY: '1',
        TMCP_METRICS_PORT: '0',
        TMCP_DATA_DIR: join(folder, name),
        TMCP_RATE_LIMITS: 'relaxed',
        DATABASE_URL: postgres.url,
        REDIS_URL: redis.url,
        TMCP_WALLET_URL: walletUrl,
        TMCP_WALLET_TOKEN: walletToken,
        TMCP_CLUSTER_PORT: '0',
        TMCP_NODE_NAME: name,
        ...env,
      }),
    );
  }
  // One after the other: the first makes the tables and draws the keys.
  for (const node of nodes) await node.start();
  const balancer = await startBalancer('haproxy', { nodes, port: publicPort });
  const db = new pg.Pool({ connectionString: postgres.url, max: 1 });
  db.on('error', () => undefined);
  return {
    nodes,
    origin: balancer.origin,
    walletUrl,
    balancer,
    postgres,
    redis,
    async ownersOf(userIds) {
      const { rows } = await db.query<{ slot: number; name: string }>('select slot, n.name from slots join nodes n on n.boot_id = owner');
      const names = new Map(rows.map(({ slot, name }) => [slot, name]));
      return userIds.map((userId) => names.get(slotOf(`user:${userId}`)));
    },
    async shared() {
      await until('each node has its share of the slots', 120_000, async () => {
        const { rows } = await db.query<{ slots: number }>(
          'select count(*)::int as slots from slots join nodes n on n.boot_id = owner group by owner',
        );
        return rows.length === count && rows.every(({ slots }) => slots > 512 / count) ? true : undefined;
      });
    },
    async inUse(name) {
      await until(`the balancer uses ${name}`, 30_000, async () => ((await balancer.states())[name]?.startsWith('UP') ? true : undefined));
    },
    async stop() {
      await balancer.stop();
      for (const node of nodes) await node.kill();
      await wallet.kill('SIGTERM');
      await db.end();
      await redis.stop();
      await postgres.stop();
    },
  };
}
