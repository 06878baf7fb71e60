/**
 * `cluster-hop`: what many nodes cost. Reads of 64 bytes by authenticated sessions with one node, with four nodes and every session on the
 * node that owns its user's slot, and with four nodes and every session on a node that does not; then durable writes without the fence,
 * with it, and with it in a cluster of one. Rounds alternate; the claims are ratios of CPU a message, all node processes together.
 *
 * A reader has three sessions. Where they are to be on the wrong node they are on the three others, so that no node sends enough
 * of the slot's messages for the slot to follow it. All nodes share core 0; generator and Postgres are on core 1. Four nodes have four
 * times the sockets of one: how many messages a node finds waiting when its turn comes is most of what a message costs.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack, unpack } from 'msgpackr';
import pg from 'pg';
import { startWalletSandbox } from '../../src/wallet-sandbox/sandbox.ts';
import { startPostgres } from '../../test/support/postgres.ts';
import { askOnce, openSession, post } from '../lib/live-session.ts';
import { type BenchNode, BenchNodes } from '../lib/nodes.ts';
import { median, pinSelf } from '../lib/processes.ts';
import { Asker, type RawSocket, requestFrame } from '../lib/raw-client.ts';
import type { Options } from './storage-get.ts';

/** What drives one session. */
interface Driver {
  answers: number;
  running: boolean;
  start(depth: number): void;
}

interface Variant {
  readonly name: string;
  readonly cluster: BenchNodes;
  readonly drivers: readonly Driver[];
  readonly sockets: readonly RawSocket[];
  /** Errors: sessions are no longer where the variant wants them. */
  readonly check: () => Promise<void>;
}

interface Round {
  readonly perSecond: number;
  readonly cpuUs: number;
  /** Postgres' share, µs a message. */
  readonly databaseUs: number;
}

const sessionsPerUser = 3;
const value = 'v'.repeat(64);
const read = requestFrame('tween.storage.get', pack({ key: 'bench' }));
const write = requestFrame('tween.storage.set', pack({ key: 'bench', value }));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
let fault: string | undefined;
const onFault = (why: string): void => {
  fault ??= why;
};
const isValue = (decoded: unknown): boolean => (decoded as { result?: { value?: string } }).result?.value === value;

/** Writes again and again; every answer must say that the write is durable. */
class Writer implements Driver {
  answers = 0;
  running = true;
  readonly #socket: RawSocket;

  constructor(socket: RawSocket) {
    this.#socket = socket;
    socket.onEnd = () => onFault('a socket was closed');
    socket.onFrame = (payload) => {
      const { result } = unpack(payload) as { result?: { durable?: boolean; version?: number } };
      if (result?.version === undefined || result.durable === false)
        onFault(`a wrong answer: ${JSON.stringify(unpack(payload)).slice(0, 300)}`);
      this.answers++;
      if (this.running) this.start(1);
    };
  }

  start(depth: number): void {
    for (let n = 0; n < depth; n++) this.#socket.write(write.frame);
  }
}

async function measure({ cluster, drivers, check }: Variant, postmaster: number, seconds: number, depth: number): Promise<Round> {
  for (const driver of drivers) {
    driver.running = true;
    driver.start(depth);
  }
  await pause(Math.min(1_000, seconds * 300));
  const count = (): number => drivers.reduce((sum, driver) => sum + driver.answers, 0);
  const before = { messages: count(), cpu: cluster.cpu(), database: familyCpu(postmaster), at: performance.now() };
  await pause(seconds * 1_000);
  const done = count() - before.messages;
  const us = (from: number, to: number): number => ((to - from) * 1e6) / done;
  const round = {
    perSecond: done / ((performance.now() - before.at) / 1_000),
    cpuUs: us(before.cpu, cluster.cpu()),
    databaseUs: us(before.database, familyCpu(postmaster)),
  };
  for (const driver of drivers) driver.running = false;
  await pause(100);
  if (fault !== undefined) throw new Error(fault);
  await check();
  return round;
}

