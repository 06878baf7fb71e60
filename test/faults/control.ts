/** The control run: with acknowledgement before commit planted, a node dies while Postgres is slow. What it had answered and not committed is gone. */
import type { Fault } from './faults.ts';
import type { FaultResult } from './run.ts';

export const controlFault: Fault = {
  name: 'control',
  says: 'acknowledgement before commit; Postgres slow, then SIGKILL of a node',
  lastsMs: [9_000, 9_000],
  async strike({ postgresWay }, victim) {
    postgresWay.delay('both', 250);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await victim.end('SIGKILL');
    postgresWay.delay('both', 0);
    return () => victim.start();
  },
};

/** The figures of a control run; `blind`: it did not see the planted fault. */
export function runControl(result: FaultResult): { readonly control: true; readonly lost_writes: number; readonly blind: boolean } {
  const lost = result.cells.find(({ workload }) => workload === 'storage writes')?.violations['lost_writes'] ?? 0;
  return { control: true, lost_writes: lost, blind: lost === 0 };
}
