/**
 * `npm run cluster:faults [-- --quick] [--only FAULT] [--write] [--control]`: three nodes, Postgres, Redis, the wallet sandbox and HAProxy as
 * real processes in networks of their own; one fault after the other while all workloads run; then their invariants are checked from what the
 * clients were answered, the wallet's ledger and the database. The last line is the figures as JSON; exit code 1 on any violation.
 * `--write` makes docs/fault-matrix.md of it. `--control` plants acknowledgement before commit: that run must lose writes, or we are blind.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { watchDatabase } from './audit.ts';
import { controlFault, runControl } from './control.ts';
import { Townhall } from './device.ts';
import { faults } from './faults.ts';
import { insideHub } from './network.ts';
import { figuresOf, writeMatrix } from './report.ts';
import { type FaultResult, runFault } from './run.ts';
import { workloadsOf } from './workloads/all.ts';
import { startWorld } from './world.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    workload: { type: 'string', multiple: true, default: [] },
    write: { type: 'boolean', default: false },
    control: { type: 'boolean', default: false },
    nodes: { type: 'string', default: '3' },
  },
});
const unknown = values.only.filter((name) => !faults.some((fault) => fault.name === name));
if (unknown.length > 0) throw new Error(`no such fault: ${unknown.join(', ')}; there are ${faults.map(({ name }) => name).join(', ')}`);
await insideHub();

const say = (line: string): void => void process.stderr.write(`${line}\n`);
/** Nothing here may run for ever: what hangs ends the run. */
const watchdog = setTimeout(
  () => {
    say('the run took too long and is ended');
    process.exit(1);
  },
  (values.quick ? 12 : 40) * 60_000,
);

let code = 1;
const world = await startWorld(Number(values.nodes), values.control);
const pool = new pg.Pool({ connectionString: world.postgres.url, max: 2 });
pool.on('error', () => {});
const query = async <Row>(sql: string, params: readonly unknown[] = []): Promise<Row[]> =>
  (await pool.query(sql, [...params])).rows as Row[];
try {
  await watchDatabase(query);
  const options = { world, town: new Townhall(world), query, quick: values.quick, workloads: workloadsOf(values.workload), say };
  if (values.control) {
    const figures = runControl(await runFault(controlFault, options));
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    code = figures.blind ? 1 : 0;
  } else {
    const results: FaultResult[] = [];
    for (const fault of faults) {
      if (values.only.length > 0 && !values.only.includes(fault.name)) continue;
      if (fault.impossible !== undefined) {
        say(`${fault.name}: not done, ${fault.impossible}`);
        continue;
      }
      results.push(await runFault(fault, options));
    }
    const figures = figuresOf(results, world.nodes.length);
    if (values.write) writeMatrix(results, figures, process.argv.slice(2));
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    code = figures.violations === 0 ? 0 : 1;
  }
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  for (const node of world.nodes) {
    say(`--- ${node.name}, ${node.running ? 'running' : 'ended'}`);
    for (const line of node
      .logged('"level":')
      .filter((text) => !/"level":(20|30|"info"|"debug")/.test(text))
      .slice(-15))
      say(line.slice(0, 600));
  }
} finally {
  clearTimeout(watchdog);
  await pool.end().catch(() => {});
  await world.stop();
}
process.exit(code);
