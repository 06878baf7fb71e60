/**
 * The way of a message to its actor, wherever that runs: here, on another node (one hop), or nowhere yet. What cannot go on at
 * the moment waits in order, within a bound and a deadline. A message is charged to its bucket where it is delivered. Alone, a
 * node owns every slot and all of this comes to one look-up.
 */
import { TmcpError } from '../../protocol/errors.ts';
import type { Address, CancelTimer, Clock } from '../ports.ts';
import { charge, type UserLimiter } from './limiter.ts';
import type { Message } from './message.ts';
import type { Registry } from './registry.ts';
import type { SlotTable } from './slot-table.ts';
import { slotCount, slotOf } from './slots.ts';

/**
 * Why a message was not taken by the node it was sent to. `moved`, `unreachable`: certainly not. `busy`: it has no room.
 * `late`: its time was over. `lost`: the link broke, and nobody knows.
 */
export type ForwardFailure = 'moved' | 'unreachable' | 'busy' | 'late' | 'lost';

/** The other nodes, as the router needs them. */
export interface Elsewhere {
  /** Sends a message to a node, with the time it has left. Either the message is answered or `failed` is called, once. */
  forward(node: string, address: Address, message: Message, leftMs: number, failed: (why: ForwardFailure) => void): void;
  /** Find out who owns a slot, or take it when nobody does; then call `Router.settled`. May be called again and again. */
  settle(slot: number): void;
}

export interface RouterOptions {
  readonly registry: Registry;
  readonly slots: SlotTable;
  readonly limiter: UserLimiter;
  readonly clock: Clock;
  /** This node may act for the slots it owns: nobody else can have taken them. */
  readonly holds: () => boolean;
  readonly elsewhere: Elsewhere;
  /** Messages that wait, all slots together. Default 20,000. */
  readonly maxWaiting?: number;
}

interface Waiting {
  /** About what it holds in memory; 0 until it waits. */
  bytes?: number;
  /** Order of arrival: what was sent back goes in front of what came later. */
  readonly turn: number;
  readonly address: Address;
  readonly message: Message;
  readonly until: number;
  /** A forwarded message: it is sent back instead of being sent on. */
  readonly moved: (() => void) | undefined;
}

/** How long a message may be on its way before it is answered `SERVICE_UNAVAILABLE`: a dead node's lease and its takeover fit in. */
const patienceMs = 12_000;
const sweepMs = 100;
const waitingBytes = 64 * 1024 * 1024;

export class Router {
  readonly #options: RouterOptions;
  readonly #waiting = new Map<number, Waiting[]>();
  /** Requests per slot since the last look: from sessions of this node, and by the node they came from. */
  readonly local = new Float64Array(slotCount);
  readonly remote = new Map<string, Float64Array>();
  readonly counters = { forwarded: 0, moved: 0, waited: 0, refused: 0 };
  #count = 0;
  #bytes = 0;
  #turn = 0;
  #sweep: CancelTimer | undefined;
  #closed = false;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Messages that wait for an owner. */
  get waiting(): number {
    return this.#count;
  }

