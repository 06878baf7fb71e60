/** `tmcp drain`: asks a node, through the database, to do what SIGTERM does, and waits until it has left. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterNode } from '../actors/ports.ts';
import { type ClusterStore, createClusterStore } from '../persistence/stores/cluster-store.ts';
import { type ClusterConfig, type Print, print, withCluster } from './cluster-database.ts';
import { reasonOf, StartError } from './explain.ts';

export interface DrainOptions {
  /** The node's name; with `self` it is TMCP_NODE_NAME's. */
  readonly node?: string | undefined;
  readonly self?: boolean;
  /** Seconds until the command gives up; the node drains on. */
  readonly wait: number;
}

const lookEveryMs = 250;

/** 0: the node has left. 1: not in time, or it went without leaving. Errors: `StartError` when there is no such node. */
export async function runDrain(config: ClusterConfig, options: DrainOptions, out: Print = print): Promise<number> {
  const name = nameOf(config, options);
  return withCluster(config, async (database) => {
    const store = createClusterStore(database);
    const asked = await ask(store, name);
    out(`${name} is asked to drain.\n`);
    const giveUpAt = performance.now() + options.wait * 1_000;
    let last = asked.map(stateOf).join(', ');
    for (;;) {
      try {
        const there = (await store.nodes()).filter(({ bootId }) => asked.some((node) => node.bootId === bootId));
        if (there.length === 0) {
          out(`${name} has left.\n`);
          return 0;
        }
        if (there.every(({ leaseLeftMs }) => leaseLeftMs <= 0)) {
          out(`${name} is gone without leaving: it was killed, or lost the database. Others take its slots over.\n`);
          return 1;
        }
        last = there.map(stateOf).join(', ');
      } catch (error) {
        last = `the database does not answer: ${reasonOf(error)}`;
      }
      const leftMs = giveUpAt - performance.now();
      if (leftMs <= 0) break;
      await sleep(Math.min(lookEveryMs, leftMs));
    }
    out(`${name} has not left within ${options.wait} s (${last}); it goes on draining.\n`);
    return 1;
  });
}

/** The nodes that were asked: one, unless it is gone by now. */
async function ask(store: ClusterStore, name: string): Promise<ClusterNode[]> {
  if (!(await store.requestDrain(name))) {
    const names = (await store.nodes()).filter(({ leaseLeftMs }) => leaseLeftMs > 0).map((node) => node.name);
    throw new StartError(`No node ${name} has a lease. ${names.length === 0 ? 'No node has.' : `Nodes: ${names.join(', ')}.`}`);
  }
  return (await store.nodes()).filter((node) => node.name === name && node.drainRequested);
}

function nameOf(config: ClusterConfig, { node, self }: DrainOptions): string {
  if ((node === undefined) !== (self === true)) throw new StartError('Name one node, or say --self: `tmcp nodes` lists them.', 2);
  if (node !== undefined) return node;
  if (config.nodeName === undefined)
    throw new StartError('--self needs TMCP_NODE_NAME, the name that this node was started with: without it a node draws one.', 2);
  return config.nodeName;
}

function stateOf({ state }: ClusterNode): string {
  return state === 'draining' ? 'it drains' : 'it has not begun';
}
