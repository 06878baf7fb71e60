/** `tmcp nodes`: who is in the cluster, as the database has it. */
import type { ClusterNode } from '../actors/ports.ts';
import { createClusterStore } from '../persistence/stores/cluster-store.ts';
import { databaseNow, slotCounts } from '../persistence/stores/cluster-view.ts';
import { toIso } from '../protocol/schemas.ts';
import { type ClusterConfig, type Print, print, withCluster } from './cluster-database.ts';
import { duration, table } from './text.ts';

/** Prints the nodes with a row, the gone ones too until their rows are taken away; 0. */
export async function runNodes(config: ClusterConfig, options: { readonly json?: boolean }, out: Print = print): Promise<number> {
  const { nodes, owned, now } = await withCluster(config, async (database) => ({
    nodes: await createClusterStore(database).nodes(),
    owned: await slotCounts(database),
    now: await databaseNow(database),
  }));
  const leased = new Set(nodes.filter(({ leaseLeftMs }) => leaseLeftMs > 0).map(({ bootId }) => bootId));
  let left = 0;
  for (const [owner, slots] of owned) if (owner === null || !leased.has(owner)) left += slots;
  const slotsOf = ({ bootId }: ClusterNode): number => owned.get(bootId) ?? 0;

  if (options.json === true) {
    const shown = nodes.map((node) => asJson(node, slotsOf(node), now));
    out(`${JSON.stringify({ nodes: shown, slots_without_owner: left }, null, 2)}\n`);
    return 0;
  }
  if (nodes.length === 0) {
    out('No node is a member: none runs, or those that run are alone (TMCP_CLUSTER_PORT=off).\n');
    return 0;
  }
  const rows = nodes.map((node) => {
    const { sessions, actors, loopBusy, loopDelayMs } = loadOf(node.load);
    return [
      node.name,
      shortBoot(node.bootId),
      node.version,
      stateOf(node),
      node.leaseLeftMs > 0 ? `${(node.leaseLeftMs / 1_000).toFixed(1)}s` : `over ${duration(-node.leaseLeftMs)}`,
      duration(now - node.startedAt),
      `${node.peerHost}:${node.peerPort}`,
      String(slotsOf(node)),
      ...[sessions, actors].map((count) => (count === undefined ? '-' : String(count))),
      loopDelayMs === undefined ? '-' : `${loopDelayMs}ms`,
      loopBusy === undefined ? '-' : `${Math.round(loopBusy * 100)}%`,
    ];
  });
  const heads = ['NAME', 'BOOT', 'VERSION', 'STATE', 'LEASE', 'AGE', 'ADDRESS', 'SLOTS', 'SESSIONS', 'ACTORS', 'LOOP DELAY', 'BUSY'];
  out(table(heads, rows));
  if (left > 0) out(`\n${left} slots have no owner who lives; nodes take them over by themselves, at once where a message comes.\n`);
  return 0;
}

/** As many characters of a boot id as tell it from others. */
export function shortBoot(bootId: string): string {
  return bootId.replaceAll('-', '').slice(0, 8);
}

function stateOf(node: ClusterNode): string {
  if (node.leaseLeftMs <= 0) return 'gone';
  return node.state === 'live' && node.drainRequested ? 'live, drain asked' : node.state;
}

function asJson(node: ClusterNode, slots: number, now: number): object {
  const { sessions, actors, loopBusy, loopDelayMs } = loadOf(node.load);
  return {
    name: node.name,
    boot_id: node.bootId,
    version: node.version,
    state: node.leaseLeftMs > 0 ? node.state : 'gone',
    drain_requested: node.drainRequested,
    lease_left_ms: node.leaseLeftMs,
    started_at: toIso(node.startedAt),
    age_ms: Math.max(0, now - node.startedAt),
    peer_address: `${node.peerHost}:${node.peerPort}`,
    http_url: node.httpUrl,
    slots,
    load: { sessions, actors, loop_busy: loopBusy, loop_delay_ms: loopDelayMs },
  };
}

interface ShownLoad {
  readonly sessions: number | undefined;
  readonly actors: number | undefined;
  readonly loopBusy: number | undefined;
  readonly loopDelayMs: number | undefined;
}

/** What a node tells of itself, which may be another release's. */
function loadOf(load: unknown): ShownLoad {
  const told = (load ?? {}) as Readonly<Record<string, unknown>>;
  const number = (name: string): number | undefined => (typeof told[name] === 'number' ? told[name] : undefined);
  return { sessions: number('sessions'), actors: number('actors'), loopBusy: number('loopBusy'), loopDelayMs: number('loopDelayMs') };
}
