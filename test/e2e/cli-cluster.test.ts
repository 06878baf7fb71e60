/** What an operator sees and does from the command line while nodes run. */
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runActors } from '../../src/cli/actors.ts';
import type { ClusterConfig } from '../../src/cli/cluster-database.ts';
import { runDrain } from '../../src/cli/drain.ts';
import { StartError } from '../../src/cli/explain.ts';
import { runNodes } from '../../src/cli/nodes.ts';
import type { Database } from '../../src/persistence/database.ts';
import { migrate } from '../../src/persistence/migrate.ts';
import { openPostgres } from '../../src/persistence/postgres/open.ts';
import { createClusterStore } from '../../src/persistence/stores/cluster-store.ts';
import { slotOf } from '../../src/actors/runtime/slots.ts';
import { startWalletSandbox } from '../../src/wallet-sandbox/sandbox.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { startDevApp } from '../support/dev-app.ts';
import { freePort } from '../support/ports.ts';
import { freshDatabase } from '../support/postgres.ts';

const alice = 'user:@alice:tween.example';
const root = fileURLToPath(new URL('../../', import.meta.url));

function configOf(databaseUrl: string | undefined, more: Partial<ClusterConfig> = {}): ClusterConfig {
  return { databaseUrl, nodeName: undefined, pepper: undefined, ...more };
}

/** Runs a command and gives what it printed and its exit code. */
async function printed(run: (out: (text: string) => void) => Promise<number>): Promise<{ code: number; text: string }> {
  let text = '';
  const code = await run((more) => {
    text += more;
  });
  return { code, text };
}

async function refusal(running: Promise<unknown>): Promise<StartError> {
  const error = await running.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StartError);
  return error as StartError;
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `tmcp` as a process of its own, from its sources. */
function startProcess(args: readonly string[], env: Readonly<Record<string, string>>) {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TMCP_|DATABASE_URL|REDIS_URL)/.test(name)));
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, 'src/main.ts'), ...args], {
    cwd: root,
    env: { ...clean, ...env } as NodeJS.ProcessEnv,
  });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (chunk: string) => (text[name] += chunk));
  const ended = new Promise<Ended>((resolve) => child.once('close', (status) => resolve({ status, ...text })));
  return { child, ended };
}

