/**
 * The short way of a write: `tween.storage.set` or `.remove` with `durability: "accepted"`, answered before the commit. The operation stays
 * in the queue until the session's watermark covers it (live binding, section 5). Whatever goes wrong here, and every lost connection,
 * gives it back to the push loop, which sends the same `op_id` and is answered when it is durable.
 */
import type { OutputOf } from '../protocol/catalogue.ts';
import { TmcpError } from '../protocol/errors.ts';
import type { Kept } from './op-log.ts';
import type { PushOutcome, Sender } from './pusher.ts';

type Written = OutputOf<'tween.storage.set'>;

interface Lent {
  readonly kept: Kept;
  readonly late: ReturnType<typeof setTimeout>;
  /** Since it was answered: its number in the session, and what to tell when it is covered. */
  write?: number;
  outcome?: PushOutcome;
}

/** More at once are better off in one push. */
const most = 32;
/** An operation that is not covered by then is pushed. */
const coveredWithinMs = 5_000;
const pauseMs = 1_000;

export class AcceptedLane {
  readonly #sender: Sender;
  readonly #giveBack: () => void;
  readonly #lent = new Map<string, Lent>();
  #epoch: string | undefined;
  /** Events up to this one count the writes of an earlier connection, maybe on another node. */
  #since = 0;
  #mark = 0;
  #closedUntil = 0;

  /** `giveBack` is called after operations became pushable again. */
  constructor(sender: Sender, giveBack: () => void) {
    this.#sender = sender;
    this.#giveBack = giveBack;
  }

  /** A session was opened: its database, and the last event issued before. */
  opened(epoch: string, seq: number): void {
    this.#releaseAll();
    this.#epoch = epoch;
    this.#since = seq;
    this.#mark = 0;
  }

  /** The connection is gone; the numbers of its writes mean nothing to the next. */
  lost(): void {
    this.#epoch = undefined;
    this.#releaseAll();
  }

  /** Takes an operation. False: it has to be pushed. Only the newest, and only when nothing older waits, so that order is kept. */
  take(kept: Kept): boolean {
    const { log, online } = this.#sender;
    if (this.#epoch === undefined || !online() || log.pushable !== 1 || kept.held) return false;
    // A set knows no base version.
    if (kept.op.base_version !== undefined || this.#lent.size >= most || performance.now() < this.#closedUntil) return false;
    const lent: Lent = { kept, late: setTimeout(() => this.#release([lent]), coveredWithinMs) };
    this.#lent.set(kept.op.op_id, lent);
    log.hold(kept, true);
    kept.sent = true;
    void this.#send(lent);
    return true;
  }

  /** The server says that every write of this session up to a number is committed, in the database named. */
  async durable(params: unknown, seq: number): Promise<void> {
    if (this.#epoch === undefined || seq <= this.#since) return;
    const { write, db_epoch: epoch } = (params ?? {}) as { readonly write?: unknown; readonly db_epoch?: unknown };
    if (epoch !== this.#epoch || typeof write !== 'number') {
      // Another database: what was accepted may not be in it.
      this.lost();
      return;
    }
    this.#mark = Math.max(this.#mark, write);
    await this.#settle([...this.#lent.values()].filter((lent) => lent.write !== undefined && lent.write <= this.#mark));
  }

  async #send(lent: Lent): Promise<void> {
    const { call, report } = this.#sender;
    const { op_id, key, kind, value = '', ttl, client_timestamp } = lent.kept.op;
    const common = { key, op_id, client_timestamp, durability: 'accepted' as const };
    try {
      const written: Written =
        kind === 'remove'
          ? await call('tween.storage.remove', common)
          : await call('tween.storage.set', { ...common, value, ...(ttl === undefined ? {} : { ttl }) });
      await this.#answered(lent, written);
    } catch (error) {
      if (this.#lent.get(op_id) !== lent) return;
      // The push says what is wrong with the write, if that is what is wrong.
      const retryAfterMs = error instanceof TmcpError ? (error.retryAfter ?? 0) * 1_000 : 0;
      this.#closedUntil = performance.now() + Math.max(pauseMs, retryAfterMs);
      if (!(error instanceof TmcpError)) report(error);
      this.#release([lent]);
    }
  }

  async #answered(lent: Lent, written: Written): Promise<void> {
    const { op_id } = lent.kept.op;
    if (this.#lent.get(op_id) !== lent) return;
    const { version, updated_at, server_value, resolution, write, durable, conflict_detected } = written;
    lent.outcome = {
      op_id,
      status: conflict_detected === true ? 'conflict' : 'applied',
      ...(version === undefined ? {} : { version }),
      ...(updated_at === undefined ? {} : { updated_at }),
      ...(server_value === undefined ? {} : { server_value }),
      ...(resolution === undefined ? {} : { resolution }),
    };
    if (durable === false && write !== undefined) lent.write = write;
    // Without a number it will never be covered, so `false` cannot be believed to end; `true` or nothing is as good as a push's answer.
    if (durable === false && write === undefined) this.#release([lent]);
    else if (durable !== false || lent.write === undefined || lent.write <= this.#mark) await this.#settle([lent]);
  }

  async #settle(lents: readonly Lent[]): Promise<void> {
    for (const lent of lents) this.#end(lent);
    if (lents.length > 0) await this.#sender.settle(lents.map(({ kept, outcome }) => ({ kept, outcome: outcome as PushOutcome })));
  }

  #releaseAll(): void {
    this.#release([...this.#lent.values()]);
  }

  #release(lents: readonly Lent[]): void {
    for (const lent of lents) {
      this.#end(lent);
      this.#sender.log.hold(lent.kept, false);
    }
    if (lents.length > 0) this.#giveBack();
  }

  #end(lent: Lent): void {
    clearTimeout(lent.late);
    this.#lent.delete(lent.kept.op.op_id);
  }
}
