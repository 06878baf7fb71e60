/**
 * One actor in memory: its mailbox, its turn, its commits. It keeps law 2 (nothing durable leaves before its record is
 * flushed) and law 3 (a failed step leaves the state as it was, answers one error, and hurts no other actor).
 * It does no I/O of its own and knows nothing of sockets.
 */
import { asTmcpError, TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { Address, IdempotencyRow, Journal, JournalEntry, RecordRow, StoredActor, UserEvent } from '../ports.ts';
import { HistoryDivergedError } from './history-diverged.ts';
import type { ActorContext, Behaviour, Settlement, Write } from './behaviour.ts';
import type { Message } from './message.ts';

/** What an activation needs from its host. */
export interface Host {
  readonly journal: Journal;
  readonly mailboxLimit: number;
  /** Messages in all mailboxes of the host. */
  readonly waiting: { count: number };
  now(): number;
  monotonic(): number;
  /** Runs `fn` after everybody else had a turn. */
  later(fn: () => void): void;
  /** A message was answered without being begun. */
  unwanted?(why: Unwanted): void;
  load(address: Address): Promise<StoredActor | undefined>;
  idempotency(address: Address, scope: string): Promise<IdempotencyRow | undefined>;
  tell(address: Address, message: Message): void;
  publish(event: UserEvent): void;
  /** Timers and outbox rows that are now durable. */
  flushed(address: Address, entry: JournalEntry): void;
  /** The activation must not be used again. */
  failed(activation: Activation<unknown>, error: unknown, cause: FailureCause): void;
}

/**
 * `step`: the actor's own code threw, which counts towards setting it aside. `flush`: a write was lost; `load`: it could not be read.
 * Those are mostly the database's trouble and do not count.
 */
export type FailureCause = 'step' | 'flush' | 'load';

/** Why a message that waited is not begun. `late`: its deadline has passed; `left`: its caller is gone. */
export type Unwanted = 'late' | 'left';

type Phase = 'loading' | 'ready' | 'dropped';

/** Messages an actor may handle before others have a turn. */
const sliceMessages = 128;

export class Activation<S> implements ActorContext {
  readonly address: Address;
  readonly id: string;
  readonly slot: number;
  readonly behaviour: Behaviour<S>;
  lastUsedAt: number;
  /** When a commit of this activation was last flushed; 0: none yet. */
  lastFlushedAt = 0;
  seq = 0;
  readonly #host: Host;
  #state: S | undefined;
  #phase: Phase = 'loading';
  #existed = false;
  #mailbox: Message[] = [];
  #turns: (() => void)[] = [];
  #running = false;
  #blocked = false;
  #yielded = false;
  /** The message whose first answer is being looked up; it is in no queue meanwhile. */
  #lookedUp: Message | undefined;
  #unflushed = 0;
  #work = 0;
  /** What the newest append answers when it is flushed; reads of unflushed state join it. */
  #afterNewest: Settlement[] = [];
  #quiet: (() => void)[] = [];
  readonly #firsts = new Map<string, IdempotencyRow | 'running'>();
  readonly #repeats = new Map<string, Message[]>();

  readonly #after: Promise<void> | undefined;

  /** `after`: a former activation of the same actor becomes quiet; the state is loaded only then. */
  constructor(address: Address, behaviour: Behaviour<S>, slot: number, host: Host, after?: Promise<void>) {
    this.#after = after;
    this.address = address;
    this.slot = slot;
    this.id = address.slice(address.indexOf(':') + 1);
    this.behaviour = behaviour;
    this.#host = host;
    this.lastUsedAt = host.now();
    void this.#start();
  }

  get depth(): number {
    return this.#mailbox.length;
  }

  /** Nothing waits, runs or is unflushed: it can be dropped and loaded again without anyone noticing. */
  get idle(): boolean {
    return (
      this.#phase === 'ready' &&
      this.#mailbox.length === 0 &&
      this.#turns.length === 0 &&
      this.#unflushed === 0 &&
      this.#work === 0 &&
      !this.#blocked &&
      !(this.#state !== undefined && this.behaviour.busy?.(this.#state))
    );
  }

  now(): number {
    return this.#host.now();
  }

  /** Puts a message in; runs it at once when the actor is free. Past the mailbox's bound it answers `SERVICE_UNAVAILABLE`. */
  deliver(message: Message): void {
    this.lastUsedAt = this.#host.now();
    if (this.#phase === 'ready' && !this.#running && !this.#blocked && this.#mailbox.length === 0) {
      this.#running = true;
      this.#receive(message);
      this.#running = false;
      if (this.#turns.length > 0 || this.#mailbox.length > 0) this.#drain();
      return;
    }
    if (this.#phase === 'dropped') {
      this.#host.tell(this.address, message);
      return;
    }
    if (this.#mailbox.length >= this.#host.mailboxLimit) {
      message.reply(new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }));
      return;
    }
    this.#mailbox.push(message);
    this.#host.waiting.count++;
  }

  /** Takes the activation out of use; what waits in its mailbox is handed back. */
  drop(): Message[] {
    this.#phase = 'dropped';
    if (this.#state !== undefined) this.behaviour.abandoned?.(this.#state);
    const waiting = this.#lookedUp === undefined ? this.#mailbox : [this.#lookedUp, ...this.#mailbox];
    this.#lookedUp = undefined;
    this.#host.waiting.count -= this.#mailbox.length;
    this.#mailbox = [];
    for (const repeats of this.#repeats.values()) waiting.push(...repeats);
    this.#repeats.clear();
    return waiting;
  }

  /** No commit of this activation is under way. */
  get isQuiet(): boolean {
    return this.#unflushed === 0;
  }

  /** Resolves when no commit of this activation is under way: only then may another one load the same actor. */
  whenQuiet(): Promise<void> {
    return this.#unflushed === 0 ? Promise.resolve() : new Promise((resolve) => this.#quiet.push(resolve));
  }

  async #start(): Promise<void> {
    try {
      await this.#after;
      const stored = await this.#host.load(this.address);
      this.#existed = stored !== undefined;
      this.seq = stored?.seq ?? 0;
      this.#state = await this.behaviour.load(this.id, stored, this.address);
      if (this.#phase === 'dropped') return;
      this.#phase = 'ready';
      this.#drain();
    } catch (error) {
      if (this.#phase !== 'dropped') {
        this.#host.failed(this as Activation<unknown>, error, error instanceof HistoryDivergedError ? 'step' : 'load');
      }
    }
  }

  #drain(): void {
    if (this.#running) return;
    this.#running = true;
    let left = sliceMessages;
    while (this.#phase === 'ready') {
      const turn = this.#turns.shift();
      if (turn !== undefined) {
        this.#guard(turn);
        continue;
      }
      if (this.#blocked) break;
      if (left === 0) {
        this.#goOnLater();
        break;
      }
      const message = this.#mailbox.shift();
      if (message === undefined) break;
      this.#host.waiting.count--;
      left--;
      if (!this.#dismiss(message)) this.#receive(message);
    }
    this.#running = false;
  }

  #goOnLater(): void {
    if (this.#mailbox.length === 0 || this.#yielded) return;
    this.#yielded = true;
    this.#host.later(() => {
      this.#yielded = false;
      this.#drain();
    });
  }

  /** Answers a message that nobody waits for any more. True: it is not begun. */
  #dismiss(message: Message): boolean {
    let why: Unwanted | undefined;
    if (message.deadline !== undefined && message.deadline <= this.#host.monotonic()) why = 'late';
    else if (message.abandoned?.() === true) why = 'left';
    if (why === undefined) return false;
    this.#host.unwanted?.(why);
    message.reply(new TmcpError('SERVICE_UNAVAILABLE', 'It waited too long and was not begun', { retryAfter: 1 }));
    return true;
  }

  /** Runs something in the actor's turn; a throw is a fault of ours. */
  #guard(turn: () => void): void {
    try {
      turn();
    } catch (error) {
      this.#host.failed(this as Activation<unknown>, error, 'step');
    }
  }

  #turn(turn: () => void): void {
    if (this.#phase !== 'ready') return;
    this.#turns.push(turn);
    this.#drain();
  }

  #receive(message: Message): void {
    if (message.idempotency !== undefined && !this.#first(message, message.idempotency)) return;
    this.#handle(message);
  }

  #handle(message: Message): void {
    try {
      this.behaviour.receive(this.#state as S, message, this);
    } catch (thrown) {
      this.#answer({ message, error: asTmcpError(thrown) });
      if (!(thrown instanceof TmcpError)) this.#host.failed(this as Activation<unknown>, thrown, 'step');
    }
  }

  // --- idempotency: the first answer again, a conflict for another input, a wait while the first runs ---------------------

  #first(message: Message, key: { readonly scope: string; readonly inputHash: string }): boolean {
    const known = this.#firsts.get(key.scope);
    if (known === 'running') {
      const repeats = this.#repeats.get(key.scope) ?? [];
      if (repeats.length >= 16) message.reply(new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }));
      else this.#repeats.set(key.scope, [...repeats, message]);
      return false;
    }
    if (known !== undefined && known.expiresAt > this.now()) {
      this.#repeat(message, key.inputHash, known);
      return false;
    }
    if (known === undefined && this.#existed) {
      // The mailbox stands still meanwhile, so that writes keep their order.
      this.#blocked = true;
      this.#lookedUp = message;
      this.#host.idempotency(this.address, key.scope).then(
        (row) => {
          this.#blocked = false;
          this.#turn(() => {
            this.#lookedUp = undefined;
            if (row !== undefined && row.expiresAt > this.now()) {
              this.#remember(row);
              this.#repeat(message, key.inputHash, row);
            } else if (!this.#dismiss(message)) {
              this.#firsts.set(key.scope, 'running');
              this.#handle(message);
            }
          });
        },
        (error: unknown) => {
          this.#blocked = false;
          // Dropped meanwhile: the next activation has the message.
          if (this.#lookedUp !== message) return;
          this.#lookedUp = undefined;
          message.reply(new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1, cause: error }));
          this.#drain();
        },
      );
      return false;
    }
    this.#firsts.set(key.scope, 'running');
    return true;
  }

  #repeat(message: Message, hash: string, row: IdempotencyRow): void {
    if (row.inputHash !== hash) message.reply(new TmcpError('DUPLICATE_TRANSACTION'));
    else this.settleWhenFlushed({ message, result: JSON.parse(new TextDecoder().decode(row.result)) });
  }

  #remember(row: IdempotencyRow): void {
    this.#firsts.set(row.scope, row);
    // Rows are the truth; this only saves the read. The oldest go first.
    for (const scope of this.#firsts.keys()) {
      if (this.#firsts.size <= 64) break;
      if (this.#firsts.get(scope) !== 'running') this.#firsts.delete(scope);
    }
  }

  /** Answers and, where the message held a key, lets its repeats go on. */
  #answer(settlement: Settlement): void {
    const { message, error, result } = settlement;
    if (error === undefined) message.reply(null, result);
    else message.reply(error);
    const scope = message.idempotency?.scope;
    if (scope === undefined) return;
    if (this.#firsts.get(scope) === 'running') this.#firsts.delete(scope);
    const repeats = this.#repeats.get(scope);
    if (repeats === undefined) return;
    this.#repeats.delete(scope);
    for (const repeat of repeats) this.#host.tell(this.address, repeat);
  }

  // --- ActorContext -----------------------------------------------------------------------------------------------------------

  commit(write: Write, settle: readonly Settlement[] = [], after?: () => void): void {
    const { records, ...rest } = write;
    const at = this.now();
    const version = this.behaviour.machineVersion;
    const baseSeq = this.seq;
    let seq = baseSeq;
    const rows: RecordRow[] = [];
    for (const record of records ?? [])
      rows.push({ seq: ++seq, machineVersion: version, event: record.event, at, stateAfter: record.stateAfter });
    if (seq === baseSeq) seq++;
    const idempotency = this.#idempotencyRows(settle, at);
    const entry: JournalEntry = {
      address: this.address,
      kind: this.behaviour.kind,
      baseSeq,
      seq,
      machineVersion: version,
      ...rest,
      ...(rows.length > 0 ? { records: rows } : {}),
      ...(idempotency.length > 0 ? { idempotency } : {}),
    };
    const mine: Settlement[] = [...settle];
    this.#host.journal.append(entry, (error) => this.#flushed(entry, mine, error, after));
    this.seq = seq;
    this.#unflushed++;
    this.#afterNewest = mine;
  }

  settleWhenFlushed(settlement: Settlement): void {
    if (this.#unflushed === 0) this.#answer(settlement);
    else this.#afterNewest.push(settlement);
  }

  ask(address: Address, type: string, input: unknown, answer: (error: TmcpError | null, result: unknown) => void): void {
    this.#work++;
    this.#host.tell(address, {
      type,
      input,
      who: null,
      reply: (error, result) => {
        this.#work--;
        this.#turn(() => answer(error, result));
      },
    });
  }

  work<T>(promise: Promise<T>, done: (error: unknown, value: T | undefined) => void): void {
    this.#work++;
    promise.then(
      (value) => {
        this.#work--;
        this.#turn(() => done(undefined, value));
      },
      (error: unknown) => {
        this.#work--;
        this.#turn(() => done(error ?? new Error('rejected without a reason'), undefined));
      },
    );
  }

  publish(event: UserEvent): void {
    this.#host.publish(event);
  }

  #idempotencyRows(settle: readonly Settlement[], at: number): IdempotencyRow[] {
    const rows: IdempotencyRow[] = [];
    for (const { message, error, result } of settle) {
      if (message.idempotency === undefined || error !== undefined) continue;
      const encoded = new TextEncoder().encode(JSON.stringify(result));
      rows.push({ ...message.idempotency, result: encoded, expiresAt: at + limits.idempotencyKeepMs });
    }
    return rows;
  }

  #flushed(entry: JournalEntry, settle: readonly Settlement[], error: Error | undefined, after: (() => void) | undefined): void {
    this.#unflushed--;
    if (this.#unflushed === 0) for (const resolve of this.#quiet.splice(0)) resolve();
    if (error !== undefined) {
      // Out of use before anyone is answered: its state is ahead of what is stored, and an answer lets repeats in.
      if (this.#phase !== 'dropped') this.#host.failed(this as Activation<unknown>, error, 'flush');
      const answer = new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1, cause: error });
      for (const settlement of settle) this.#answer({ message: settlement.message, error: answer });
      return;
    }
    this.#existed = true;
    this.lastFlushedAt = this.now();
    for (const row of entry.idempotency ?? []) this.#remember(row);
    for (const settlement of settle) this.#answer(settlement);
    this.#host.flushed(this.address, entry);
    if (after !== undefined) this.#turn(after);
  }
}
