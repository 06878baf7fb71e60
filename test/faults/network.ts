/**
 * A network of our own: the harness and the shared servers in one network namespace (the hub), each node in another, joined by virtual
 * cables. Packets are dropped in the hub by nftables, so that a cut is silent, both ways or one way, as cables are cut. All of it is gone
 * with the processes in it. Needs root, `ip`, `nft`, `unshare` and `nsenter`.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { runFolder, type ServerProcess, startServer, tail } from '../support/child.ts';

const hubVariable = 'TMCP_FAULTS_HUB';
const relay = join(import.meta.dirname, 'relay-child.ts');

/** Where a node lives. */
export interface NodeNet {
  /** The node's address. */
  readonly address: string;
  /** The hub's, as the node sees it. */
  readonly hub: string;
  /** What goes before a command so that it runs there. */
  readonly enter: readonly string[];
}

/** A cut that stands; several may. `from` and `to` are addresses; `port` is of the one that was dialled. */
export interface Cut {
  readonly from: string;
  readonly to: string;
  readonly port?: number;
  /** Drops what the dialled side sends back. */
  readonly answers?: boolean;
}

/**
 * Runs this same program again inside a new network namespace and ends with its exit code; returns at once when we are inside already.
 * Errors: a program is missing, or we are not root.
 */
export async function insideHub(): Promise<void> {
  if (process.env[hubVariable] !== undefined) {
    ip('link', 'set', 'lo', 'up');
    execFileSync('sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1']);
    nft('add table ip faults');
    for (const chain of ['input', 'forward', 'output'])
      nft(`add chain ip faults on_${chain} { type filter hook ${chain} priority 0; policy accept; }`);
    return;
  }
  const missing = ['ip', 'nft', 'unshare', 'nsenter', 'setpriv'].filter((name) => spawnSync('which', [name]).status !== 0);
  if (missing.length > 0 || process.getuid?.() !== 0)
    throw new Error(
      `partitions need root and the programs ${missing.join(', ') || 'ip, nft, unshare, nsenter'} (packages iproute2, nftables, util-linux)`,
    );
  const command = ['--pdeathsig', 'KILL', '--', 'unshare', '--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('setpriv', command, { stdio: 'inherit', env: { ...process.env, [hubVariable]: '1' } });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once('exit', (...how) => resolve(how)),
  );
  process.exit(code ?? 128 + constants.signals[signal ?? 'SIGTERM']);
}

/** Makes the namespace of node `number` (1 to 250). `carried`: loopback ports there that lead to ports of the hub; `inner`: the node's port. */
export async function addNodeNet(
  number: number,
  carried: Readonly<Record<number, number>>,
  inner: number,
): Promise<NodeNet & { side: number }> {
  const address = `10.77.${number}.2`;
  const hub = `10.77.${number}.1`;
  const side = inner + 1;
  const folder = runFolder(`net${number}`);
  const logFile = join(folder, 'relay.log');
  const routes = Object.entries(carried).map(([from, to]) => `127.0.0.1:${from}=${hub}:${to}`);
  const holder: ServerProcess = startServer({
    command: 'unshare',
    args: ['--net', process.execPath, '--import', 'tsx', relay, ...routes, `${address}:${side}=127.0.0.1:${inner}`],
    cwd: process.cwd(),
    logFile,
    // The node's address is given to it a moment later: a listener may be bound before.
    environment: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
  });
  const pid = String(holder.pid);
  const ownNet = spawnSync('readlink', ['/proc/self/ns/net']).stdout.toString();
  for (let tries = 0; spawnSync('readlink', [`/proc/${pid}/ns/net`]).stdout.toString() === ownNet; tries++) {
    if (!holder.running || tries > 200) throw new Error(`no namespace for node ${number}:\n${tail(logFile)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const enter = ['nsenter', '--target', pid, '--net'];
  ip('link', 'add', `node${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid);
  ip('addr', 'add', `${hub}/24`, 'dev', `node${number}`);
  ip('link', 'set', `node${number}`, 'up');
  for (const step of ['link set lo up', `addr add ${address}/24 dev eth0`, 'link set eth0 up', `route add default via ${hub}`])
    execFileSync('nsenter', [...enter.slice(1), 'ip', ...step.split(' ')]);
  return { address, hub, enter, side };
}

/** Drops the packets of `cuts` from now on. */
export function cut(cuts: readonly Cut[]): void {
  for (const { from, to, port, answers = false } of cuts) {
    const ports = port === undefined ? '' : answers ? ` tcp sport ${port}` : ` tcp dport ${port}`;
    for (const chain of ['input', 'forward', 'output']) nft(`add rule ip faults on_${chain} ip saddr ${from} ip daddr ${to}${ports} drop`);
  }
}

/** Lets everything through again. */
export function healNetwork(): void {
  for (const chain of ['input', 'forward', 'output']) nft(`flush chain ip faults on_${chain}`);
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function nft(rule: string): void {
  execFileSync('nft', [rule], { stdio: ['ignore', 'ignore', 'inherit'] });
}
