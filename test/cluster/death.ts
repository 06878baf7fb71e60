/**
 * `npm run cluster:death [-- --deaths 10 --nodes 4] [--control]`: a node is killed outright, again and again, behind HAProxy while people with the SDK write,
 * push and pay. Each of its people (their session was there, or their actors) at once asks for a read and a durable write; when both are
 * answered they are served elsewhere. Claims: half of them within 6 s, 99 of 100 within 10 s, and nothing that was answered is lost.
 * `--control` lets the nodes answer before they commit: that run must find lost writes, or it is blind.
 */
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { ClusterNode } from '../../scripts/lib/cluster.ts';
import { pause, spread } from './lib/figures.ts';
import { run, tell } from './lib/run.ts';
import { startStack } from './lib/stack.ts';
import { People, type Person } from './lib/users.ts';

const { values } = parseArgs({
  options: {
    deaths: { type: 'string', default: '10' },
    nodes: { type: 'string', default: '4' },
    writers: { type: 'string', default: '40' },
    pushers: { type: 'string', default: '20' },
    payers: { type: 'string', default: '20' },
    every: { type: 'string', default: '250' },
    control: { type: 'boolean', default: false },
  },
});
const halfWithinMs = 6_000;
const almostAllWithinMs = 10_000;

/** How long until a person was served after `diedAt`, ms. Errors: not within 60 s. */
async function served({ client }: Person, diedAt: number): Promise<number> {
  const key = 'served';
  const timeoutMs = 60_000;
  await client.call('tween.storage.set', { key, value: 'yes', idempotency_key: randomUUID() }, { timeoutMs });
  await client.call('tween.storage.get', { key }, { timeoutMs });
  return performance.now() - diedAt;
}

await run(async () => {
  const env = values.control ? { NODE_ENV: 'test', TMCP_TEST_ACK_BEFORE_COMMIT: 'on' } : {};
  const stack = await startStack({ nodes: Number(values.nodes), env });
  try {
    await stack.shared();
    const people = await People.gather({
      origin: stack.origin,
      walletUrl: stack.cluster.wallet.url,
      writers: Number(values.writers),
      pushers: Number(values.pushers),
      payers: Number(values.payers),
      everyMs: Number(values.every),
    });
    people.start();
    await pause(3_000);
    const waits: number[] = [];
    const unserved: string[] = [];
    let concerned = 0;
    for (let death = 1; death <= Number(values.deaths); death++) {
      const node = stack.nodes[Math.floor(Math.random() * stack.nodes.length)] as ClusterNode;
      // A random moment of the load, so that deaths fall into every step of a commit.
      await pause(500 + Math.random() * 1_500);
      const owners = await stack.ownersOf(people.all.map(({ user }) => user.user_id));
      const its = people.all.filter((person, index) => person.node === node.name || owners[index] === node.name);
      concerned += its.length;
      const before = people.rejections.length;
      const dead = node.kill();
      const diedAt = performance.now();
      const mine: number[] = [];
      await Promise.all(
        its.map((person) =>
          served(person, diedAt).then(
            (ms) => mine.push(ms),
            (error: unknown) => unserved.push(`${person.user.user_id}: ${String(error)}`),
          ),
        ),
      );
      await dead;
      waits.push(...mine);
      const { p50, max } = spread(mine);
      tell(
        `death ${death}: ${node.name} with ${its.length} people; served again p50 ${p50} ms, last ${max} ms; ${people.rejections.length - before} rejected`,
      );
      await node.start();
      await stack.inUse(node.name);
    }
    await pause(1_000);
    await people.stop();
    const audit = await people.audit();
    await people.close();
    for (const one of unserved.slice(0, 10)) tell(`not served: ${one}`);
    for (const { method, why } of people.rejections.slice(0, 10)) tell(`rejected: ${method}: ${why}`);
    const again = spread(waits);
    const figures = {
      deaths: Number(values.deaths),
      nodes: stack.nodes.length,
      people: people.all.length,
      concerned,
      served_again_ms: again,
      not_served: unserved.length,
      operations: people.answered,
      rejected: people.rejections.length,
      gap_ms: spread(people.gaps),
      resumed: people.resumes,
      not_resumed: people.fresh,
      ...audit,
      control: values.control,
    };
    if (values.control) return { figures, broken: audit.lost_writes > 0 ? [] : ['the control run lost nothing'] };
    const broken = [
      unserved.length > 0 && `${unserved.length} people were not served`,
      again.p50 > halfWithinMs && `half of the people waited ${again.p50} ms`,
      again.p99 > almostAllWithinMs && `the p99 of being served again is ${again.p99} ms`,
      audit.lost_writes > 0 && `${audit.lost_writes} writes are lost`,
      audit.lost_payments + audit.unsettled_payments + audit.contradictory_payments > 0 && 'payments are lost, open or contradictory',
      audit.completed_without_charge + audit.double_charges > 0 && 'money is wrong',
    ].filter((claim) => claim !== false);
    return { figures, broken };
  } finally {
    await stack.stop();
  }
});
