/** All workloads, sized for a machine with two cores. */
import type { Stage, Workload } from '../workload.ts';
import { guessesWorkload } from './guesses.ts';
import { paymentsWorkload } from './payments.ts';
import { resumeWorkload } from './resume.ts';
import { storageWorkload } from './storage.ts';
import { syncWorkload } from './sync.ts';
import { tokensWorkload } from './tokens.ts';

const makers: Readonly<Record<string, (stage: Stage) => Promise<Workload>>> = {
  payments: (stage) => paymentsWorkload(stage, 5, 3),
  guesses: (stage) => guessesWorkload(stage, 3, 700),
  tokens: (stage) => tokensWorkload(stage, 3, 150),
  sync: (stage) => syncWorkload(stage, 3, 100),
  resume: (stage) => resumeWorkload(stage, 4, 60),
  storage: (stage) => storageWorkload(stage, 6, 30),
};

/** Makes the workloads of these names; all when there are none. */
export function workloadsOf(names: readonly string[]): (stage: Stage) => Promise<Workload[]> {
  const wanted = Object.entries(makers).filter(([name]) => names.length === 0 || names.includes(name));
  return async (stage) => {
    const made: Workload[] = [];
    // One after the other: the slow hashes of the people would keep everybody waiting.
    for (const [, make] of wanted) made.push(await make(stage));
    return made;
  };
}
