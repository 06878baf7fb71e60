/** All workloads, sized for a machine with two cores. */
import type { Stage, Workload } from '../workload.ts';
import { storageWorkload } from './storage.ts';

const makers: Readonly<Record<string, (stage: Stage) => Promise<Workload>>> = {
  storage: (stage) => storageWorkload(stage, 8, 15),
};

/** Makes the workloads of these names; all when there are none. */
export function workloadsOf(names: readonly string[]): (stage: Stage) => Promise<Workload[]> {
  const wanted = Object.entries(makers).filter(([name]) => names.length === 0 || names.includes(name));
  return (stage) => Promise.all(wanted.map(([, make]) => make(stage)));
}
