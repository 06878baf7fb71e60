/**
 * Durable timers: rows written with the state that set them, fired as the internal event `timer.fired {id}` to their actor,
 * which steps and deletes the row in the same commit. At least once in delivery, once in effect. Near ones are also held in
 * memory; the table is read again every minute, so a timer set by a node that died fires on the next. However many rows
 * wait, and however many of them cannot be carried out, each read goes past those that are known to the ones that are not.
 * With other nodes, each fires those of its own slots.
 */
import type { ActorStore, Address, CancelTimer, Clock, JournalEntry } from '../ports.ts';
import { type Message, noReply } from './message.ts';
import { slotOf } from './slots.ts';

const horizonMs = 10 * 60_000;
const rereadMs = 60_000;
/** New timers taken up at once; after a full page the rest follows soon, so that a restart does not wake every actor in one turn. */
const pageSize = 1_000;
const nextPageMs = 250;
/** A fired timer whose actor could not commit is fired again after this. */
const againMs = 5_000;

export class Timers {
  readonly #store: ActorStore;
  readonly #clock: Clock;
  readonly #tell: (address: Address, message: Message) => void;
  readonly #slots: () => readonly number[] | undefined;
  readonly #owns: (slot: number) => boolean;
  readonly #armed = new Map<string, { dueAt: number; cancel: CancelTimer; slot: number }>();
  #reread: CancelTimer | undefined;
  /** Slots changed while the table was being read. */
  #stale = false;
  #closed = false;

  constructor(options: {
    readonly store: ActorStore;
    readonly clock: Clock;
    readonly tell: (address: Address, message: Message) => void;
    /** The slots whose timers this node fires; undefined (also when left out): all. */
    readonly slots?: () => readonly number[] | undefined;
    /** Whether a slot is one of these; left out: yes. */
    readonly owns?: (slot: number) => boolean;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#tell = options.tell;
    this.#slots = options.slots ?? (() => undefined);
    this.#owns = options.owns ?? (() => true);
  }

  /** Reads what is due soon; what is overdue fires at once. */
  async start(): Promise<void> {
    await this.#read();
  }

  /** Follows a flushed entry: arms its timers, forgets those it deleted. */
  flushed(address: Address, entry: JournalEntry): void {
    for (const id of entry.timersDone ?? []) this.#disarm(address, id);
    for (const timer of entry.timers ?? []) this.#arm(address, timer.id, timer.dueAt);
  }

  /** This node has other slots than before: forgets the timers of those it lost, and reads those of the ones it gained. */
  moved(lost: ReadonlySet<number>): void {
    if (lost.size > 0) {
      for (const [key, { cancel, slot }] of this.#armed) {
        if (!lost.has(slot)) continue;
        cancel();
        this.#armed.delete(key);
      }
    }
    if (this.#closed) return;
    if (this.#reread === undefined) {
      this.#stale = true;
      return;
    }
    this.#reread();
    this.#reread = this.#clock.after(nextPageMs, () => void this.#read().catch(() => {}));
  }

  close(): void {
    this.#closed = true;
    this.#reread?.();
    for (const { cancel } of this.#armed.values()) cancel();
    this.#armed.clear();
  }

  async #read(): Promise<void> {
    this.#reread = undefined;
    let again = rereadMs;
    try {
      // Those armed here stand in the table too, most of them first.
      const rows = this.#armed.size + pageSize;
      const due = await this.#store.timers(this.#clock.now() + horizonMs, rows, this.#slots());
      for (const { address, id, dueAt } of due) {
        // Another instant than the one armed: set anew on the way here, or by a flush that the read overtook; the next read settles it.
        if (this.#armed.get(`${address}|${id}`)?.dueAt !== dueAt) this.#arm(address, id, dueAt);
      }
      if (due.length >= rows || this.#stale) again = nextPageMs;
      this.#stale = false;
    } finally {
      if (!this.#closed) this.#reread = this.#clock.after(again, () => void this.#read().catch(() => {}));
    }
  }

  #arm(address: Address, id: string, dueAt: number): void {
    this.#disarm(address, id);
    const wait = dueAt - this.#clock.now();
    // A slot may have gone while its rows were read or written.
    if (this.#closed || wait > horizonMs || !this.#owns(slotOf(address))) return;
    const cancel = this.#clock.after(Math.max(0, wait), () => this.#fire(address, id, dueAt));
    this.#armed.set(`${address}|${id}`, { dueAt, cancel, slot: slotOf(address) });
  }

  #disarm(address: Address, id: string): void {
    this.#armed.get(`${address}|${id}`)?.cancel();
    this.#armed.delete(`${address}|${id}`);
  }

  #fire(address: Address, id: string, dueAt: number): void {
    if (this.#closed) return;
    const cancel = this.#clock.after(againMs, () => this.#fire(address, id, dueAt));
    this.#armed.set(`${address}|${id}`, { dueAt, cancel, slot: slotOf(address) });
    this.#tell(address, { type: 'timer.fired', input: { id, dueAt }, who: null, reply: noReply, repeatable: true });
  }
}
