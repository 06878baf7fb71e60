/**
 * The queue's image in memory: what is in the store and not yet settled, in the order of the writes. An operation is here exactly when
 * its `append` has resolved, so nothing is pushed, or shown by a read, that a crash would take back. Bounded in operations and bytes.
 */
import { utf8Length } from '../protocol/utf8.ts';
import { QueueFullError } from './client-errors.ts';
import { counterOf, type QueuedOp, type QueueStore } from './queue.ts';

/** An operation that waits. */
export interface Kept {
  readonly op: QueuedOp;
  readonly counter: number;
  /** About what it takes in a frame. */
  readonly bytes: number;
  /** It may have reached the server before. */
  sent: boolean;
  /** The accepted lane has it; it is not pushed meanwhile. */
  held: boolean;
}

export interface QueueBounds {
  readonly ops: number;
  readonly bytes: number;
}

export type NewOp = Omit<QueuedOp, 'op_id' | 'client_timestamp'>;

/** Somebody reads a key from the server; `stale`: a write of the key was settled meanwhile, so the answer may be older. */
export interface Reading {
  stale: boolean;
}

/** What an operation takes beside its key and value: its id, a timestamp, the names of its members. */
const opOverhead = 256;

export class OpLog {
  readonly #deviceId: string;
  readonly #store: QueueStore;
  readonly #bounds: QueueBounds;
  #ops = new Map<string, Kept>();
  readonly #newest = new Map<string, QueuedOp>();
  readonly #readings = new Map<string, Set<Reading>>();
  readonly #appends = new Set<Promise<unknown>>();
  #loading: Promise<void> | undefined;
  #loaded = false;
  #held = 0;
  /** With those that are being appended. */
  #count = 0;
  #bytes = 0;
  #last = 0;
  #stampMs = 0;

  constructor(deviceId: string, store: QueueStore, bounds: QueueBounds) {
    this.#deviceId = deviceId;
    this.#store = store;
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#ops.size;
  }

  /** Operations for a push: those that no lane has. */
  get pushable(): number {
    return this.#ops.size - this.#held;
  }

  /** The number of the newest operation. */
  get last(): number {
    return this.#last;
  }

  /** The number of the oldest operation; infinite when there is none. */
  get first(): number {
    for (const kept of this.#ops.values()) return kept.counter;
    return Number.POSITIVE_INFINITY;
  }

  /** Loads what an earlier run left; once. Errors: what the store throws, and the next call tries again. */
  load(): Promise<void> {
    if (this.#loaded) return Promise.resolve();
    this.#loading ??= this.#store.load().then(
      (ops) => {
        this.#loaded = true;
        for (const op of ops) {
          const bytes = bytesOf(op);
          this.#count++;
          this.#bytes += bytes;
          this.#insert(op, bytes, true);
        }
      },
      (error: unknown) => {
        this.#loading = undefined;
        throw error;
      },
    );
    return this.#loading;
  }

  /**
   * Appends a write. Concurrent ones keep the order of their calls, in number and in time. Errors: `QueueFullError`; what the store
   * throws. After an error nothing of the write is left.
   */
  add(write: NewOp): Promise<Kept> {
    const bytes = bytesOf(write);
    if (this.#count >= this.#bounds.ops || this.#bytes + bytes > this.#bounds.bytes)
      return Promise.reject(new QueueFullError(this.#count, this.#bytes));
    this.#count++;
    this.#bytes += bytes;
    const append = this.#append(write, bytes).catch((error: unknown) => {
      this.#count--;
      this.#bytes -= bytes;
      throw error;
    });
    this.#appends.add(append);
    const done = (): void => void this.#appends.delete(append);
    append.then(done, done);
    return append;
  }

  /** Resolves when the appends that are under way have ended, well or not. */
  async appended(): Promise<void> {
    await Promise.allSettled(this.#appends);
  }

  /** The newest write of a key that waits. */
  newest(key: string): QueuedOp | undefined {
    return this.#newest.get(key);
  }

  /** The oldest operations for one push: at most `ops`, and at most `bytes` unless the first alone is more. */
  batch(ops: number, bytes: number): Kept[] {
    const batch: Kept[] = [];
    let sum = 0;
    for (const kept of this.#ops.values()) {
      if (kept.held) continue;
      sum += kept.bytes;
      if (batch.length > 0 && sum > bytes) break;
      batch.push(kept);
      if (batch.length >= ops) break;
    }
    return batch;
  }

  /** Gives an operation to the accepted lane, or takes it back. */
  hold(kept: Kept, held: boolean): void {
    if (kept.held === held) return;
    kept.held = held;
    this.#held += held ? 1 : -1;
  }

  /** Takes settled operations out, of the store first. Errors: what the store throws; they are out of memory all the same. */
  async settle(settled: readonly Kept[]): Promise<void> {
    try {
      await this.#store.remove(settled.map(({ op }) => op.op_id));
    } finally {
      for (const kept of settled) this.#forget(kept);
    }
  }

  /** Notes that a key is being read from the server, until `stop` is called. */
  watch(key: string): { readonly reading: Reading; stop(): void } {
    const reading: Reading = { stale: false };
    const readings = this.#readings.get(key) ?? new Set();
    readings.add(reading);
    this.#readings.set(key, readings);
    const stop = (): void => {
      if (readings.delete(reading) && readings.size === 0 && this.#readings.get(key) === readings) this.#readings.delete(key);
    };
    return { reading, stop };
  }

  async #append(write: NewOp, bytes: number): Promise<Kept> {
    await this.load();
    // From here to the first await of `nextCounter` nothing comes between two calls: later writes have later times and numbers.
    this.#stampMs = Math.max(this.#stampMs, Date.now());
    const stamp = this.#stampMs / 1_000;
    const counter = await this.#store.nextCounter();
    const op: QueuedOp = { op_id: `${this.#deviceId}:${counter}`, client_timestamp: stamp, ...write };
    await this.#store.append(op);
    return this.#insert(op, bytes, false);
  }

  #insert(op: QueuedOp, bytes: number, sent: boolean): Kept {
    const kept: Kept = { op, counter: counterOf(op.op_id), bytes, sent, held: false };
    this.#ops.set(op.op_id, kept);
    if (kept.counter < this.#last) this.#ops = new Map([...this.#ops].sort(([, a], [, b]) => a.counter - b.counter));
    this.#last = Math.max(this.#last, kept.counter);
    // A clock that was set back must not make the newer write lose.
    this.#stampMs = Math.max(this.#stampMs, op.client_timestamp * 1_000);
    const newest = this.#newest.get(op.key);
    if (newest === undefined || counterOf(newest.op_id) < kept.counter) this.#newest.set(op.key, op);
    return kept;
  }

  #forget(kept: Kept): void {
    const { op } = kept;
    if (!this.#ops.delete(op.op_id)) return;
    this.hold(kept, false);
    this.#count--;
    this.#bytes -= kept.bytes;
    if (this.#newest.get(op.key) === op) this.#newest.delete(op.key);
    for (const reading of this.#readings.get(op.key) ?? []) reading.stale = true;
  }
}

function bytesOf(write: Pick<QueuedOp, 'key' | 'value'>): number {
  return opOverhead + utf8Length(write.key) + (write.value === undefined ? 0 : utf8Length(write.value));
}
