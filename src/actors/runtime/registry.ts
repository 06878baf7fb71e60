/**
 * Finds or wakes the actor of an address, passivates idle ones, and supervises: a failed activation is rebuilt from its last
 * flushed state, and after three failures in a minute the actor is set aside and answers `SERVICE_UNAVAILABLE`.
 */
import { TmcpError } from '../../protocol/errors.ts';
import type { ActorStore, Address, CancelTimer, Clock, EventBus, Journal, JournalEntry } from '../ports.ts';
import { Activation, type FailureCause, type Host, type Unwanted } from './activation.ts';
import type { Behaviour } from './behaviour.ts';
import type { Message } from './message.ts';
import { slotOf } from './slots.ts';

export interface RegistryOptions {
  readonly journal: Journal;
  readonly store: ActorStore;
  readonly bus: EventBus;
  readonly clock: Clock;
  // biome-ignore lint/suspicious/noExplicitAny: each kind has a state type of its own
  readonly behaviours: readonly Behaviour<any>[];
  readonly mailboxLimit: number;
  readonly maxActors: number;
  readonly idleMs: number;
  /** How actors reach each other, and where messages go that a dropped actor had not begun. Default: this registry. */
  readonly tell?: (address: Address, message: Message) => void;
  /** Told of every entry that became durable: timers and the outbox listen. */
  readonly onFlushed?: (address: Address, entry: JournalEntry) => void;
  readonly observe?: RegistryObserver;
}

/** Where the registry reports; every member may be left out. */
export interface RegistryObserver {
  active?(kind: string, count: number): void;
  restarted?(kind: string, address: Address, error: unknown): void;
  quarantined?(kind: string, address: Address): void;
  /** A message was answered without being begun. */
  unwanted?(why: Unwanted): void;
  /** Messages waiting in all mailboxes, now and then. */
  depth?(total: number): void;
}

const failureWindowMs = 60_000;
const failuresBeforeQuarantine = 3;
/** How long a quarantined actor is left alone before one more try. */
const quarantineMs = 5 * 60_000;
const evictStepMs = 2;

