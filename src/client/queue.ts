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
 * Where the queue lives; one client uses it, for one user. Order: numbers grow in the order of the calls of `nextCounter`. Atomicity: an
 * operation is kept when `append` resolves, and nothing of it when it rejects. `nextCounter` never gives a number twice for a device,
 * also after a crash or when the store was wiped; it has at most 15 digits. What `remove` took may come back after a crash.
 */
export interface QueueStore {
  load(): Promise<QueuedOp[]>;
  append(op: QueuedOp): Promise<void>;
  remove(opIds: readonly string[]): Promise<void>;
  nextCounter(): Promise<number>;
  close(): Promise<void>;
}

/**
 * Where a queue without a past begins to count: above whatever an earlier queue of the device used, for none takes more than a
 * hundred numbers a millisecond. The server takes a number it has seen for a repeat, so starting at 1 would lose writes.
 */
export function firstCounter(): number {
  return Date.now() * 100;
}

/** The number in an operation's id. */
export function counterOf(opId: string): number {
  return Number(opId.slice(opId.lastIndexOf(':') + 1));
}

/** A queue that dies with the process: for tests and for runtimes without storage. */
export class MemoryQueue implements QueueStore {
  readonly #ops = new Map<string, QueuedOp>();
  #counter: number;

  constructor(first = firstCounter()) {
    this.#counter = first;
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
