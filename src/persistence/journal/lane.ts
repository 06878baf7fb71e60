/**
 * One ordered lane of the journal: it collects while its last commit runs, then commits all it has, up to a cap, as one transaction.
 * A group carries a number that the transaction stores; a group whose answer was lost is sent again under the same number, and
 * the database says whether it was already there. So an outcome is never guessed, and nothing is written twice.
 */
import { setImmediate } from 'node:timers';
import type { Clock } from '../../actors/ports.ts';
import type { Connection, Database } from '../database.ts';
import { loadSql } from '../sql.ts';
import { EntryRefusedError, FencedError, LostRaceError, classify, fencedPairsOf, sqlStateOf } from './errors.ts';
import { GroupEncoder, pairOf } from './group-encoder.ts';
import type { Pending } from './pending.ts';
import { worksOf } from './work.ts';
import type { Work } from './work.ts';

const commitSql = loadSql(import.meta.url, './commit.sql');

/** Past these a group would only grow slower: measured on two cores, 512 rows share a commit's cost well enough. */
const groupEntries = 512;
const groupBytes = 2 * 1024 * 1024;
/** With so many waiting, the next group is on its way before the last one's answers are given. */
const busyEntries = 64;
/** Tries against deadlocks and serialization failures before the group is split. */
const conflictTries = 8;
const firstBackoffMs = 20;
const lastBackoffMs = 1_000;

/** What an operator counts. */
export interface JournalCounters {
  groups: number;
  entries: number;
  failed: number;
  /** Deadlocks and serialization failures that were tried again. */
  conflicts: number;
  /** Commits whose answer was lost, so that they were sent again. */
  unknown: number;
  /** Of those, the ones that turned out to be committed already. */
  resolved: number;
  /** Tries put off because the database was away or could not work. */
  waits: number;
  /** Groups split because something in them was refused. */
  splits: number;
}

export interface LaneOptions {
  /** Unique among all lanes that ever ran on this database. */
  readonly id: string;
  readonly db: Database;
  readonly clock: Clock;
  readonly commitTimeoutMs: number;
  readonly counters: JournalCounters;
  /** A number in [0, 1). */
  readonly jitter: () => number;
  /** Called once for each entry, in order of append within an actor. */
  readonly settle: (item: Pending, error: Error | undefined) => void;
  readonly observe: (ms: number, entries: number, bytes: number) => void;
  readonly warn: (fields: object, message: string) => void;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #encoder = new GroupEncoder();
  #queue: Pending[] = [];
  /** Committed or refused, and not yet told. */
  #settled: { item: Pending; error: Error | undefined }[] = [];
  #connection: Connection | undefined;
  #group = 0;
  #running = false;
  #stopped = false;
  #appendedCount = 0;
  #settledCount = 0;
  #waiters: { readonly upTo: number; readonly done: () => void }[] = [];

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  push(item: Pending): void {
    this.#queue.push(item);
    this.#appendedCount++;
    if (this.#running) return;
    this.#running = true;
    // The end of this turn of the loop: what its other sockets bring still gets into the group.
    setImmediate(() => void this.#run());
  }

  /** Resolves when everything pushed so far has been settled. */
  drained(): Promise<void> {
    const upTo = this.#appendedCount;
    if (this.#settledCount >= upTo) return Promise.resolve();
    return new Promise((done) => this.#waiters.push({ upTo, done }));
  }

  /** Ends the lane; what is not yet committed is never settled, since nobody can say how it ends. */
  stop(): void {
    this.#stopped = true;
    this.#drop(false);
  }

  async #run(): Promise<void> {
    let running = this.#start();
    while (running !== undefined) {
      await running;
      if (this.#stopped) break;
      if (this.#queue.length >= busyEntries) {
        // The database works on the next group while we give the answers of the last.
        running = this.#start();
        this.#tell();
      } else {
        // Answers first: they, and what this turn still brings, often append more.
        this.#tell();
        await new Promise<void>((resolve) => setImmediate(resolve));
        running = this.#start();
      }
    }
    this.#tell();
    this.#running = false;
    if (this.#queue.length > 0 && !this.#stopped) {
      this.#running = true;
      setImmediate(() => void this.#run());
    }
  }

  /** Sends the next group off; undefined when nothing waits. */
  #start(): Promise<void> | undefined {
    const group = this.#take();
    return group.length === 0 ? undefined : this.#commit(worksOf(group));
  }

  /** The next group; entries of chains that have broken are settled on the way. */
  #take(): Pending[] {
    const group: Pending[] = [];
    let bytes = 0;
    let index = 0;
    for (; index < this.#queue.length && group.length < groupEntries; index++) {
      const item = this.#queue[index] as Pending;
      if (item.chain.broken !== undefined) {
        this.#settled.push({ item, error: item.chain.broken });
        continue;
      }
      if (group.length > 0 && bytes + item.bytes > groupBytes) break;
      group.push(item);
      bytes += item.bytes;
    }
    this.#queue = index === this.#queue.length ? [] : this.#queue.slice(index);
    return group;
  }

  /** Ends when every work of the group is committed or refused; waits as long as that takes. */
  async #commit(works: readonly Work[]): Promise<void> {
    const { counters } = this.#options;
    let params: unknown[];
    const group = ++this.#group;
    try {
      params = [this.#options.id, group, this.#options.clock.now(), ...this.#encoder.encode(works)];
    } catch (error) {
      return this.#split(works, error);
    }
    let conflicts = 0;
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        const startedAt = this.#options.clock.monotonic();
        const fresh = await this.#send(params);
        // Lane ids are unique to a boot, so a first try can only be fresh; were it not, an answer would be a lie.
        if (!fresh && attempt === 0)
          return await this.#split(works, new Error(`group ${group} of lane ${this.#options.id} was used before`));
        if (!fresh) counters.resolved++;
        this.#committed(works, this.#options.clock.monotonic() - startedAt);
        return;
      } catch (error) {
        const failure = error instanceof NotConnected ? 'later' : classify(error);
        if (failure === 'unknown') {
          counters.unknown++;
          this.#drop(true);
        } else if (failure === 'later') {
          counters.waits++;
          this.#drop(true);
        } else if (failure === 'again' && ++conflicts <= conflictTries) {
          counters.conflicts++;
        } else {
          return failure === 'fenced' ? this.#refuseFenced(works, error) : this.#split(works, error);
        }
        if (attempt === 0 || attempt % 20 === 0) {
          const entries = works.reduce((sum, { items }) => sum + items.length, 0);
          this.#options.warn({ err: error, failure, lane: this.#options.id, attempt, entries }, 'commit put off');
        }
        await this.#backoff(attempt);
      }
    }
  }

  /** True when the group is committed by this call, false when it had been before. Errors: the driver's, `NotConnected`, `TimedOut`. */
  async #send(params: readonly unknown[]): Promise<boolean> {
    // No await where the connection is there: the statement is under way before the caller goes on.
    const connection = this.#connection ?? (await this.#connect());
    let cancel = (): void => {};
    const late = new Promise<never>((_, reject) => {
      cancel = this.#options.clock.after(this.#options.commitTimeoutMs, () => reject(new TimedOut('no answer to a commit in time')));
    });
    try {
      // The statement is its own transaction. The driver resolves at ReadyForQuery, which the server sends after the commit.
      const rows = await Promise.race([connection.query<{ fresh: boolean }>(commitSql, params, 'tmcp_commit'), late]);
      const row = rows[0];
      if (row === undefined) throw new TimedOut('a commit gave no row');
      return row.fresh;
    } finally {
      cancel();
    }
  }

