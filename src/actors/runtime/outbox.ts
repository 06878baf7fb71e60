/**
 * Effects that leave the system. Their rows are written with the state that caused them; here each is carried out and its
 * outcome told to its actor as `outbox.done {id, type, payload, outcome}`, which steps and deletes the row in the same commit.
 * Carried out at least once, with the same id every time. `recovered` tells a runner that an earlier process may already
 * have tried: a wallet charge then asks before it posts.
 */
import type { ActorStore, Address, CancelTimer, Clock, JournalEntry, OutboxRow } from '../ports.ts';
import { type Message, noReply } from './message.ts';
import { slotOf } from './slots.ts';

/** Carries out one effect. It must not throw for outcomes of the outside world; a throw is retried after a pause. */
export type EffectRunner = (row: OutboxRow, attempt: { readonly recovered: boolean }) => Promise<unknown>;

const concurrency = 64;
const recheckMs = 5_000;
/** Rows taken up at once; after a full page the rest follows soon. */
const pageSize = 500;
const nextPageMs = 250;

export class Outbox {
  readonly #store: ActorStore;
  readonly #clock: Clock;
  readonly #runners: ReadonlyMap<string, EffectRunner>;
  readonly #tell: (address: Address, message: Message) => void;
  readonly #onError: (row: OutboxRow, error: unknown) => void;
  /** Rows known here, by id: 0 while waiting or running, then the (monotonic) instant at which the outcome was told. */
  readonly #known = new Map<string, { readonly toldAt: number; readonly slot: number }>();
  readonly #queue: { address: Address; row: OutboxRow; recovered: boolean }[] = [];
  readonly #slots: () => readonly number[] | undefined;
  readonly #owns: (slot: number) => boolean;
  #running = 0;
  /** Slots changed while the table was being read. */
  #stale = false;
  #recheck: CancelTimer | undefined;
  #closed = false;

  constructor(options: {
    readonly store: ActorStore;
    readonly clock: Clock;
    readonly runners: Readonly<Record<string, EffectRunner>>;
    readonly tell: (address: Address, message: Message) => void;
    /** The slots whose effects this node carries out; undefined (also when left out): all. */
    readonly slots?: () => readonly number[] | undefined;
    /** Whether a slot is one of these; left out: yes. */
    readonly owns?: (slot: number) => boolean;
    readonly onError?: (row: OutboxRow, error: unknown) => void;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#runners = new Map(Object.entries(options.runners));
    this.#tell = options.tell;
    this.#slots = options.slots ?? (() => undefined);
    this.#owns = options.owns ?? (() => true);
    this.#onError = options.onError ?? (() => {});
  }

  /** Takes up what an earlier process left. */
  async start(): Promise<void> {
    await this.#read();
  }

  flushed(address: Address, entry: JournalEntry): void {
    for (const id of entry.outboxDone ?? []) this.#known.delete(id);
    for (const row of entry.outbox ?? []) this.#enqueue(address, row, false);
  }

  get depth(): number {
    return this.#queue.length + this.#running;
  }

  /** This node has other slots than before: what waits for those it lost is left to their owner, what those it gained left is taken up. */
  moved(lost: ReadonlySet<number>): void {
    if (lost.size > 0) {
      const kept = this.#queue.filter(({ address }) => !lost.has(slotOf(address)));
      this.#queue.splice(0, this.#queue.length, ...kept);
      for (const [id, { slot }] of this.#known) if (lost.has(slot)) this.#known.delete(id);
    }
    if (this.#closed) return;
    if (this.#recheck === undefined) {
      this.#stale = true;
      return;
    }
    this.#recheck();
    this.#recheck = this.#clock.after(nextPageMs, () => void this.#read().catch(() => {}));
  }

  close(): void {
    this.#closed = true;
    this.#recheck?.();
    this.#queue.length = 0;
  }

  async #read(): Promise<void> {
    this.#recheck = undefined;
    let again = recheckMs;
    try {
      // Known rows stand in front: without room for them, as many that nobody can carry out would hide all others for ever.
      const limit = this.#known.size + pageSize;
      const rows = await this.#store.outbox(limit, this.#slots());
      for (const { address, ...row } of rows) {
        const toldAt = this.#known.get(row.id)?.toldAt;
        // Told long ago and still there: its actor could not commit the outcome. Carry it out again; the id is the same.
        if (toldAt === undefined || (toldAt > 0 && toldAt < this.#clock.monotonic() - recheckMs)) this.#enqueue(address, row, true);
      }
      if (rows.length >= limit || this.#stale) again = nextPageMs;
      this.#stale = false;
    } finally {
      if (!this.#closed) this.#recheck = this.#clock.after(again, () => void this.#read().catch(() => {}));
    }
  }

  #enqueue(address: Address, row: OutboxRow, recovered: boolean): void {
    // Of a slot that has gone meanwhile, its owner takes the row up.
    if (this.#closed || !this.#owns(slotOf(address))) return;
    this.#known.set(row.id, { toldAt: 0, slot: slotOf(address) });
    this.#queue.push({ address, row, recovered });
    this.#pump();
  }

  #pump(): void {
    while (this.#running < concurrency) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#running++;
      void this.#run(next.address, next.row, next.recovered);
    }
  }

  #told(address: Address, row: OutboxRow): void {
    if (!this.#owns(slotOf(address))) this.#known.delete(row.id);
    else this.#known.set(row.id, { toldAt: Math.max(1, this.#clock.monotonic()), slot: slotOf(address) });
  }

  async #run(address: Address, row: OutboxRow, recovered: boolean): Promise<void> {
    const runner = this.#runners.get(row.type);
    try {
      if (runner === undefined) throw new Error(`no runner for the effect ${row.type}`);
      const outcome = await runner(row, { recovered });
      this.#told(address, row);
      if (!this.#closed)
        this.#tell(address, { type: 'outbox.done', input: { ...row, outcome }, who: null, reply: noReply, repeatable: true });
    } catch (error) {
      this.#told(address, row);
      this.#onError(row, error);
    } finally {
      this.#running--;
      this.#pump();
    }
  }
}