export class Registry {
  readonly #options: RegistryOptions;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly #kinds = new Map<string, Behaviour<any>>();
  readonly #actors = new Map<Address, Activation<unknown>>();
  readonly #counts = new Map<string, number>();
  readonly #failures = new Map<Address, number[]>();
  readonly #quarantine = new Map<Address, number>();
  readonly #host: Host;
  readonly #waiting = { count: 0 };
  readonly #tell: (address: Address, message: Message) => void;
  /** Actors that were dropped with commits under way: the next activation waits for these to end. */
  readonly #ending = new Map<Address, Promise<void>>();
  /** Slots that are being emptied, with their actors in memory. */
  readonly #leaving = new Map<number, Set<Activation<unknown>>>();
  #sweep: CancelTimer | undefined;
  #closed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#tell = options.tell ?? ((address, message) => this.tell(address, message));
    for (const behaviour of options.behaviours) this.#kinds.set(behaviour.kind, behaviour);
    this.#host = {
      journal: options.journal,
      mailboxLimit: options.mailboxLimit,
      waiting: this.#waiting,
      now: () => options.clock.now(),
      monotonic: () => options.clock.monotonic(),
      later: (fn) => void setImmediate(fn),
      unwanted: (why) => options.observe?.unwanted?.(why),
      load: (address) => options.store.load(address),
      idempotency: (address, scope) => options.store.idempotency(address, scope),
      tell: (address, message) => this.#tell(address, message),
      publish: (event) => options.bus.publish(event),
      flushed: (address, entry) => options.onFlushed?.(address, entry),
      failed: (activation, error, cause) => this.#failed(activation, error, cause),
    };
    this.#scheduleSweep();
  }

  /** Actors in memory. */
  get size(): number {
    return this.#actors.size;
  }

  /** Messages that wait in mailboxes. */
  get waiting(): number {
    return this.#waiting.count;
  }

  /** The actor of an address, if it is in memory. */
  find(address: Address): Activation<unknown> | undefined {
    return this.#actors.get(address);
  }

  /** Delivers a message, waking the actor when it sleeps. Never throws: a refusal goes to the message's reply. */
  tell(address: Address, message: Message): void {
    const known = this.#actors.get(address);
    if (known !== undefined) {
      known.deliver(message);
      return;
    }
    const activation = this.#wake(address);
    if (activation instanceof TmcpError) message.reply(activation);
    else activation.deliver(message);
  }

  /** Drops actors that are idle; for tests and drain as well as the timer. Returns how many. */
  passivate(idleForMs: number): number {
    const before = this.#options.clock.now() - idleForMs;
    let dropped = 0;
    for (const [address, activation] of this.#actors) {
      if (activation.lastUsedAt > before || !activation.idle) continue;
      this.#forget(address, activation);
      dropped++;
    }
    return dropped;
  }

  /**
   * Empties slots: their actors finish what they have begun, are flushed and dropped. Resolves with the slots that are empty; those that
   * were not within `boundMs` go on as before. Requests must be kept away meanwhile.
   */
  async evict(slots: readonly number[], boundMs: number): Promise<number[]> {
    const { clock } = this.#options;
    for (const slot of slots) this.#leaving.set(slot, new Set());
    for (const activation of this.#actors.values()) this.#leaving.get(activation.slot)?.add(activation);
    const until = clock.monotonic() + boundMs;
    for (;;) {
      let left = 0;
      for (const slot of slots) {
        const actors = this.#leaving.get(slot) ?? [];
        for (const activation of actors) if (activation.idle) this.#forget(activation.address, activation);
        left += [...actors].length;
      }
      if (left === 0 || clock.monotonic() >= until) break;
      await new Promise<void>((resolve) => clock.after(evictStepMs, resolve));
    }
    const empty = slots.filter((slot) => this.#leaving.get(slot)?.size === 0);
    for (const slot of slots) this.#leaving.delete(slot);
    return empty;
  }

  /** Drops the actors of slots that another node has taken. What they had not begun is sent on. */
  lose(slots: ReadonlySet<number>): void {
    // All first: what is sent on may wake an actor of the same address again.
    const lost = [...this.#actors].filter(([, activation]) => slots.has(activation.slot));
    const unbegun = lost.map(([address, activation]) => ({ address, messages: this.#end(address, activation) }));
    for (const { address, messages } of unbegun) for (const message of messages) this.#tell(address, message);
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.();
  }

  #wake(address: Address): Activation<unknown> | TmcpError {
    const kind = address.slice(0, address.indexOf(':'));
    const behaviour = this.#kinds.get(kind);
    if (behaviour === undefined) return new TmcpError('INTERNAL_ERROR', undefined, { cause: new Error(`no actor kind ${kind}`) });
    const until = this.#quarantine.get(address);
    if (until !== undefined) {
      const left = until - this.#options.clock.now();
      if (left > 0) return new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: Math.ceil(left / 1000) });
      this.#quarantine.delete(address);
    }
    if (this.#closed || (this.#actors.size >= this.#options.maxActors && this.passivate(1_000) === 0)) {
      return new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 });
    }
    const activation = new Activation<unknown>(address, behaviour, slotOf(address), this.#host, this.#ending.get(address));
    this.#actors.set(address, activation);
    if (this.#leaving.size > 0) this.#leaving.get(activation.slot)?.add(activation);
    this.#count(kind, 1);
    return activation;
  }

  #failed(activation: Activation<unknown>, error: unknown, cause: FailureCause): void {
    const { address } = activation;
    if (this.#actors.get(address) !== activation) return;
    const waiting = this.#end(address, activation);
    const { kind } = activation.behaviour;
    this.#options.observe?.restarted?.(kind, address, error);
    const aside = cause === 'step' && this.#setAside(kind, address);
    // What could not be loaded is tried again with the next message, not in a loop.
    if (cause !== 'load' && !aside && !this.#closed) {
      for (const message of waiting) this.#tell(address, message);
      return;
    }
    for (const message of waiting)
      message.reply(new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: aside ? quarantineMs / 1000 : 1 }));
  }

  /** Counts a failure; true when the actor is set aside for it. */
  #setAside(kind: string, address: Address): boolean {
    const now = this.#options.clock.now();
    const recent = (this.#failures.get(address) ?? []).filter((at) => at > now - failureWindowMs);
    recent.push(now);
    this.#failures.set(address, recent);
    if (this.#failures.size > 10_000) this.#failures.delete(this.#failures.keys().next().value as Address);
    if (recent.length < failuresBeforeQuarantine) return false;
    this.#failures.delete(address);
    this.#quarantine.set(address, now + quarantineMs);
    this.#options.observe?.quarantined?.(kind, address);
    return true;
  }

  /** Drops an activation that may have commits under way: the next one must not read what this one is still writing. */
  #end(address: Address, activation: Activation<unknown>): Message[] {
    const waiting = this.#forget(address, activation);
    if (activation.isQuiet) return waiting;
    const quiet = activation.whenQuiet();
    this.#ending.set(address, quiet);
    void quiet.then(() => {
      if (this.#ending.get(address) === quiet) this.#ending.delete(address);
    });
    return waiting;
  }

  #forget(address: Address, activation: Activation<unknown>): Message[] {
    this.#actors.delete(address);
    if (this.#leaving.size > 0) this.#leaving.get(activation.slot)?.delete(activation);
    this.#count(activation.behaviour.kind, -1);
    return activation.drop();
  }

  #count(kind: string, by: number): void {
    const count = (this.#counts.get(kind) ?? 0) + by;
    this.#counts.set(kind, count);
    this.#options.observe?.active?.(kind, count);
  }

  #scheduleSweep(): void {
    this.#sweep = this.#options.clock.after(Math.max(250, this.#options.idleMs / 4), () => {
      this.passivate(this.#options.idleMs);
      if (this.#options.observe?.depth !== undefined) {
        let waiting = 0;
        for (const activation of this.#actors.values()) waiting += activation.depth;
        this.#options.observe.depth(waiting);
      }
      const now = this.#options.clock.now();
      for (const [address, until] of this.#quarantine) if (until <= now) this.#quarantine.delete(address);
      if (!this.#closed) this.#scheduleSweep();
    });
  }
}
