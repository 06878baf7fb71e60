/**
 * `npm run cluster:rolling [-- --restarts 20 --nodes 4 --redis on|gone]`: nodes are restarted one after the other (SIGTERM, exit 0, start, ready, in use)
 * behind HAProxy while people with the SDK write, push and pay. Claims: no operation is rejected to its caller, nothing that was answered is
 * lost, a session is gone for 2 s at most in 99 of 100 cases, and each node ends within its bound.
 */
import { parseArgs } from 'node:util';
import type { ClusterNode } from '../../scripts/lib/cluster.ts';
import { pause, spread } from './lib/figures.ts';
import { run, tell } from './lib/run.ts';
import { endNode, startStack } from './lib/stack.ts';
import { People } from './lib/users.ts';

const { values } = parseArgs({
  options: {
    restarts: { type: 'string', default: '20' },
    nodes: { type: 'string', default: '4' },
    writers: { type: 'string', default: '40' },
    pushers: { type: 'string', default: '20' },
    payers: { type: 'string', default: '20' },
    every: { type: 'string', default: '250' },
    /** `gone`: the nodes are told of a Redis that is never there. */
    redis: { type: 'string', default: 'on' },
  },
});
const restarts = Number(values.restarts);
/** A drain in the default configuration: 10 s for sessions and 10 s for the rest. */
const exitBoundMs = 20_000;
const gapBoundMs = 2_000;

await run(async () => {
  const noRedis = { redis: false, env: { REDIS_URL: 'redis://127.0.0.1:1/0' } };
  const stack = await startStack({ nodes: Number(values.nodes), ...(values.redis === 'gone' ? noRedis : {}) });
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
    const exits: number[] = [];
    const starts: number[] = [];
    for (let restart = 0; restart < restarts; restart++) {
      const node = stack.nodes[restart % stack.nodes.length] as ClusterNode;
      const sessions = people.all.filter((person) => person.node === node.name).length;
      const before = { gaps: people.gaps.length, rejections: people.rejections.length };
      exits.push(await endNode(node));
      const began = performance.now();
      await node.start();
      starts.push(performance.now() - began);
      await stack.inUse(node.name);
      await pause(1_000);
      const { p50, max, count } = spread(people.gaps.slice(before.gaps));
      tell(
        `restart ${restart + 1}: ${node.name} with ${sessions} sessions ended in ${Math.round(exits.at(-1) ?? 0)} ms; ${count} gaps, p50 ${p50} ms, longest ${max} ms; ${people.rejections.length - before.rejections} rejected`,
      );
    }
    await pause(1_000);
    await people.stop();
    const audit = await people.audit();
    await people.close();
    for (const { at, method, why } of people.rejections.slice(0, 20)) tell(`rejected at ${Math.round(at)} ms: ${method}: ${why}`);
    const gap = spread(people.gaps);
    const exit = spread(exits);
    const figures = {
      restarts,
      nodes: stack.nodes.length,
      people: people.all.length,
      operations: people.answered,
      rejected: people.rejections.length,
      gap_ms: gap,
      wait_ms: spread(people.waits),
      resumed: people.resumes,
      not_resumed: people.fresh,
      exit_ms: exit,
      start_ms: spread(starts),
      ...audit,
    };
    const broken = [
      people.rejections.length > 0 && `${people.rejections.length} operations were rejected`,
      gap.p99 > gapBoundMs && `the gap's p99 is ${gap.p99} ms`,
      exit.max > exitBoundMs && `a node took ${exit.max} ms to end`,
      audit.lost_writes > 0 && `${audit.lost_writes} writes are lost`,
      audit.lost_payments + audit.unsettled_payments + audit.contradictory_payments > 0 && 'payments are lost, open or contradictory',
      audit.completed_without_charge + audit.double_charges > 0 && 'money is wrong',
    ].filter((claim) => claim !== false);
    return { figures, broken };
  } finally {
    await stack.stop();
  }
});
