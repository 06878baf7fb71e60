/**
 * The queue of writes that the server has not confirmed as durable. An operation stays in it until its own answer says what
 * became of it; it is sent again after every loss, with the same `op_id`, and the server applies it at most once.
 */

/** One write, as it is kept and as `tween.sync.push` takes it. */
export interface QueuedOp {
  readonly op_id: string;
  readonly key: string;
  readonly kind: 'set' | 'remove';
  readonly value?: string;
  readonly ttl?: number;
  /** Unix seconds at the time of the write, on the device's clock. */
  readonly client_timestamp: number;
  readonly base_version?: number;
}

/**
 * Where the queue lives. Order: `load` gives operations in the order of `append`. Atomicity: an operation is kept when
 * `append` resolves. `nextCounter` never gives the same number twice for a device, also after a crash.
 */
export interface QueueStore {
  load(): Promise<QueuedOp[]>;
  append(op: QueuedOp): Promise<void>;
  remove(opIds: readonly string[]): Promise<void>;
  nextCounter(): Promise<number>;
  close(): Promise<void>;
}

/** A queue that dies with the process: for tests and for runtimes without storage. Counters start at the wall clock, so a restart does not reuse them. */
export class MemoryQueue implements QueueStore {
  readonly #ops = new Map<string, QueuedOp>();
  #counter: number;

  constructor(firstCounter = Date.now() * 1000) {
    this.#counter = firstCounter;
  }

  async load(): Promise<QueuedOp[]> {
    return [...this.#ops.values()];
  }

  async append(op: QueuedOp): Promise<void> {
    this.#ops.set(op.op_id, op);
  }

  async remove(opIds: readonly string[]): Promise<void> {
    for (const id of opIds) this.#ops.delete(id);
  }

  async nextCounter(): Promise<number> {
    return this.#counter++;
  }

  async close(): Promise<void> {}
}
