/** A flood of requests from a thread of its own. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

export interface FloodTarget {
  readonly port: number;
  readonly token: string;
  readonly device: string;
}

export interface FloodOptions {
  readonly targets: readonly FloodTarget[];
  /** An answer that comes later is no use. */
  readonly goodWithinMs: number;
  /** Requests of one session that may be unanswered. */
  readonly mostInFlight: number;
}

export interface FloodOrder {
  /** Requests a second from now on; left out: as before. */
  readonly rate?: number;
}

/** What happened since the last order. */
export interface FloodFigures {
  /** Requests that were due. */
  offered: number;
  /** Answered with a result in time. */
  good: number;
  late: number;
  refused: number;
  /** Not sent, because the session was away or might not send more. */
  away: number;
  /** Sessions that lost their socket, and dials or opens that were refused. */
  cut: number;
  refusedEntries: number;
  /** Sessions that are open now. */
  open: number;
}

export type FloodStep = FloodFigures & { readonly waits: Float64Array };

export class Flood {
  readonly #worker: Worker;

  /** Its sessions begin to open. */
  constructor(options: FloodOptions) {
    // A thread does not inherit the loader for TypeScript.
    const thread = JSON.stringify(new URL('./flood-worker.ts', import.meta.url).href);
    const loads = `import('tsx/esm/api').then(({ register }) => { register(); return import(${thread}); })`;
    this.#worker = new Worker(loads, { eval: true, workerData: options });
  }

  /** Changes the rate and gives what happened since the last order. */
  async order(order: FloodOrder): Promise<FloodStep> {
    this.#worker.postMessage(order);
    const [step] = (await once(this.#worker, 'message')) as [FloodStep];
    return step;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}
