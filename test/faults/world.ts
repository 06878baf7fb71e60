/** What the faults are done to: Postgres, Redis, wallet sandbox, HAProxy and the nodes, all real processes, and ways to break each. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Balancer, findBalancer, startBalancer } from '../../scripts/lib/balancer.ts';
import { freePort, startTmcp } from '../../scripts/lib/server-process.ts';
import { runFolder, type ServerProcess, startServer, tail } from '../support/child.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type OwnPostgres, startPostgres } from '../support/postgres.ts';
import { type OwnRedis, startRedis } from '../support/redis.ts';
import { addNodeNet, type NodeNet } from './network.ts';
import { pause } from './time.ts';

const program = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const nodePort = 8080;
const peerPort = 7600;
/** The library that moves one process's wall clock; undefined where it is not installed. */
export const fakeTime = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1',
].find((path) => existsSync(path));

export class WorldNode {
  readonly name: string;
  readonly net: NodeNet & { readonly side: number };
  readonly logFile: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #clockFile: string;
  #process: ServerProcess | undefined;

  constructor(name: string, net: NodeNet & { readonly side: number }, folder: string, env: Readonly<Record<string, string>>) {
    this.name = name;
    this.net = net;
    this.#env = env;
    this.logFile = join(folder, `${name}.log`);
    this.#clockFile = join(folder, `${name}.clock`);
  }

  get origin(): string {
    return `http://${this.net.address}:${nodePort}`;
  }

  /** Where `/dev/…` answers. */
  get side(): string {
    return `http://${this.net.address}:${this.net.side}`;
  }

  get running(): boolean {
    return this.#process?.running ?? false;
  }

  /** Starts it. `movableClock`: its wall clock follows `setClock` from then on. Resolves when it is ready. Errors: it ends, or is not within 60 s. */
  async start(movableClock = false): Promise<void> {
    const [command = '', ...args] = [...this.net.enter, process.execPath, program, 'dev'];
    const skewed: Record<string, string> = {};
    if (movableClock) {
      if (fakeTime === undefined) throw new Error('a clock can be moved with libfaketime alone: install the package "libfaketime"');
      this.setClock(0);
      Object.assign(skewed, {
        LD_PRELOAD: fakeTime,
        FAKETIME_TIMESTAMP_FILE: this.#clockFile,
        FAKETIME_CACHE_DURATION: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      });
    }
    const environment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...this.#env, ...skewed };
    this.#process = startServer({ command, args, cwd: process.cwd(), logFile: this.logFile, environment });
    const giveUpAt = performance.now() + 60_000;
    while (!(await this.ready())) {
      if (!this.running || performance.now() > giveUpAt) throw new Error(`${this.name} did not come up:\n${tail(this.logFile, 30)}`);
      await pause(50);
    }
  }