/** CPU seconds of a process and its children, those that ended as well. */
function familyCpu(parent: number): number {
  const of = (path: string): number[] => (readFileSync(path, 'utf8').split(') ')[1] ?? '').split(' ').map(Number);
  let ticks = 0;
  for (const id of [parent, ...childrenOf(parent)]) {
    try {
      const fields = of(`/proc/${id}/stat`);
      ticks += (fields[11] as number) + (fields[12] as number);
      if (id === parent) ticks += (fields[13] as number) + (fields[14] as number);
    } catch {
      // Ended between the two looks: its time is its parent's now.
    }
  }
  return ticks / 100;
}

function childrenOf(parent: number): number[] {
  return readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

/** The process that all backends are children of. */
async function postmasterOf(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return Number(readFileSync(`/proc/${rows[0]?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]);
  } finally {
    await client.end();
  }
}

/** Takes the look at the slots' epochs, and the locks that make it sound, out of the commit of a database. Errors: the function has changed. */
async function removeFence(cluster: BenchNodes): Promise<void> {
  const [row] = await cluster.sql<{ text: string }>(
    "select pg_get_functiondef(oid) as text from pg_proc where proname = 'tmcp_commit' order by pronargs desc limit 1",
  );
  const without = row?.text.replace(/ {2}perform pg_advisory_xact_lock_shared\([\s\S]*?another node owns a slot[\s\S]*?end if;\n/, '');
  if (without === undefined || without === row?.text) throw new Error('the fence is not where it was in tmcp_commit');
  await cluster.sql(without);
}

interface Sessions {
  readonly each: number;
  readonly users: readonly string[];
  /** The nodes that a user's sessions are opened on. */
  readonly place: (owner: BenchNode, nodes: readonly BenchNode[], session: number) => BenchNode;
}

async function openSockets(cluster: BenchNodes, { users, place, each }: Sessions): Promise<RawSocket[]> {
  const [first] = cluster.nodes as [BenchNode];
  const owners = await cluster.ownersOf(users);
  const sockets: RawSocket[] = [];
  for (const [index, user_id] of users.entries()) {
    const owner = owners[index] as BenchNode;
    const scopes = ['storage:read', 'storage:write'];
    for (let session = 0; session < each; session++) {
      const token = await post<{ access_token: string }>(`http://127.0.0.1:${first.port}`, '/dev/token', {
        user_id,
        app_id: 'ma_demo_shop',
        scopes,
      });
      const socket = await openSession(place(owner, cluster.nodes, session).port, token.access_token);
      if (session === 0) await askOnce(socket, 'tween.storage.set', { key: 'bench', value });
      sockets.push(socket);
    }
  }
  return sockets;
}

/** Whether the users' slots are still where they were. */
async function watchOwners(cluster: BenchNodes, users: readonly string[]): Promise<() => Promise<void>> {
  const owners = await cluster.ownersOf(users);
  return async () => {
    const now = await cluster.ownersOf(users);
    const moved = now.filter((node, index) => node !== owners[index]).length;
    if (moved > 0) throw new Error(`the slots of ${moved} users moved during a round`);
  };
}

const onOwner: Sessions['place'] = (owner) => owner;
const elsewhere: Sessions['place'] = (owner, nodes, session) =>
  nodes.filter((node) => node !== owner)[session % (nodes.length - 1)] as BenchNode;

