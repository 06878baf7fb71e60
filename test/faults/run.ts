/** One fault with all workloads beside it: warm up, strike, heal, wait until everything answers again, and look at what is left. */
import { auditDatabase } from './audit.ts';
import type { Townhall, Way } from './device.ts';
import type { Fault } from './faults.ts';
import { pause, percentile, within } from './time.ts';
import type { Stage, Verdict, Workload } from './workload.ts';
import type { World, WorldNode } from './world.ts';

/** After healing all nodes are ready, and each device is answered, within so many ms. */
const readyWithinMs = 30_000;
const servedWithinMs = 20_000;

export interface Cell extends Verdict {
  readonly workload: string;
  readonly invariants: string;
}

export interface FaultResult {
  readonly fault: string;
  readonly says: string;
  readonly death: boolean;
  readonly lastedMs: number;
  readonly cells: readonly Cell[];
  /** Longest time without an answer of each device behind the balancer, from the strike until all were served again. */
  readonly gapMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** The same of devices that go to the nodes themselves and have only their own patience with one that says nothing; p99. */
  readonly directGapMs: number;
  /** From healing until every node was ready and every device answered. */
  readonly recoveredMs: number;
  readonly violations: number;
}

export interface RunOptions {
  readonly world: World;
  readonly town: Townhall;
  readonly query: Stage['query'];
  readonly quick: boolean;
  readonly workloads: (stage: Stage) => Promise<Workload[]>;
  readonly say: (line: string) => void;
}

/** Runs it. Errors: a fault of the harness, or an answer that no fault explains. */
export async function runFault(fault: Fault, options: RunOptions): Promise<FaultResult> {
  const { world, town, query, quick, say } = options;
  const victim = world.nodes[world.nodes.length - 1] as WorldNode;
  await fault.prepare?.(world, victim);
  // A node that owns nothing would be missed by nobody.
  const share = 1_024 / world.nodes.length / 2;
  const owns = 'select count(*)::int owned from slots s join nodes n on n.boot_id = s.owner where n.name = $1';
  const hasShare = async (): Promise<boolean> => ((await query<{ owned: number }>(owns, [victim.name]))[0]?.owned ?? 0) >= share;
  if (!(await within(40_000, hasShare))) throw new Error(`${victim.name} did not get its share of the slots`);
  const prefix = `${fault.name}-${Date.now().toString(36)}-`;
  const workloads = await options.workloads({ world, town, victim, prefix, query });
  const devices = workloads.flatMap((workload) => workload.devices);
  for (const workload of workloads) workload.start();
  await pause(quick ? 2_000 : 5_000);

  const struckAt = performance.now();
  const heal = await fault.strike(world, victim);
  await pause(fault.lastsMs[quick ? 1 : 0]);
  const healedAt = performance.now();
  await heal();
  const ready = await within(readyWithinMs, async () => (await Promise.all(world.nodes.map((node) => node.ready()))).every(Boolean));
  const from = performance.now();
  const unserved = (): typeof devices => devices.filter(({ servedAt }) => servedAt.length > 0 && (servedAt.at(-1) as number) < from);
  const served = await within(servedWithinMs, () => unserved().length === 0);
  const recoveredMs = Math.round(performance.now() - healedAt);
  const missing = unserved().map(({ id, client }) => `${id} (${client.state}, ${client.session?.node})`);
  const until = performance.now();
  await pause(quick ? 1_500 : 4_000);

  await Promise.all(workloads.map((workload) => workload.stop()));
  const cells: Cell[] = [];
  for (const workload of workloads) {
    const verdict = await workload.verify();
    cells.push({ workload: workload.name, invariants: workload.invariants, ...verdict });
  }
  const audit = await auditDatabase(query);
  cells.push({ workload: 'database', invariants: 'I3 I22', violations: audit.violations, done: {}, notes: audit.notes });
  cells.push({
    workload: 'liveness',
    invariants: 'all answer again',
    violations: { nodes_not_ready: ready ? 0 : 1, devices_not_served: served ? 0 : missing.length },
    done: { devices: devices.length },
    notes: missing.slice(0, 5),
  });
  await Promise.all(devices.map((device) => device.close()));
  await fault.afterwards?.(world, victim);

  const gapsOf = (way: Way): number[] =>
    devices
      .filter((device) => device.way === way && device.servedAt.length > 10)
      .map((device) => Math.round(device.longestGap(struckAt, until)));
  const gaps = gapsOf('balanced');
  const violations = cells.reduce((sum, cell) => sum + Object.values(cell.violations).reduce((all, count) => all + count, 0), 0);
  const result: FaultResult = {
    fault: fault.name,
    says: fault.says,
    death: fault.death === true,
    lastedMs: Math.round(healedAt - struckAt),
    cells,
    gapMs: { p50: percentile(gaps, 0.5), p99: percentile(gaps, 0.99), max: Math.max(0, ...gaps) },
    directGapMs: percentile(gapsOf('direct'), 0.99),
    recoveredMs,
    violations,
  };
  say(
    `${fault.name}: ${violations} violations, longest gap p50 ${result.gapMs.p50} ms p99 ${result.gapMs.p99} ms (without balancer ${result.directGapMs} ms), recovered ${recoveredMs} ms`,
  );
  for (const { workload, violations: counts, done, notes } of cells) {
    say(`  ${workload}: ${JSON.stringify(counts)} ${JSON.stringify(done)}`);
    for (const note of notes.slice(0, 4)) say(`    ! ${note}`);
  }
  return result;
}
