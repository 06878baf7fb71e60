/**
 * The journal of a node: takes actors' entries, commits them in groups, tells each its outcome once. Money has a lane of its own
 * beside the lanes of bulk storage, and a part of the bound that storage cannot fill. Says nothing before the
 * database has answered the commit.
 */
import type { Address, Clock, Flushed, Journal, JournalEntry } from '../../actors/ports.ts';
import { slotOf } from '../../actors/runtime/slots.ts';
import { jitter, newBootId } from '../../ids.ts';
import { TmcpError } from '../../protocol/errors.ts';
import type { Database } from '../database.ts';
import { BrokenChains } from './broken-chains.ts';
import { EntryRefusedError, LostRaceError } from './errors.ts';
import { Lane } from './lane.ts';
import type { JournalCounters } from './lane.ts';
import { prepare } from './pending.ts';
import type { Chain, Pending } from './pending.ts';

/** The two methods the journal needs of a logger (pino's order of arguments). */
export interface JournalLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface JournalOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** Ordered lanes, each with a connection and at most one commit in flight. From 2 on the first is for money and people alone. */
  readonly lanes: number;
  /** Bounds of what waits or is being committed. With 2 lanes or more, storage may use seven eighths. */
  readonly maxEntries: number;
  readonly maxBytes: number;
  /** The epoch at which this node owns a slot. */
  readonly epochOf: (slot: number) => number;
  readonly log: JournalLog;
  /** Told of each group that was committed. */
  readonly observe?: { commit(ms: number, entries: number, bytes: number): void };
  /** After this long without an answer the connection is given up and the group sent again. Default 10,000 ms. */
  readonly commitTimeoutMs?: number;
  /**
   * For the control run of the crash harness only: tells `flushed` at `append`. It shows that the harness sees a loss.
   */
  readonly ackBeforeCommit?: boolean;
}

export interface NodeJournal extends Journal {
  readonly counters: Readonly<JournalCounters>;
  /** Takes no more, waits up to `graceMs` (default 5,000) for what waits, then gives the connections back. */
  close(graceMs?: number): Promise<void>;
}

/** The kinds whose entries come in bulk; all others go through the first lane. */
const bulkKinds: ReadonlySet<string> = new Set(['vault']);
const bulkShare = 7 / 8;

/** Makes a journal on a migrated database. Who else writes: other nodes, for slots whose epoch they have raised. */
export function createJournal(options: JournalOptions): NodeJournal {
  return new GroupedJournal(options);
}

class GroupedJournal implements NodeJournal {
  readonly counters: JournalCounters = { groups: 0, entries: 0, failed: 0, conflicts: 0, unknown: 0, resolved: 0, waits: 0, splits: 0 };
  readonly #options: JournalOptions;
  readonly #lanes: readonly Lane[];
  readonly #chains = new Map<Address, Chain>();
  readonly #brokenChains = new BrokenChains();
  #entries = 0;
  #bytes = 0;
  #closed = false;

  constructor(options: JournalOptions) {
    this.#options = options;
    const boot = newBootId();
    this.#lanes = Array.from(
      { length: Math.max(1, options.lanes) },
      (_, index) =>
        new Lane({
          id: `${boot}/${index}`,
          db: options.db,
          clock: options.clock,
          commitTimeoutMs: options.commitTimeoutMs ?? 10_000,
          counters: this.counters,
          jitter,
          settle: (item, error) => this.#settle(item, error),
          observe: (ms, entries, bytes) => options.observe?.commit(ms, entries, bytes),
          warn: (fields, message) => options.log.warn(fields, message),
        }),
    );
  }

  append(entry: JournalEntry, flushed: Flushed): void {
    if (this.#closed) throw unavailable('The server is stopping');
    const bulk = this.#lanes.length > 1 && bulkKinds.has(entry.kind);
    const share = bulk ? bulkShare : 1;
    if (this.#entries + 1 > this.#options.maxEntries * share) throw unavailable('Too many writes wait for the database');

    const refusal = this.#refusalOf(entry);
    if (refusal !== undefined) {
      queueMicrotask(() => this.#tell(flushed, refusal, entry.address));
      return;
    }
    const known = this.#chains.get(entry.address);
    const chain = known ?? { address: entry.address, tail: entry.baseSeq, waiting: 0, broken: undefined };
    const slot = slotOf(entry.address);
    const item = prepare(entry, flushed, chain, slot, this.#options.epochOf(slot));
    if (this.#bytes + item.bytes > this.#options.maxBytes * share) throw unavailable('Too many bytes wait for the database');

    if (known === undefined) this.#chains.set(entry.address, chain);
    chain.tail = entry.seq;
    chain.waiting++;
    this.#entries++;
    this.#bytes += item.bytes;
    if (this.#options.ackBeforeCommit === true) queueMicrotask(() => this.#tell(flushed, undefined, entry.address));
    this.#laneOf(bulk, slot).push(item);
  }

  backlog(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#entries, bytes: this.#bytes };
  }

  async drain(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.drained()));
  }

  async close(graceMs = 5_000): Promise<void> {
    this.#closed = true;
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(graceMs, resolve);
    });
    await Promise.race([this.drain(), late]);
    cancel();
    if (this.#entries > 0) this.#options.log.error({ entries: this.#entries }, 'journal closed with entries that no commit has answered');
    for (const lane of this.#lanes) lane.stop();
  }

  /** An entry that continues a chain which has failed, or that does not continue the chain which waits, never reaches the database. */
  #refusalOf(entry: JournalEntry): Error | undefined {
    const chain = this.#chains.get(entry.address);
    if (chain === undefined) return this.#brokenChains.refusalOf(entry);
    if (chain.broken !== undefined) {
      if (entry.baseSeq !== chain.tail) {
        // The actor was loaded anew while the last entries of its failed chain still wait to be told.
        this.#chains.delete(entry.address);
        return undefined;
      }
      chain.tail = entry.seq;
      return new EntryRefusedError(`an earlier entry of ${entry.address} failed`, { cause: chain.broken });
    }
    if (entry.baseSeq === chain.tail) return undefined;
    return new LostRaceError(`${entry.address} has entries up to seq ${chain.tail} on their way, not ${entry.baseSeq}`);
  }

  #laneOf(bulk: boolean, slot: number): Lane {
    const index = bulk ? 1 + (slot % (this.#lanes.length - 1)) : 0;
    const lane = this.#lanes.length === 1 ? this.#lanes[0] : this.#lanes[index];
    return lane as Lane;
  }

  #settle(item: Pending, error: Error | undefined): void {
    const { chain } = item;
    this.#entries--;
    this.#bytes -= item.bytes;
    chain.waiting--;
    if (chain.waiting === 0) {
      if (this.#chains.get(chain.address) === chain) {
        this.#chains.delete(chain.address);
        if (chain.broken !== undefined) this.#brokenChains.remember(chain);
      }
    }
    if (this.#options.ackBeforeCommit !== true) this.#tell(item.flushed, error, chain.address);
  }

  /** A listener that throws is a fault of ours and must not stop the lane. */
  #tell(flushed: Flushed, error: Error | undefined, address: Address): void {
    try {
      flushed(error);
    } catch (thrown) {
      this.#options.log.error({ err: thrown, address }, 'a flushed callback threw');
    }
  }
}

function unavailable(message: string): TmcpError {
  return new TmcpError('SERVICE_UNAVAILABLE', message, { retryAfter: 1 });
}
