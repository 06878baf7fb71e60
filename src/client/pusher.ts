/**
 * The push loop: sends the oldest operations with `tween.sync.push`, one push at a time, until the queue is empty. Each way it goes round
 * ends: a push settles something, or halves what is pushed next, or waits.
 *
 * A push that is refused as a whole because of one bad operation is halved until that one stands alone; it is then rejected and the
 * rest go on. A refusal that is not about the operations (a missing scope) drops nothing and waits.
 */
import type { InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
import { type ErrorCode, errorTable, TmcpError } from '../protocol/errors.ts';
import { limits } from '../protocol/limits.ts';
import { ConnectionLostError } from './client-errors.ts';
import type { Report } from './listeners.ts';
import type { Kept, OpLog } from './op-log.ts';

/** What became of one operation, as `tween.sync.push` answered it. */
export type PushOutcome = OutputOf<'tween.sync.push'>['results'][number];

/** An operation and what became of it. */
export interface Settled {
  readonly kept: Kept;
  readonly outcome: PushOutcome;
}

/** What a sender of operations needs of its client. */
export interface Sender {
  readonly log: OpLog;
  readonly online: () => boolean;
  readonly call: <M extends MethodName>(method: M, params: InputOf<M>) => Promise<OutputOf<M>>;
  /** Takes operations out of the queue and tells what became of them. Never rejects. */
  readonly settle: (settled: readonly Settled[]) => Promise<void>;
  readonly report: Report;
}

const shortestWaitMs = 500;
const longestWaitMs = 30_000;

export class Pusher {
  readonly #sender: Sender;
  #running: Promise<void> | undefined;
  #busy = false;
  #stopped = false;
  #wait: ReturnType<typeof setTimeout> | undefined;
  /** The server said how long to wait: a new connection changes nothing about it. */
  #told = false;
  #failures = 0;
  /** Operations of the next push; fewer while a bad one is being looked for among the next `#suspects`. */
  #most: number = limits.pushOps;
  #suspects = 0;

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  /** Pushes what waits, unless a push or a wait is under way. */
  kick(): void {
    const { log, online } = this.#sender;
    if (this.#stopped || this.#busy || this.#wait !== undefined || log.pushable === 0 || !online()) return;
    this.#busy = true;
    this.#running = this.#run().finally(() => {
      this.#busy = false;
      // Something may have come in after the last look.
      this.kick();
    });
  }

  /** A session was opened: a wait that was for a better connection is over. */
  reconnected(): void {
    if (!this.#told) this.#goOn();
    this.kick();
  }

  /** Pushes nothing more; resolves when the push under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#goOn();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log, online } = this.#sender;
    while (!this.#stopped && this.#wait === undefined && online() && log.pushable > 0) {
      await this.#push(log.batch(this.#most, limits.pushBytes));
    }
  }

  async #push(batch: readonly Kept[]): Promise<void> {
    const unsent = new Set(batch.filter((kept) => !kept.sent));
    for (const kept of batch) kept.sent = true;
    let results: readonly PushOutcome[];
    try {
      ({ results } = await this.#sender.call('tween.sync.push', { ops: batch.map(({ op }) => op) }));
    } catch (error) {
      await this.#failed(batch, error);
      return;
    }
    const answers = new Map(results.map((result) => [result.op_id, result]));
    const settled: Settled[] = [];
    for (const kept of batch) {
      const outcome = answers.get(kept.op.op_id);
      if (outcome !== undefined && !mayPass(outcome)) settled.push({ kept, outcome: unsent.has(kept) ? firstAnswer(outcome) : outcome });
    }
    this.#cleared(batch.length);
    await this.#sender.settle(settled);
    if (settled.length === batch.length) this.#failures = 0;
    else {
      this.#sender.report(
        new Error(`${batch.length - settled.length} of ${batch.length} writes were not settled by their push and are pushed again`),
      );
      this.#pause(0);
    }
  }

  async #failed(batch: readonly Kept[], error: unknown): Promise<void> {
    if (this.#stopped) return;
    if (error instanceof ConnectionLostError) {
      // Still there: it was the push that took too long.
      if (this.#sender.online()) this.#pause(0);
    } else if (!(error instanceof TmcpError)) {
      this.#sender.report(error);
      this.#pause(0);
    } else if (blamesOperations(error)) await this.#suspect(batch, error);
    else if (error.retryable) this.#pause(error.retryAfter ?? 0);
    else {
      this.#sender.report(error);
      this.#pause(longestWaitMs / 1_000, false);
    }
  }

  /** One of these makes the server refuse all of them. */
  async #suspect(batch: readonly Kept[], { code, message }: TmcpError): Promise<void> {
    const [only] = batch;
    if (batch.length > 1 || only === undefined) {
      this.#suspects = Math.max(this.#suspects, batch.length);
      this.#most = Math.ceil(batch.length / 2);
      return;
    }
    await this.#sender.settle([{ kept: only, outcome: { op_id: only.op.op_id, status: 'rejected', error: { code, message } } }]);
    this.#suspects = 0;
    this.#most = limits.pushOps;
  }

  /** So many operations went through. */
  #cleared(count: number): void {
    this.#suspects = Math.max(0, this.#suspects - count);
    if (this.#suspects === 0) this.#most = limits.pushOps;
  }

  /** Waits for `seconds`, or longer after each failure in a row. */
  #pause(seconds: number, told = seconds > 0): void {
    const backoffMs = Math.min(longestWaitMs, shortestWaitMs * 2 ** Math.min(this.#failures++, 10));
    this.#goOn();
    this.#told = told;
    this.#wait = setTimeout(
      () => {
        this.#goOn();
        this.kick();
      },
      Math.max(backoffMs, seconds * 1_000),
    );
  }

  #goOn(): void {
    clearTimeout(this.#wait);
    this.#wait = undefined;
    this.#told = false;
  }
}

/** Whether a refused push would go through without some operation of it. One that is wrong elsewhere must cost no operation. */
function blamesOperations({ code, details }: TmcpError): boolean {
  const issues = details?.['issues'];
  if (code !== 'INVALID_REQUEST' || !Array.isArray(issues)) return code === 'INVALID_REQUEST' || code === 'PAYLOAD_TOO_LARGE';
  return issues.some(({ path }: { readonly path?: unknown }) => typeof path === 'string' && path.startsWith('/ops'));
}

/** Whether an operation was rejected for something that passes: it stays in the queue. */
function mayPass({ status, error }: PushOutcome): boolean {
  return status === 'rejected' && error !== undefined && errorTable[error.code as ErrorCode]?.retryable === true;
}

/** The answer to an operation that was never sent before: as a duplicate it was mistaken for another, and nothing of it was applied. */
function firstAnswer(outcome: PushOutcome): PushOutcome {
  if (outcome.status !== 'duplicate') return outcome;
  const message = 'the operation id was used before: does another installation use this device id, or was the clock set back?';
  return { ...outcome, status: 'rejected', error: { code: 'CONFLICT', message } };
}
