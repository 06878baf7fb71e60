/** Nodes of one cluster, or one alone, as processes on one core and one database, and who owns which slot there. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../../scripts/lib/server-process.ts';
import { slotOf } from '../../src/actors/runtime/slots.ts';
import { cpuSeconds, startPinned, stop } from './processes.ts';

export interface BenchNode {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
}

export interface NodesOptions {
  readonly core: number;
  readonly databaseUrl: string;
  readonly dataDir: string;
  /** 0: one node that is alone. */
  readonly clustered: number;
  readonly env?: Readonly<Record<string, string>>;
}

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class BenchNodes {
  readonly nodes: readonly BenchNode[];
  readonly #children: readonly ChildProcess[];
  readonly #db: pg.Pool;

  private constructor(nodes: readonly BenchNode[], children: readonly ChildProcess[], db: pg.Pool) {
    this.nodes = nodes;
    this.#children = children;
    this.#db = db;
  }

  /** Starts them one after the other; with several, waits until each has its share of the slots. */
  static async start({ core, databaseUrl, dataDir, clustered, env = {} }: NodesOptions): Promise<BenchNodes> {
    const nodes: BenchNode[] = [];
    const children: ChildProcess[] = [];
    const db = new pg.Pool({ connectionString: databaseUrl, max: 2 });
    db.on('error', () => undefined);
    const started = new BenchNodes(nodes, children, db);
    try {
      for (let index = 0; index < Math.max(1, clustered); index++) {
        const name = `n${index + 1}`;
        const port = await freePort();
        const child = startPinned(core, [main, 'dev'], {
          TMCP_PORT: String(port),
          TMCP_PUBLIC_URL: 'http://127.0.0.1:8080',
          TMCP_DATA_DIR: join(dataDir, name),
          TMCP_METRICS_PORT: '0',
          TMCP_RATE_LIMITS: 'relaxed',
          DATABASE_URL: databaseUrl,
          TMCP_CLUSTER_PORT: clustered === 0 ? 'off' : '0',
          TMCP_NODE_NAME: name,
          ...env,
        });
        child.stdout?.resume();
        children.push(child);
        nodes.push({ name, port, pid: child.pid as number });
        await answers(child, port);
      }
      if (clustered > 1) await started.#even();
      return started;
    } catch (error) {
      await started.stop();
      throw error;
    }
  }

  /** CPU seconds of all nodes together. */
  cpu(): number {
    return this.nodes.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  }

  /** The node that owns each user's actors. Errors: nobody does. */
  async ownersOf(userIds: readonly string[]): Promise<readonly BenchNode[]> {
    // One that is alone is no member.
    if (this.nodes.length === 1) return userIds.map(() => this.nodes[0] as BenchNode);
    const { rows } = await this.#db.query<{ slot: number; name: string }>(
      'select s.slot, n.name from slots s join nodes n on n.boot_id = s.owner',
    );
    const names = new Map(rows.map(({ slot, name }) => [slot, name]));
    return userIds.map((userId) => {
      const owner = this.nodes.find(({ name }) => name === names.get(slotOf(`user:${userId}`)));
      if (owner === undefined) throw new Error(`nobody owns the actors of ${userId}`);
      return owner;
    });
  }

  /** Runs a statement on their database. */
  async sql<T extends pg.QueryResultRow>(text: string): Promise<T[]> {
    return (await this.#db.query<T>(text)).rows;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map(stop));
    await this.#db.end();
  }

  /** Resolves when each has most of its share, and nothing has moved for some renewals of a lease. */
  async #even(): Promise<void> {
    const least = (1024 / this.nodes.length) * 0.6;
    let known = '';
    for (let tries = 0, still = 0; still < 20; tries++) {
      const rows = await this.sql<{ count: number; all: string }>(
        "select count(*)::int as count, string_agg(slot::text, ',' order by slot) as all from slots where owner is not null group by owner order by owner",
      );
      const now = JSON.stringify(rows);
      const even = rows.length === this.nodes.length && rows.every(({ count }) => count >= least);
      still = even && now === known ? still + 1 : 0;
      known = now;
      if (tries > 360) throw new Error(`the slots were not shared within 90 s: ${rows.map(({ count }) => count).join(', ')}`);
      await pause(250);
    }
  }
}

async function answers(child: ChildProcess, port: number): Promise<void> {
  for (let tries = 0; ; tries++) {
    if ((await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.ok === true) return;
    if (child.exitCode !== null || tries > 600) throw new Error('a node did not come up');
    await pause(50);
  }
}
