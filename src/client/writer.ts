/**
 * Storage writes that work offline: each gets an operation id, is kept in the queue's store, and is pushed until the server
 * answers for it. `tween.sync.push` answers only what is committed, so an operation leaves the queue when it is durable.
 */
import type { InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
import { limits } from '../protocol/limits.ts';
import type { QueuedOp, QueueStore } from './queue.ts';

export interface WriterOptions {
  readonly deviceId: string;
  readonly queue: QueueStore;
  readonly online: () => boolean;
  readonly call: <M extends MethodName>(method: M, params: InputOf<M>) => Promise<OutputOf<M>>;
}

/** What became of one operation, as `tween.sync.push` answered it. */
export type PushOutcome = OutputOf<'tween.sync.push'>['results'][number];

const retryMs = 500;

export class OfflineWriter {
  readonly #options: WriterOptions;
  #queued: QueuedOp[] = [];
  #flushing: Promise<void> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  readonly #outcomes = new Set<(outcome: PushOutcome, op: QueuedOp) => void>();
  readonly #empty: (() => void)[] = [];

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** Operations that are not durable yet. */
  get waiting(): number {
    return this.#queued.length;
  }

  async start(): Promise<void> {
    this.#stopped = false;
    if (this.#queued.length === 0) this.#queued = await this.#options.queue.load();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#flushing?.catch(() => {});
  }

  /** Queues a write; resolves when the queue's store holds it, online or not. */
  set(key: string, value: string, options: { readonly ttl?: number; readonly baseVersion?: number } = {}): Promise<QueuedOp> {
    return this.#enqueue({ key, kind: 'set', value, ...(options.ttl === undefined ? {} : { ttl: options.ttl }), ...(options.baseVersion === undefined ? {} : { base_version: options.baseVersion }) });
  }

  /** Queues a removal. */
  remove(key: string): Promise<QueuedOp> {
    return this.#enqueue({ key, kind: 'remove' });
  }

  /** The value that a read should show: the newest queued write of the key, else the server's. Undefined: there is none. */
  async get(key: string): Promise<string | undefined> {
    const local = this.#queued.findLast((op) => op.key === key);
    if (local !== undefined) return local.kind === 'set' ? local.value : undefined;
    try {
      return (await this.#options.call('tween.storage.get', { key })).value;
    } catch (error) {
      if ((error as { code?: string }).code === 'KEY_NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Told of every answered operation, conflicts and rejections included. */
  onOutcome(listener: (outcome: PushOutcome, op: QueuedOp) => void): () => void {
    this.#outcomes.add(listener);
    return () => this.#outcomes.delete(listener);
  }

  /** Resolves when everything queued so far is durable on the server. */
  async flushed(): Promise<void> {
    this.flushSoon();
    if (this.#queued.length === 0) return;
    await new Promise<void>((resolve) => this.#empty.push(resolve));
  }

  /** Pushes what waits, if there is a connection and no push is under way. */
  flushSoon(): void {
    if (this.#stopped || this.#flushing !== undefined || this.#queued.length === 0 || !this.#options.online()) return;
    this.#flushing = this.#flush().finally(() => {
      this.#flushing = undefined;
      if (this.#queued.length > 0 && !this.#stopped) this.#retry = setTimeout(() => this.flushSoon(), retryMs);
    });
    this.#flushing.catch(() => {});
  }

  async #enqueue(part: Omit<QueuedOp, 'op_id' | 'client_timestamp'>): Promise<QueuedOp> {
    const counter = await this.#options.queue.nextCounter();
    const op: QueuedOp = { op_id: `${this.#options.deviceId}:${counter}`, client_timestamp: Date.now() / 1000, ...part };
    await this.#options.queue.append(op);
    this.#queued.push(op);
    this.flushSoon();
    return op;
  }

  async #flush(): Promise<void> {
    while (this.#queued.length > 0 && this.#options.online() && !this.#stopped) {
      const ops = this.#nextPush();
      const { results } = await this.#options.call('tween.sync.push', { ops });
      const answered = new Set(results.map((result) => result.op_id));
      await this.#options.queue.remove([...answered]);
      const byId = new Map(ops.map((op) => [op.op_id, op]));
      this.#queued = this.#queued.filter((op) => !answered.has(op.op_id));
      for (const outcome of results) {
        const op = byId.get(outcome.op_id);
        if (op !== undefined) for (const listener of this.#outcomes) listener(outcome, op);
      }
    }
    if (this.#queued.length === 0) for (const resolve of this.#empty.splice(0)) resolve();
  }

  /** The oldest operations that fit one push. */
  #nextPush(): QueuedOp[] {
    const ops: QueuedOp[] = [];
    let bytes = 0;
    for (const op of this.#queued) {
      bytes += (op.value?.length ?? 0) * 3 + op.key.length + 200;
      if (ops.length > 0 && (ops.length >= limits.pushOps || bytes > limits.pushBytes)) break;
      ops.push(op);
    }
    return ops;
  }
}