describe('among three nodes', () => {
  let cluster: TestCluster;
  let config: ClusterConfig;
  beforeAll(async () => {
    cluster = await startTestCluster(3);
    config = configOf(cluster.databaseUrl);
    await cluster.until('every node has a share', () => cluster.nodes.every(({ dev }) => dev.app.parts.nodes.slots.count > 250));
  }, 60_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  it('[CLU14] tmcp nodes tells each node’s lease, slots and load', async () => {
    await cluster.until('each has told its load', async () => {
      const { text } = await printed((out) => runNodes(config, { json: true }, out));
      const { nodes } = JSON.parse(text) as { nodes: { load: { loop_busy?: number } }[] };
      return nodes.length === 3 && nodes.every(({ load }) => (load.loop_busy ?? 0) > 0);
    });
    const { code, text } = await printed((out) => runNodes(config, { json: true }, out));
    expect(code).toBe(0);
    const told = JSON.parse(text) as { nodes: Record<string, unknown>[]; slots_without_owner: number };
    expect(told.slots_without_owner).toBe(0);
    expect(told.nodes.map(({ name }) => name)).toEqual(['n1', 'n2', 'n3']);
    expect(told.nodes.reduce((sum, { slots }) => sum + (slots as number), 0)).toBe(1024);
    for (const [index, node] of told.nodes.entries()) {
      expect(node).toMatchObject({
        boot_id: cluster.nodes[index]!.dev.app.parts.nodes.bootId,
        state: 'live',
        drain_requested: false,
        peer_address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        load: { sessions: 0, actors: expect.any(Number), loop_busy: expect.any(Number), loop_delay_ms: expect.any(Number) },
      });
      expect(node['lease_left_ms']).toBeGreaterThan(0);
      expect(node['lease_left_ms']).toBeLessThanOrEqual(5_000);
    }
    const table = await printed((out) => runNodes(config, {}, out));
    const [heads, ...rows] = table.text.trimEnd().split('\n');
    expect(heads).toMatch(/^NAME +BOOT +VERSION +STATE +LEASE +AGE +ADDRESS +SLOTS +SESSIONS +ACTORS +LOOP DELAY +BUSY$/);
    expect(rows.map((row) => row.split(/ {2,}/).length)).toEqual([12, 12, 12]);
    for (const row of rows) expect(row).toMatch(/^n[123] +[0-9a-f]{8} .* live +\d\.\ds /);
  }, 30_000);

  it('[CLU14] tmcp actors asks the owner over its link, with the key that development keeps in the database', async () => {
    const client = await cluster.client(cluster.nodes[0]!, '@alice:tween.example');
    await client.call('tween.storage.set', { key: 'a', value: '1' });
    const vault = 'vault:@alice:tween.example:ma_demo_shop';
    const { code, text } = await printed((out) => runActors(config, vault, { json: true }, out));
    expect(code).toBe(0);
    const told = JSON.parse(text) as { slot: number; owner: { name: string }; memory: Record<string, unknown> };
    expect(told.slot).toBe(slotOf(vault));
    expect(told.owner.name).toBe(cluster.ownerOf('@alice:tween.example').name);
    expect(told).toMatchObject({
      stored: { seq: 1, written_at: expect.any(String) },
      memory: { known: true, in_memory: true, mailbox: 0, seq: 1, last_used_at: expect.any(String), last_flush_at: expect.any(String) },
    });
    expect((await printed((out) => runActors(config, vault, {}, out))).text).toMatch(
      /in memory {2}yes: mailbox 0, seq 1, last used .*, last flush /,
    );
    const asleep = await printed((out) => runActors(config, 'vault:@nobody:tween.example:ma_demo_shop', {}, out));
    expect(asleep.text).toMatch(/stored +nothing yet\n {2}in memory +no\n/);
  }, 30_000);

  it('the metrics of a node tell hops, moves and the age of its lease', async () => {
    const owner = cluster.ownerOf('@bob:tween.example');
    const away = cluster.nodes.find((node) => node !== owner)!;
    const client = await cluster.client(away, '@bob:tween.example');
    await client.call('tween.storage.set', { key: 'hop', value: 'v' });
    const text = await away.dev.app.parts.metrics.text();
    const value = (name: string): number => Number(new RegExp(`^${name.replaceAll(/[{}]/g, '\\$&')} (.+)$`, 'm').exec(text)?.[1] ?? 0);
    expect(value('forwards_total{outcome="sent"}')).toBeGreaterThan(0);
    expect(value('peer_round_trip_seconds_count')).toBeGreaterThan(0);
    expect(value('peer_errors_total{kind="lost"}')).toBe(0);
    expect(value('slots_owned')).toBeGreaterThan(0);
    expect(value('slot_moves_total{kind="received"}') + value('slot_moves_total{kind="claimed"}')).toBeGreaterThan(0);
    expect(value('lease_age_seconds')).toBeLessThan(5);
    expect(value('fence_refusals_total')).toBe(0);
  }, 30_000);

  it('[CLU14] tmcp actors with another key says that the owner was not reached and tells what is stored', async () => {
    const { code, text } = await printed((out) => runActors({ ...config, pepper: randomBytes(32) }, alice, {}, out));
    expect(code).toBe(0);
    expect(text).toMatch(/in memory {2}not known: n\d was not reached at 127\.0\.0\.1:\d+ .*TMCP_PEPPER/);
    expect(text).toMatch(/stored +seq \d+ under epoch \d+, written 20/);
  }, 30_000);

  it('[CLU6] tmcp drain waits until the node has left, and its slots are the others’', async () => {
    const leaving = cluster.nodes[2]!;
    const { code, text } = await printed((out) => runDrain(config, { node: 'n3', wait: 40 }, out));
    expect(text).toBe('n3 is asked to drain.\nn3 has left.\n');
    expect(code).toBe(0);
    cluster.nodes.splice(2, 1);
    const { nodes, slots_without_owner } = JSON.parse((await printed((out) => runNodes(config, { json: true }, out))).text) as {
      nodes: { name: string; slots: number }[];
      slots_without_owner: number;
    };
    expect(nodes.map(({ name }) => name)).toEqual(['n1', 'n2']);
    expect(slots_without_owner).toBe(0);
    expect(nodes.reduce((sum, { slots }) => sum + slots, 0)).toBe(1024);
    await expect(fetch(`${leaving.origin}/healthz`)).rejects.toThrow();
  }, 60_000);

  it('tmcp drain of a node that is not there says who is', async () => {
    const error = await refusal(runDrain(config, { node: 'n9', wait: 1 }));
    expect(error.message).toBe('No node n9 has a lease. Nodes: n1, n2.');
    expect(error.exitCode).toBe(1);
  });
});

describe('nodes that do not answer', () => {
  let db: Database;
  let config: ClusterConfig;
  beforeAll(async () => {
    const url = await freshDatabase();
    config = configOf(url);
    db = await openPostgres(url, { poolSize: 2 });
    await migrate(db);
    const store = createClusterStore(db, { leaseMs: 60_000 });
    for (const name of ['still', 'dead']) {
      await store.join({
        bootId: `boot-of-${name}`,
        name,
        version: '1.0.0',
        configHash: 'same',
        peerHost: '127.0.0.1',
        peerPort: 1,
        httpUrl: 'http://127.0.0.1',
      });
    }
    await store.claim('boot-of-still', [slotOf(alice)]);
    await store.claim('boot-of-dead', [slotOf('user:@bob:tween.example')]);
    await db.query("update nodes set lease_until = tmcp_now_ms() - 7000 where name = 'dead'");
  });
  afterAll(() => db?.close());

  it('[CLU14] tmcp nodes shows a node whose lease is over as gone, and counts what nobody has', async () => {
    const { text } = await printed((out) => runNodes(config, {}, out));
    expect(text).toMatch(/^dead +bootofde +1\.0\.0 +gone +over 7s .* 1 +- +- +- +-$/m);
    expect(text).toMatch(/^still +bootofst +1\.0\.0 +live +\d+\.\ds /m);
    expect(text).toContain('\n1023 slots have no owner who lives');
  });

  it('tmcp nodes of a database without a node says why', async () => {
    const url = await freshDatabase();
    const empty = await openPostgres(url, { poolSize: 1 });
    expect((await refusal(runNodes(configOf(url), {}))).message).toMatch(/tmcp migrate/);
    await migrate(empty);
    await empty.close();
    expect((await printed((out) => runNodes(configOf(url), {}, out))).text).toMatch(/^No node is a member/);
  });

  it('[CLU14] tmcp actors without the pepper says so and shows what the database knows', async () => {
    const told = await printed((out) => runActors(config, alice, {}, out));
    expect(told.code).toBe(0);
    expect(told.text).toMatch(/owner +still \(bootofst\) at 127\.0\.0\.1:1, lease \d/);
    expect(told.text).toMatch(/in memory +not known: TMCP_PEPPER is not set/);
    const gone = await printed((out) => runActors(config, 'user:@bob:tween.example', {}, out));
    expect(gone.text).toMatch(/owner +dead \(bootofde\) .*gone; the first message/);
    expect(gone.text).toMatch(/in memory +not known: there is nobody to ask/);
  });

  it('tmcp actors tells an owner who is no member, and a slot of nobody', async () => {
    const carol = 'user:@carol:tween.example';
    expect((await printed((out) => runActors(config, carol, {}, out))).text).toMatch(/owner +nobody;/);
    await db.query("update slots set owner = 'alone-boot' where slot = $1", [slotOf(carol)]);
    expect((await printed((out) => runActors(config, carol, {}, out))).text).toMatch(/owner +aloneboo, which is no member/);
    await db.query('update slots set owner = null where slot = $1', [slotOf(carol)]);
  });

  it('[CLU14] tmcp drain gives up when its time is over, with 1', async () => {
    const { code, text } = await printed((out) => runDrain(config, { node: 'still', wait: 0 }, out));
    expect(code).toBe(1);
    expect(text).toContain('still has not left within 0 s (it has not begun)');
    expect((await printed((out) => runNodes(config, {}, out))).text).toMatch(/^still .* live, drain asked /m);
  });

  it('[CLU14] tmcp drain of a node that dies on its way ends with 1', async () => {
    await db.query("update nodes set drain_requested = false where name = 'still'");
    const draining = printed((out) => runDrain(config, { node: 'still', wait: 30 }, out));
    let ended: object[] = [];
    while (ended.length === 0) {
      ended = await db.query("update nodes set lease_until = tmcp_now_ms() where name = 'still' and drain_requested returning name");
    }
    const { code, text } = await draining;
    expect(text).toContain('still is gone without leaving');
    expect(code).toBe(1);
  });

  it.each([
    ['no database', () => runNodes(configOf(undefined), {}), 'DATABASE_URL is not set'],
    ['no node to drain', () => runDrain(config, { wait: 1 }), 'Name one node'],
    ['two nodes to drain', () => runDrain(config, { node: 'a', self: true, wait: 1 }), 'Name one node'],
    ['itself without a name', () => runDrain(config, { self: true, wait: 1 }), 'TMCP_NODE_NAME'],
    ...[
      'alice',
      'user:alice',
      'user:@alice',
      'vault:@alice:tween.example',
      'vault:@alice:tween.example:shop',
      'payment:123',
      'session:x',
    ].map((address) => [`the address ${address}`, () => runActors(config, address, {}), `${address} is no address`] as const),
  ] as const)('%s is told in a sentence, with 2', async (_what, run, words) => {
    const error = await refusal(run());
    expect(error.message).toContain(words);
    expect(error.exitCode).toBe(2);
  });
});

describe('processes', () => {
  it('[CLU6] a node of tmcp serve that is asked to drain leaves and ends with 0, and so does the command', async () => {
    const wallet = await startWalletSandbox({ port: 0, host: '127.0.0.1', token: 'wallet-token-for-the-tests' });
    const port = await freePort();
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const env = {
      DATABASE_URL: await freshDatabase(),
      TMCP_HOST: '127.0.0.1',
      TMCP_PORT: String(port),
      TMCP_METRICS_PORT: '0',
      TMCP_PUBLIC_URL: `http://127.0.0.1:${port}`,
      TMCP_SIGNING_KEYS: JSON.stringify({
        keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'tmcp-test', alg: 'RS256', use: 'sig' }],
      }),
      TMCP_MASTER_KEY: `m1:${randomBytes(32).toString('base64')}`,
      TMCP_PEPPER: randomBytes(32).toString('base64'),
      TMCP_COOKIE_KEYS: randomBytes(32).toString('hex'),
      TMCP_WALLET_URL: wallet.url,
      TMCP_WALLET_TOKEN: 'wallet-token-for-the-tests',
      TMCP_CLUSTER_HOST: '127.0.0.1',
      TMCP_CLUSTER_PORT: '0',
      TMCP_NODE_NAME: 'served',
      TMCP_DRAIN_MS: '500',
      TMCP_LOG_LEVEL: 'error',
    };
    const server = startProcess(['serve'], env);
    try {
      await until(() => answers(`http://127.0.0.1:${port}/readyz`));
      await until(async () => {
        const { text } = await printed((out) => runNodes(configOf(env.DATABASE_URL), { json: true }, out));
        return (JSON.parse(text) as { slots_without_owner: number }).slots_without_owner === 0;
      });
      // With the node's own pepper, as an operator beside it has it.
      const config = configOf(env.DATABASE_URL, { pepper: Buffer.from(env.TMCP_PEPPER, 'base64') });
      expect((await printed((out) => runActors(config, alice, {}, out))).text).toMatch(/owner +served .*\n.*\n {2}in memory +no\n/);
      const drain = await startProcess(['drain', '--self'], env).ended;
      expect(drain.stdout).toBe('served is asked to drain.\nserved has left.\n');
      expect(drain.status).toBe(0);
      expect((await server.ended).status).toBe(0);
      const again = await refusal(runDrain({ ...config, nodeName: 'served' }, { self: true, wait: 1 }));
      expect([again.message, again.exitCode]).toEqual(['No node served has a lease. No node has.', 1]);
    } finally {
      server.child.kill('SIGKILL');
      await wallet.close();
    }
  }, 120_000);

  it('[CLU14] wrong words end with 2 and no stack', async () => {
    const { status, stderr } = await startProcess(['actors', 'alice'], { DATABASE_URL: 'postgres://127.0.0.1:9/none' }).ended;
    expect(stderr).toMatch(/^alice is no address of an actor\. .*\n$/);
    expect(status).toBe(2);
  });
});

it('the development door drains a node that is alone', async () => {
  const app = await startDevApp();
  try {
    const response = await fetch(`${app.origin}/dev/drain`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect([response.status, await response.json()]).toEqual([200, { draining: true }]);
    await until(async () => !(await answers(`${app.origin}/healthz`)));
  } finally {
    await app[Symbol.asyncDispose]();
  }
}, 60_000);

async function until(holds: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 40_000;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error('not within 40 s');
    await new Promise<void>((resolve) => setTimeout(resolve, 20));
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