export async function run({ seconds, rounds, sockets, depth }: Options): Promise<{ figures: unknown; ratios: Record<string, number> }> {
  pinSelf(1);
  const dataDir = mkdtempSync(join(tmpdir(), 'tmcp-bench-'));
  const postgres = await startPostgres();
  const postmaster = await postmasterOf(postgres.url);
  execFileSync('taskset', ['-apc', '1', String(postmaster)], { stdio: 'ignore' });
  const wallet = await startWalletSandbox({ port: 0, host: '127.0.0.1', token: 'wallet-token-of-the-bench' });
  const clusters: BenchNodes[] = [];
  const start = async (name: string, clustered: number): Promise<BenchNodes> => {
    const cluster = await BenchNodes.start({
      core: 0,
      databaseUrl: await postgres.createDatabase(),
      dataDir: join(dataDir, name),
      clustered,
      env: { TMCP_WALLET_URL: wallet.url, TMCP_WALLET_TOKEN: 'wallet-token-of-the-bench' },
    });
    clusters.push(cluster);
    return cluster;
  };
  const seed = async (cluster: BenchNodes, name: string, count: number): Promise<string[]> => {
    const users = Array.from({ length: count }, (_, index) => `@${name}-${index}:tween.example`);
    for (const user_id of users) await post(`http://127.0.0.1:${cluster.nodes[0]?.port}`, '/dev/users', { user_id });
    return users;
  };
  try {
    const one = await start('one', 1);
    const four = await start('four', 4);
    const readers = async (name: string, cluster: BenchNodes, place: Sessions['place']): Promise<Variant> => {
      const count = Math.ceil((sockets * cluster.nodes.length) / sessionsPerUser);
      const users = await seed(cluster, name.replaceAll(/[^a-z0-9]+/g, '-'), count);
      const opened = await openSockets(cluster, { users, place, each: sessionsPerUser });
      const drivers = opened.map((socket) => new Asker(socket, read, isValue, onFault));
      return { name, cluster, drivers, sockets: opened, check: await watchOwners(cluster, users) };
    };
    const reads = [
      await readers('1 node', one, onOwner),
      await readers('4 nodes, affinity', four, onOwner),
      await readers('4 nodes, wrong node', four, elsewhere),
    ];
    const readRounds = await alternate(reads, postmaster, { rounds, seconds, depth });
    const idle = { one: await idleCost(one, seconds), four: await idleCost(four, seconds) };
    for (const { sockets: opened } of reads) for (const socket of opened) socket.end();
    await Promise.all(clusters.splice(0).map((cluster) => cluster.stop()));

    const writers = async (name: string, cluster: BenchNodes): Promise<Variant> => {
      const users = await seed(cluster, 'writer', sockets);
      const opened = await openSockets(cluster, { users, place: onOwner, each: 1 });
      return { name, cluster, drivers: opened.map((socket) => new Writer(socket)), sockets: opened, check: async () => {} };
    };
    const bare = await start('bare', 0);
    await removeFence(bare);
    const writes = [
      await writers('alone, no fence', bare),
      await writers('alone', await start('alone', 0)),
      await writers('cluster of one', await start('single', 1)),
    ];
    const writeRounds = await alternate(writes, postmaster, { rounds, seconds, depth });
    for (const { sockets: opened } of writes) for (const socket of opened) socket.end();
    return report({ reads: readRounds, writes: writeRounds, idle, seconds, rounds, sockets, depth });
  } finally {
    await Promise.all(clusters.map((cluster) => cluster.stop()));
    await wallet.close();
    await postgres.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

type Rounds = readonly { readonly name: string; readonly rounds: readonly Round[] }[];

async function alternate(
  variants: readonly Variant[],
  postmaster: number,
  { rounds, seconds, depth }: Pick<Options, 'rounds' | 'seconds' | 'depth'>,
): Promise<Rounds> {
  const done = variants.map(({ name }) => ({ name, rounds: [] as Round[] }));
  // Not counted: the compiler needs some thousand messages of each way before it has seen enough.
  for (const variant of variants) await measure(variant, postmaster, Math.max(4, seconds), depth);
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another one: whoever comes after a heavy neighbour is not always the same.
    for (let place = 0; place < variants.length; place++) {
      const index = (place + round) % variants.length;
      done[index]?.rounds.push(await measure(variants[index] as Variant, postmaster, seconds, depth));
    }
  }
  return done;
}

/** CPU ms a second of all nodes while nobody asks. */
async function idleCost(cluster: BenchNodes, seconds: number): Promise<number> {
  const before = cluster.cpu();
  await pause(seconds * 1_000);
  return ((cluster.cpu() - before) * 1_000) / seconds;
}

interface Report extends Options {
  readonly reads: Rounds;
  readonly writes: Rounds;
  /** CPU ms a second of nodes that nobody asks. */
  readonly idle: { readonly one: number; readonly four: number };
}

function report({ reads, writes, idle, seconds, rounds, sockets, depth }: Report): { figures: unknown; ratios: Record<string, number> } {
  const figure = (list: readonly Round[], key: keyof Round): number => median(list.map((round) => round[key]));
  console.table(
    [...reads, ...writes].map(({ name, rounds: list }) => ({
      variant: name,
      'messages/s': Math.round(figure(list, 'perSecond')),
      'CPU µs a message, nodes': Number(figure(list, 'cpuUs').toFixed(2)),
      'and Postgres': Number(figure(list, 'databaseUs').toFixed(2)),
    })),
  );
  const ratio = (of: Rounds, to: number, from: number, key: keyof Round): { median: number; text: string } => {
    const base = (of[from] as Rounds[number]).rounds;
    const list = (of[to] as Rounds[number]).rounds.map((round, index) => round[key] / (base[index] as Round)[key]);
    return {
      median: median(list),
      text: `${median(list).toFixed(2)} (${Math.min(...list).toFixed(2)} to ${Math.max(...list).toFixed(2)})`,
    };
  };
  // What nodes cost that nobody asks is paid once a node and not once a message: with the same load on fewer cores it weighs more.
  const net = (place: number): Rounds[number] => {
    const { name, rounds: list } = reads[place] as Rounds[number];
    const idleMs = place === 0 ? idle.one : idle.four;
    return { name, rounds: list.map((round) => ({ ...round, cpuUs: round.cpuUs - (idleMs * 1_000) / round.perSecond })) };
  };
  const nets = [0, 1, 2].map(net);
  const lines: readonly (readonly [string, string, { median: number; text: string }])[] = [
    ['cpu_4_nodes_vs_1', 'CPU a read, 4 nodes with affinity against 1', ratio(reads, 1, 0, 'cpuUs')],
    ['cpu_wrong_node_vs_1', 'CPU a read, all on the wrong node against 1', ratio(reads, 2, 0, 'cpuUs')],
    ['cpu_hop_vs_affinity', 'CPU a read, all on the wrong node against affinity', ratio(reads, 2, 1, 'cpuUs')],
    ['cpu_4_nodes_vs_1_net', 'the same, without idle cost, 4 nodes with affinity against 1', ratio(nets, 1, 0, 'cpuUs')],
    ['cpu_wrong_node_vs_1_net', 'the same, without idle cost, all on the wrong node against 1', ratio(nets, 2, 0, 'cpuUs')],
    ['write_rate_fence_vs_none', 'durable writes a second, fence against none', ratio(writes, 1, 0, 'perSecond')],
    ['write_cpu_fence_vs_none', 'CPU of node a durable write, fence against none', ratio(writes, 1, 0, 'cpuUs')],
    ['write_database_cpu_fence_vs_none', 'CPU of Postgres a durable write, fence against none', ratio(writes, 1, 0, 'databaseUs')],
    ['write_rate_cluster_vs_alone', 'durable writes a second, cluster of one against alone', ratio(writes, 2, 1, 'perSecond')],
    ['write_cpu_cluster_vs_alone', 'CPU of node a durable write, cluster of one against alone', ratio(writes, 2, 1, 'cpuUs')],
  ];
  for (const [, text, { text: figures }] of lines) console.log(`${text}: median ${figures}`);
  console.log(`idle, CPU ms a second: one node ${idle.one.toFixed(1)}, four ${idle.four.toFixed(1)}; it is in the figures above`);
  console.log(`${rounds} rounds of ${seconds} s, ${sockets} sockets a node, ${depth} in flight each`);
  return {
    figures: { reads, writes, idleMsPerSecond: idle },
    ratios: Object.fromEntries(lines.map(([name, , { median: m }]) => [name, m])),
  };
}