  /** Delivers a message to its actor, or sends it to the node that has it. Never throws: a refusal goes to its reply. */
  tell(address: Address, message: Message): void {
    const { slots, registry } = this.#options;
    // An actor in memory is this node's: whoever loses its slot drops it.
    const known = slots.restless === 0 ? registry.find(address) : undefined;
    if (known !== undefined) {
      if (message.who !== null) this.local[known.slot] = (this.local[known.slot] as number) + 1;
      if (this.#admit(message)) known.deliver(message);
      return;
    }
    const slot = slotOf(address);
    if (message.who !== null) this.local[slot] = (this.local[slot] as number) + 1;
    this.#route(slot, { turn: ++this.#turn, address, message, until: this.#until(message), moved: undefined });
  }

  /** A message that another node sent here. `moved`: this node has not got the actor, and did nothing. */
  arrive(from: string, address: Address, message: Message, leftMs: number, moved: () => void): void {
    const slot = slotOf(address);
    let counts = this.remote.get(from);
    if (counts === undefined) {
      counts = new Float64Array(slotCount);
      this.remote.set(from, counts);
    }
    if (message.who !== null) counts[slot] = (counts[slot] as number) + 1;
    const { clock, slots } = this.#options;
    const until = clock.monotonic() + Math.min(leftMs, patienceMs);
    const item: Waiting = { turn: ++this.#turn, address, message, until, moved };
    const state = slots.stateOf(slot);
    // Who sent it may know more than we do: we ask once before it is sent back.
    if (state === 'away') this.#wait(slot, item, true);
    else this.#route(slot, item);
  }

  /** More is known of a slot: what waits for it goes on. */
  settled(slot: number): void {
    const room = this.#waiting.get(slot);
    if (room === undefined) return;
    this.#waiting.delete(slot);
    this.#left(room);
    for (const item of room) this.#route(slot, item);
  }

  /** Nothing waits here any more: what other nodes sent goes back to them, the rest is refused. */
  close(): void {
    this.#closed = true;
    this.#sweep?.();
    const rooms = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#count = 0;
    this.#bytes = 0;
    for (const room of rooms) for (const item of room) this.#giveUp(item);
  }

  #route(slot: number, item: Waiting): void {
    const { slots, elsewhere } = this.#options;
    const state = slots.stateOf(slot);
    // What the actors of a slot that leaves still ask of each other is let through, or they would never be done.
    if (state === 'mine' || (state === 'leaving' && item.message.who === null)) this.#here(item.address, item.message);
    else if (state === 'leaving' || state === 'sealed') this.#wait(slot, item, false);
    else if (state === 'unowned') this.#wait(slot, item, true);
    else if (item.moved !== undefined) {
      this.counters.moved++;
      item.moved();
    } else if (this.#waiting.has(slot)) this.#wait(slot, item, false);
    else {
      const left = item.until - this.#options.clock.monotonic();
      this.counters.forwarded++;
      elsewhere.forward(slots.ownerOf(slot) as string, item.address, item.message, left, (why) => this.#failed(slot, item, why));
    }
  }

  #failed(slot: number, item: Waiting, why: ForwardFailure): void {
    if (why === 'moved' || why === 'unreachable' || (why === 'lost' && item.message.repeatable === true)) this.#wait(slot, item, true);
    else this.#refuse(item.message);
  }

  #here(address: Address, message: Message): void {
    if (this.#admit(message)) this.#options.registry.tell(address, message);
  }

  /** Whether a message may go to an actor of this node; one that may not is answered. */
  #admit(message: Message): boolean {
    const { holds, limiter } = this.#options;
    if (!holds()) {
      this.#refuse(message);
      return false;
    }
    const refusal = message.limit === undefined ? undefined : charge(limiter, message.limit, message.onLimit);
    if (refusal === undefined) return true;
    message.reply(refusal);
    return false;
  }

  #wait(slot: number, item: Waiting, ask: boolean): void {
    if (this.#closed) {
      this.#giveUp(item);
      return;
    }
    if (this.#count >= (this.#options.maxWaiting ?? 20_000) || item.until <= this.#options.clock.monotonic()) {
      this.#refuse(item.message);
      return;
    }
    item.bytes ??= weigh(item.message.input);
    if (this.#bytes + item.bytes > waitingBytes) {
      this.#refuse(item.message);
      return;
    }
    this.counters.waited++;
    this.#count++;
    this.#bytes += item.bytes;
    const room = this.#waiting.get(slot);
    if (room === undefined) this.#waiting.set(slot, [item]);
    else {
      let at = room.length;
      while (at > 0 && (room[at - 1] as Waiting).turn > item.turn) at--;
      room.splice(at, 0, item);
    }
    this.#sweepSoon();
    if (ask) this.#options.elsewhere.settle(slot);
  }

  #left(items: readonly Waiting[]): void {
    this.#count -= items.length;
    for (const { bytes = 0 } of items) this.#bytes -= bytes;
  }

  #sweepSoon(): void {
    this.#sweep ??= this.#options.clock.after(sweepMs, () => {
      this.#sweep = undefined;
      const now = this.#options.clock.monotonic();
      for (const [slot, room] of this.#waiting) {
        const left = room.filter(({ until }) => until > now);
        if (left.length === room.length) continue;
        this.#left(room.filter(({ until }) => until <= now));
        if (left.length === 0) this.#waiting.delete(slot);
        else this.#waiting.set(slot, left);
        for (const { until, message } of room) if (until <= now) this.#refuse(message);
      }
      if (this.#count > 0) this.#sweepSoon();
    });
  }

  #giveUp({ message, moved }: Waiting): void {
    if (moved === undefined) this.#refuse(message);
    else moved();
  }

  #refuse(message: Message): void {
    this.counters.refused++;
    message.reply(new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }));
  }

  #until(message: Message): number {
    const until = this.#options.clock.monotonic() + patienceMs;
    return message.deadline === undefined ? until : Math.min(until, message.deadline);
  }
}

/** About how much an input holds: its texts and byte strings, and a little for each value. */
function weigh(input: unknown): number {
  let bytes = 64;
  const open: unknown[] = [input];
  while (open.length > 0) {
    const value = open.pop();
    bytes += 16;
    if (typeof value === 'string') bytes += 2 * value.length;
    else if (value instanceof Uint8Array) bytes += value.length;
    else if (typeof value === 'object' && value !== null) open.push(...Object.values(value));
  }
  return bytes;
}