  async #connect(): Promise<Connection> {
    let connection: Connection;
    try {
      connection = await this.#options.db.connect();
    } catch (error) {
      throw new NotConnected('no connection to the database', { cause: error });
    }
    if (this.#stopped) {
      connection.release();
      throw new NotConnected('the journal has stopped');
    }
    this.#connection = connection;
    return connection;
  }

  #drop(broken: boolean): void {
    this.#connection?.release(broken);
    this.#connection = undefined;
  }

  #backoff(attempt: number): Promise<void> {
    const longest = Math.min(lastBackoffMs, firstBackoffMs * 2 ** Math.min(attempt, 16));
    const ms = longest * (0.5 + this.#options.jitter() / 2);
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }

  #committed(works: readonly Work[], ms: number): void {
    let entries = 0;
    let bytes = 0;
    for (const { items } of works) {
      entries += items.length;
      for (const item of items) {
        bytes += item.bytes;
        this.#settled.push({ item, error: undefined });
      }
    }
    this.#options.counters.groups++;
    this.#options.counters.entries += entries;
    this.#options.observe(ms, entries, bytes);
  }

  /** Something in the works is refused: halves are tried by themselves until the actor that is the cause stands alone. */
  async #split(works: readonly Work[], error: unknown): Promise<void> {
    const [only] = works;
    if (works.length === 1 && only !== undefined) {
      const lost = sqlStateOf(error) === 'TM002';
      const reason = lost
        ? new LostRaceError(`${only.chain.address} is not at its base seq`, { cause: error })
        : new EntryRefusedError(`the database refuses an entry of ${only.chain.address}`, { cause: error });
      return this.#refuse(only, reason);
    }
    this.#options.counters.splits++;
    const middle = works.length >> 1;
    await this.#commit(works.slice(0, middle));
    await this.#commit(works.slice(middle));
  }

  /** The database names the slots that are no longer ours; the other works go on at once. */
  async #refuseFenced(works: readonly Work[], error: unknown): Promise<void> {
    const lost = fencedPairsOf(error);
    const isLost = ({ items }: Work): boolean => items.some(({ slot, epoch }) => lost.has(pairOf(slot, epoch)));
    const fenced = works.filter(isLost);
    if (fenced.length === 0) return this.#split(works, error);
    for (const work of fenced) this.#refuse(work, new FencedError(`another node owns ${work.chain.address}`, { cause: error }));
    const rest = works.filter((work) => !isLost(work));
    if (rest.length > 0) await this.#commit(rest);
  }

  #refuse(work: Work, error: Error): void {
    work.chain.broken = error;
    this.#options.counters.failed += work.items.length;
    for (const item of work.items) this.#settled.push({ item, error });
  }

  #tell(): void {
    const settled = this.#settled;
    if (settled.length === 0) return;
    this.#settled = [];
    for (const { item, error } of settled) this.#options.settle(item, error);
    this.#settledCount += settled.length;
    const due = this.#waiters.filter(({ upTo }) => upTo <= this.#settledCount);
    if (due.length === 0) return;
    this.#waiters = this.#waiters.filter(({ upTo }) => upTo > this.#settledCount);
    for (const { done } of due) done();
  }
}

/** No connection was had: nothing was sent. */
class NotConnected extends Error {}

/** The answer did not come: the outcome is unknown. */
class TimedOut extends Error {}
