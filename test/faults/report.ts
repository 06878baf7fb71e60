/** The figures of a run, and the page made of them. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { FaultResult } from './run.ts';

const page = fileURLToPath(new URL('../../docs/fault-matrix.md', import.meta.url));

export type Figures = ReturnType<typeof figuresOf>;

/** Sums over all cells; `by_fault` has what went wrong, and how long clients waited. */
export function figuresOf(results: readonly FaultResult[], nodes: number) {
  const sum = (name: string): number =>
    results.flatMap(({ cells }) => cells).reduce((all, { violations, done }) => all + (violations[name] ?? 0) + (done[name] ?? 0), 0);
  return {
    faults: results.length,
    nodes,
    cells: results.reduce((all, { cells }) => all + cells.length, 0),
    violations: results.reduce((all, { violations }) => all + violations, 0),
    answered_writes: sum('answered_writes'),
    lost_writes: sum('lost_writes'),
    stale_reads: sum('stale_reads'),
    payments: sum('payments'),
    lost_payments: sum('lost_payments'),
    double_charges: sum('double_charges'),
    contradictory_answers: sum('contradictory_answers'),
    stuck_payments: sum('stuck_payments'),
    mfa_guesses: sum('guesses'),
    mfa_over_bound: sum('evaluated_over_bound'),
    token_rotations: sum('rotations'),
    tokens_redeemed_twice: sum('redeemed_twice'),
    sync_ops: sum('synced_ops'),
    sync_differences: sum('devices_differ') + sum('lost_ops') + sum('ops_applied_twice'),
    events_skipped: sum('events_skipped'),
    stale_epoch_rows:
      sum('stale_epoch_rows') + sum('two_writers_of_an_epoch') + sum('rows_above_their_slot') + sum('two_owners_of_an_epoch'),
    served_elsewhere_p99_ms: Math.max(0, ...results.filter(({ death }) => death).map(({ gapMs }) => gapMs.p99)),
    by_fault: Object.fromEntries(
      results.map(({ fault, violations, gapMs, recoveredMs }) => [
        fault,
        { violations, gap_p50_ms: gapMs.p50, gap_p99_ms: gapMs.p99, gap_max_ms: gapMs.max, recovered_ms: recoveredMs },
      ]),
    ),
  };
}

function revisionNow(): string {
  const asked = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' });
  if (asked.status !== 0) return 'unknown';
  const changed = spawnSync('git', ['status', '--porcelain', 'src'], { encoding: 'utf8' }).stdout.trim() !== '';
  return `${asked.stdout.trim()}${changed ? ' and changes not committed' : ''}`;
}

/** Writes docs/fault-matrix.md. */
export function writeMatrix(results: readonly FaultResult[], figures: Figures, args: readonly string[]): void {
  const workloads = [...new Set(results.flatMap(({ cells }) => cells.map(({ workload }) => workload)))];
  const invariants = new Map(results.flatMap(({ cells }) => cells.map((cell) => [cell.workload, cell.invariants])));
  const cellOf = (result: FaultResult, workload: string): string => {
    const cell = result.cells.find((one) => one.workload === workload);
    if (cell === undefined) return '–';
    const wrong = Object.entries(cell.violations).filter(([, count]) => count > 0);
    const done = Object.entries(cell.done).map(([what, count]) => `${count.toLocaleString('en')} ${what.replaceAll('_', ' ')}`);
    const verdict = wrong.length === 0 ? 'kept' : wrong.map(([what, count]) => `**${count} ${what.replaceAll('_', ' ')}**`).join(', ');
    return done.length === 0 ? verdict : `${verdict}: ${done.join(', ')}`;
  };
  const rows = results.map(
    (result) =>
      `| **${result.fault}**: ${result.says}, ${(result.lastedMs / 1_000).toFixed(0)} s | ${workloads.map((workload) => cellOf(result, workload)).join(' | ')} | ${result.gapMs.p50} / ${result.gapMs.p99} | ${result.directGapMs} | ${result.recoveredMs} |`,
  );
  const revision = revisionNow();
  const { by_fault: _, ...totals } = figures;
  const text = `# Fault matrix

<!-- Written by \`npm run cluster:faults -- --write\`; changes by hand are lost. -->

${figures.nodes} nodes, HAProxy, Postgres, Redis and the wallet sandbox as real processes, each node in a network namespace of its own. All workloads
run at once through each fault, over clients at the balancer and clients that come to one node after the other. A cell says whether its
invariants were kept and what was done meanwhile; zeros of N trials support no more than "fewer than 3 in N".

* Run: ${new Date().toISOString().slice(0, 10)}, \`npm run cluster:faults -- ${args.join(' ')}\`, revision ${revision}.
* Machine: ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}.
* Result: **${figures.violations} violations** in ${figures.cells} cells.

| Workload | Invariants |
|---|---|
${workloads.map((workload) => `| ${workload} | ${invariants.get(workload)} |`).join('\n')}

| Fault | ${workloads.join(' | ')} | longest wait behind the balancer, p50 / p99, ms | without one, p99, ms | all answer again after healing, ms |
|---${'|---'.repeat(workloads.length + 3)}|
${rows.join('\n')}

"Longest wait" is the longest time a client went without an answer between the strike and the recovery; for a fault that takes a node away
(kill, pause, cut from Postgres) it is how long its users waited to be served elsewhere. The lease is 5 s. Half of the clients go to the nodes themselves, one
after the other: nobody but their own patience (6 s a call, 15 s an open) takes them from a node that says nothing. While nodes cannot reach each
other, a user with devices on both sides is served on one side at a time.

\`\`\`json
${JSON.stringify(totals, null, 2)}
\`\`\`

What the invariants say:

| | |
|---|---|
| I1 | an answered durable operation is there for ever |
| I2 | at most one charge a payment at the wallet |
| I3 | histories have no gap, a payment that ended stays ended |
| I6 | after healing the server and the wallet say the same of each payment |
| I8 | no more guesses of a second factor are evaluated than the bound |
| I11 | a refresh token is redeemed at most once |
| I13, I14 | a session goes on where it was, or says that it does not: no event is skipped in silence |
| I15–I18 | operations of a device are durable in order, none is lost, none is applied twice |
| I22 | no row is written under an epoch that is over, and no two nodes write under one epoch |
| I25 | what became of an operation is told the same way for ever |
`;
  writeFileSync(page, text);
}
