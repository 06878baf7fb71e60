/**
 * Storage writes that work offline: each gets an operation id, is kept in the queue's store, and is sent until the server has
 * answered for it as durable. Only then does it leave the queue.
 */
import { TmcpError } from '../protocol/errors.ts';
import { limits } from '../protocol/limits.ts';
import { utf8Length } from '../protocol/utf8.ts';
import { AcceptedLane } from './accepted-lane.ts';
import { Listeners } from './listeners.ts';
import { type NewOp, OpLog, type QueueBounds } from './op-log.ts';
import { Pusher, type PushOutcome, type Sender, type Settled } from './pusher.ts';
import type { QueuedOp, QueueStore } from './queue.ts';

/** How a write goes to the server while there is a connection: by a push, or first as accepted. Either way it is kept until durable. */
export type WriteMode = 'durable' | 'accepted';

export interface WriterOptions extends Pick<Sender, 'online' | 'call' | 'report'> {
  readonly deviceId: string;
  readonly queue: QueueStore;
  readonly mode: WriteMode;
  readonly bounds?: QueueBounds;
}

/** A write that waits for this: up to this number, everything must be settled. */
interface Waiter {
  readonly upTo: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const defaultBounds: QueueBounds = { ops: 100_000, bytes: 64 * 1024 * 1024 };
const surrogate = /\p{Surrogate}/u;

export class OfflineWriter {
  readonly #call: Sender['call'];
  readonly #report: Sender['report'];
  readonly #log: OpLog;
  readonly #pusher: Pusher;
  readonly #lane: AcceptedLane | undefined;
  readonly #outcomes: Listeners;
  readonly #waiters = new Set<Waiter>();
  #stopped = false;
  #ended: Error | undefined;

  constructor(options: WriterOptions) {
    const { deviceId, queue, mode, bounds = defaultBounds, call, online, report } = options;
    this.#call = call;
    this.#report = report;
    this.#log = new OpLog(deviceId, queue, bounds);
    this.#outcomes = new Listeners(report);
    const sender: Sender = { log: this.#log, online, call, report, settle: (settled) => this.#settle(settled) };
    this.#pusher = new Pusher(sender);
    this.#lane = mode === 'accepted' ? new AcceptedLane(sender, () => this.#pusher.kick()) : undefined;
  }

  /** Writes that are not durable yet. */
  get waiting(): number {
    return this.#log.size;
  }

  /**
   * Queues a write; resolves when the queue's store holds it, online or not. `ttl` is in seconds. Errors: `TmcpError` for a key or value no
   * server takes; `QueueFullError`; what the store throws. After an error nothing was queued.
   */
  async set(key: string, value: string, options: { readonly ttl?: number; readonly baseVersion?: number } = {}): Promise<QueuedOp> {
    const { ttl, baseVersion } = options;
    if (utf8Length(value) > limits.storageValueBytes)
      throw new TmcpError('STORAGE_QUOTA_EXCEEDED', `a value holds at most ${limits.storageValueBytes} bytes`);
    // It would be stored as another one.
    if (surrogate.test(value)) throw new TmcpError('INVALID_REQUEST', 'the value holds a lone surrogate');
    return this.#write({
      key,
      kind: 'set',
      value,
      ...(ttl === undefined ? {} : { ttl }),
      ...(baseVersion === undefined ? {} : { base_version: baseVersion }),
    });
  }

  /** Queues a removal. Errors: as `set`. */
  async remove(key: string): Promise<QueuedOp> {
    return this.#write({ key, kind: 'remove' });
  }

  /** The value that a read should show: the newest queued write of the key, else the server's. Undefined: there is none. Errors: as `Client.call`. */
  async get(key: string): Promise<string | undefined> {
    await this.#log.load();
    for (;;) {
      const local = this.#log.newest(key);
      if (local !== undefined) return local.value;
      const { reading, stop } = this.#log.watch(key);
      let value: string | undefined;
      try {
        value = await this.#read(key);
      } finally {
        stop();
      }
      // A write that came, or was settled, while the server was asked is newer than its answer.
      if (this.#log.newest(key) === undefined && !reading.stale) return value;
    }
  }

  /** Told of every settled write, conflicts and rejections included, after it left the queue. A rejection nobody listens for is reported. */
  onOutcome(listener: (outcome: PushOutcome, op: QueuedOp) => void): () => void {
    return this.#outcomes.add('outcome', ({ outcome, kept }: Settled) => listener(outcome, kept.op));
  }

  /** Resolves when every write made so far was settled: is durable, or was rejected. Errors: the client ended before. */
  async flushed(): Promise<void> {
    await this.#log.load();
    await this.#log.appended();
    const upTo = this.#log.last;
    if (this.#log.first > upTo) return;
    if (this.#ended !== undefined) throw this.#ended;
    this.#pusher.kick();
    await new Promise<void>((resolve, reject) => this.#waiters.add({ upTo, resolve, reject }));
  }

  // --- for the client ---------------------------------------------------------------------------------------------------------

  /** Loads what an earlier run left. Errors: what the store throws. */
  load(): Promise<void> {
    return this.#log.load();
  }

  /** A session was opened. */
  opened(session: { readonly seq: number; readonly durable: { readonly db_epoch: string } }): void {
    this.#lane?.opened(session.durable.db_epoch, session.seq);
    this.#pusher.reconnected();
  }

  lost(): void {
    this.#lane?.lost();
  }

  /** `tween.session.durable` came. */
  durable(params: unknown, seq: number): void {
    void this.#lane?.durable(params, seq);
  }

  /** There will be no session any more. Writes are still taken, for the next client of this queue. */
  ended(reason: Error): void {
    this.#ended = reason;
    for (const waiter of this.#waiters) waiter.reject(reason);
    this.#waiters.clear();
  }

  /** Takes no more writes; resolves when those under way are in the store. Calls under way must have been rejected before. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#pusher.stop();
    await this.#log.appended();
  }

  async #write(write: NewOp): Promise<QueuedOp> {
    if (this.#stopped) throw new Error('the client is closed');
    const { key } = write;
    if (key === '' || utf8Length(key) > limits.storageKeyBytes || surrogate.test(key)) {
      throw new TmcpError('INVALID_REQUEST', `a key is 1 to ${limits.storageKeyBytes} bytes of well-formed text`);
    }
    const kept = await this.#log.add(write);
    if (this.#lane?.take(kept) !== true) this.#pusher.kick();
    return kept.op;
  }

  async #read(key: string): Promise<string | undefined> {
    try {
      return (await this.#call('tween.storage.get', { key })).value;
    } catch (error) {
      if (error instanceof TmcpError && error.code === 'KEY_NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #settle(settled: readonly Settled[]): Promise<void> {
    try {
      await this.#log.settle(settled.map(({ kept }) => kept));
    } catch (error) {
      // They are durable; after a restart they are pushed once more and answered as duplicates.
      this.#report(error);
    }
    for (const each of settled) {
      const { error, status } = each.outcome;
      if (this.#outcomes.has('outcome')) this.#outcomes.emit('outcome', each);
      else if (status === 'rejected')
        this.#report(new Error(`the write of ${each.kept.op.key} was rejected: ${error?.code} ${error?.message}`));
    }
    const { first } = this.#log;
    for (const waiter of this.#waiters) {
      if (first <= waiter.upTo) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }
}
