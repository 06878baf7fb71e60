/** What a workload is: it runs beside the others through a fault and then says whether its promises were kept. */
import type { Device, Townhall } from './device.ts';
import type { World, WorldNode } from './world.ts';

/** A count that must be 0, with the invariant it stands for. */
export interface Violations {
  readonly [what: string]: number;
}

export interface Verdict {
  /** Each must be 0. */
  readonly violations: Violations;
  /** For the reader: how much was done, so that a 0 can be believed. */
  readonly done: Readonly<Record<string, number>>;
  /** What was wrong, at most a few lines. */
  readonly notes: readonly string[];
}

export interface Workload {
  readonly name: string;
  /** As the reliability document numbers them. */
  readonly invariants: string;
  readonly devices: readonly Device[];
  /** Runs until `stop`. */
  start(): void;
  /** Resolves when what was under way has ended. Errors: a fault of the harness or an answer that nothing explains. */
  stop(): Promise<void>;
  /** Looks at what is left once everything is healed. */
  verify(): Promise<Verdict>;
}

export interface Stage {
  readonly world: World;
  readonly town: Townhall;
  /** The node that the fault will meet. */
  readonly victim: WorldNode;
  /** Names of this fault's people begin with it. */
  readonly prefix: string;
  /** The harness's own look into the database. */
  readonly query: <Row>(sql: string, params?: readonly unknown[]) => Promise<Row[]>;
}
/** Runs loops until told to stop, and keeps the first thing that went wrong. */
export class Crew {
  stopped = false;
  readonly #jobs: Promise<void>[] = [];

  run(work: () => Promise<void>): void {
    const job = (async () => {
      while (!this.stopped) await work();
    })();
    job.catch(() => {});
    this.#jobs.push(job);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.#jobs);
  }
}