  /** Whether a balancer would send clients here. */
  async ready(): Promise<boolean> {
    return fetch(`${this.origin}/readyz`, { signal: AbortSignal.timeout(1_500) }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.ok;
      },
      () => false,
    );
  }

  /** Shifts its wall clock by so many seconds, within about a second. */
  setClock(seconds: number): void {
    writeFileSync(this.#clockFile, `${seconds < 0 ? '' : '+'}${seconds}\n`);
  }

  freeze(): void {
    process.kill(this.#process?.pid ?? Number.NaN, 'SIGSTOP');
  }

  thaw(): void {
    if (this.running) process.kill(this.#process?.pid ?? Number.NaN, 'SIGCONT');
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#process?.end(signal, 30_000);
  }

  /** Lines of its log that hold `text`. */
  logged(text: string): string[] {
    return existsSync(this.logFile)
      ? readFileSync(this.logFile, 'utf8')
          .split('\n')
          .filter((line) => line.includes(text))
      : [];
  }
}

export interface World {
  readonly nodes: readonly WorldNode[];
  readonly postgres: OwnPostgres;
  readonly redis: OwnRedis;
  /** Between all nodes and each of the shared servers. */
  readonly postgresWay: FaultProxy;
  readonly redisWay: FaultProxy;
  readonly balancer: Balancer | undefined;
  /** What clients are told to reach: the balancer, or the first node. */
  readonly origin: string;
  readonly walletUrl: string;
  readonly folder: string;
  flushRedis(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it all. `ackBeforeCommit` plants the fault that a control run must see. */
export async function startWorld(count: number, ackBeforeCommit: boolean): Promise<World> {
  const folder = runFolder('faults');
  const postgres = await startPostgres();
  const redis = await startRedis();
  const walletPort = await freePort();
  const walletToken = randomUUID();
  const walletUrl = `http://127.0.0.1:${walletPort}`;
  const walletData = join(folder, 'wallet');
  mkdirSync(walletData);
  const wallet = await startTmcp(
    ['wallet-sandbox', '--port', String(walletPort), '--data-dir', walletData, '--token', walletToken],
    {},
    `${walletUrl}/healthz`,
  );
  const everywhere = '0.0.0.0';
  const postgresWay = await startFaultProxy({ port: postgres.port }, everywhere);
  const redisWay = await startFaultProxy({ port: redis.port }, everywhere);
  const walletWay = await startFaultProxy({ port: walletPort }, everywhere);
  const publicPort = await freePort();
  const nodes: WorldNode[] = [];
  for (let number = 1; number <= count; number++) {
    const net = await addNodeNet(number, { [walletPort]: walletWay.port }, nodePort);
    const database = new URL(postgres.url);
    database.host = `${net.hub}:${postgresWay.port}`;
    nodes.push(
      new WorldNode(`n${number}`, net, folder, {
        TMCP_HOST: everywhere,
        TMCP_PORT: String(nodePort),
        TMCP_PUBLIC_URL: `http://127.0.0.1:${publicPort}`,
        TMCP_TRUST_PROXY: '1',
        TMCP_METRICS_PORT: '0',
        TMCP_DATA_DIR: join(folder, `n${number}`),
        DATABASE_URL: database.href,
        REDIS_URL: `redis://${net.hub}:${redisWay.port}/0`,
        TMCP_WALLET_URL: walletUrl,
        TMCP_WALLET_TOKEN: walletToken,
        TMCP_RATE_LIMITS: 'relaxed',
        TMCP_LOG_LEVEL: 'info',
        TMCP_CLUSTER_PORT: String(peerPort),
        TMCP_CLUSTER_HOST: everywhere,
        TMCP_CLUSTER_ADDRESS: net.address,
        TMCP_NODE_NAME: `n${number}`,
        TMCP_IDLE_ACTOR_MS: '5000',
        TMCP_DRAIN_MS: '500',
        ...(ackBeforeCommit ? { NODE_ENV: 'test', TMCP_TEST_ACK_BEFORE_COMMIT: 'on' } : {}),
      }),
    );
  }
  // One after the other: the first makes the tables and draws the keys.
  for (const node of nodes) await node.start();
  const behind = nodes.map(({ name, net }) => ({ name, host: net.address, port: nodePort }));
  const balancer = findBalancer('haproxy') === undefined ? undefined : await startBalancer('haproxy', { nodes: behind, port: publicPort });
  return {
    nodes,
    postgres,
    redis,
    postgresWay,
    redisWay,
    balancer,
    origin: balancer?.origin ?? (nodes[0] as WorldNode).origin,
    walletUrl,
    folder,
    flushRedis: () => askRedis(redis.port, 'FLUSHALL'),
    async stop() {
      await balancer?.stop();
      for (const node of nodes) {
        node.thaw();
        await node.end('SIGKILL');
      }
      await wallet.kill('SIGTERM');
      for (const way of [postgresWay, redisWay, walletWay]) await way[Symbol.asyncDispose]();
      await redis.stop();
      await postgres.stop();
    },
  };
}

function askRedis(port: number, command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`));
    socket.once('data', (bytes) => {
      socket.destroy();
      if (bytes.toString().startsWith('+OK')) resolve();
      else reject(new Error(`Redis answered ${command} with ${bytes.toString()}`));
    });
    socket.once('error', reject);
  });
}
