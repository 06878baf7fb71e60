/** The cluster of a run: `startCluster`, and what these runs ask of it besides. */
import { execFileSync } from 'node:child_process';
import pg from 'pg';
import { type Cluster, type ClusterNode, type ClusterOptions, startCluster } from '../../../scripts/lib/cluster.ts';
import { slotOf } from '../../../src/actors/runtime/slots.ts';
import { tail } from '../../support/child.ts';
import { until } from './figures.ts';

export interface Stack {
  readonly cluster: Cluster;
  readonly nodes: readonly ClusterNode[];
  readonly origin: string;
  /** The name of the node that owns each user's actors; undefined where nobody does. */
  ownersOf(userIds: readonly string[]): Promise<readonly (string | undefined)[]>;
  /** Resolves when each node has its share of the slots. */
  shared(): Promise<void>;
  /** Resolves when the balancer sends live sockets to a node. */
  inUse(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it. Errors: something of it is not installed or does not start. */
export async function startStack(options: ClusterOptions): Promise<Stack> {
  const cluster = await startCluster({ ...options, env: { TMCP_RATE_LIMITS: 'relaxed', ...options.env } });
  const db = new pg.Pool({ connectionString: cluster.postgres.url, max: 1 });
  db.on('error', () => undefined);
  return {
    cluster,
    nodes: cluster.nodes,
    origin: cluster.origin,
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
        return rows.length === options.nodes && rows.every(({ slots }) => slots > 512 / options.nodes) ? true : undefined;
      });
    },
    async inUse(name) {
      await until(`the balancer uses ${name}`, 30_000, async () =>
        (await cluster.balancer?.states())?.[name]?.startsWith('UP') === true ? true : undefined,
      );
    },
    async stop() {
      await db.end();
      await cluster.stop();
    },
  };
}

/** SIGTERM; gives how long the node took to end, ms. Errors: it did not end with 0. */
export async function endNode(node: ClusterNode): Promise<number> {
  const began = performance.now();
  await node.kill('SIGTERM');
  const took = performance.now() - began;
  if (node.exitCode !== 0) throw new Error(`${node.name} ended with ${node.exitCode} after ${Math.round(took)} ms:\n${tail(node.logFile)}`);
  return took;
}

/** Binds a process, all its threads, to a core. */
export function bindTo(core: string, pid: number): void {
  execFileSync('taskset', ['-apc', core, String(pid)], { stdio: 'ignore' });
}
