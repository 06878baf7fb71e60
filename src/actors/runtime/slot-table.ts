/**
 * What this node knows of who owns which slot. Knowledge is ordered by a slot's epoch, which never goes down: an answer that
 * was overtaken by a later one changes nothing. Pure data; who learns and who acts on it is in `transport/cluster/`.
 */
import { slotCount } from './slots.ts';

/**
 * `mine`: this node runs its actors. `leaving`: still, but it is about to hand them over and takes no new requests. `sealed`: its actors
 * are gone and the new owner is being written. `away`: another node's. `unowned`: nobody's who lives.
 */
export type SlotState = 'mine' | 'leaving' | 'sealed' | 'away' | 'unowned';

export interface SlotFact {
  readonly owner: string | null;
  readonly epoch: number;
  /** The owner has a live lease. */
  readonly leased: boolean;
}

/** Slots whose state another node's doing changed. */
export interface SlotChanges {
  readonly gained: readonly number[];
  readonly lost: readonly number[];
  /** Any other change: where messages for them go may be known now. */
  readonly changed: readonly number[];
}

export class SlotTable {
  readonly #self: string;
  readonly #state: SlotState[] = Array.from({ length: slotCount }, () => 'unowned');
  readonly #epoch = new Float64Array(slotCount);
  readonly #owner: (string | null)[] = Array.from({ length: slotCount }, () => null);
  #restless = 0;
  #mine = 0;

  /** `self`: this node's boot id. */
  constructor(self: string) {
    this.#self = self;
  }

  /** Slots that are leaving or sealed: while there are none, whoever has an actor in memory may deliver to it unasked. */
  get restless(): number {
    return this.#restless;
  }

  /** Slots whose actors this node runs. */
  get count(): number {
    return this.#mine;
  }

  stateOf(slot: number): SlotState {
    return this.#state[slot] as SlotState;
  }

  ownerOf(slot: number): string | null {
    return this.#owner[slot] as string | null;
  }

  /** The epoch under which this node may write; 0, which no slot has, where it may not. */
  epochOf(slot: number): number {
    const state = this.#state[slot];
    return state === 'mine' || state === 'leaving' ? (this.#epoch[slot] as number) : 0;
  }

  /** The newest epoch heard of. */
  newestEpoch(slot: number): number {
    return this.#epoch[slot] as number;
  }

  mine(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < slotCount; slot++) if (this.#state[slot] === 'mine' || this.#state[slot] === 'leaving') slots.push(slot);
    return slots;
  }

  unowned(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < slotCount; slot++) if (this.#state[slot] === 'unowned') slots.push(slot);
    return slots;
  }

  /** Takes in what the database says of all slots. */
  learn(facts: readonly SlotFact[]): SlotChanges {
    const gained: number[] = [];
    const lost: number[] = [];
    const changed: number[] = [];
    for (let slot = 0; slot < facts.length; slot++) {
      const { owner, epoch, leased } = facts[slot] as SlotFact;
      const known = this.#epoch[slot] as number;
      const before = this.#state[slot] as SlotState;
      if (epoch < known) continue;
      if (epoch === known && (before === 'mine' || before === 'leaving' || before === 'sealed')) {
        // Another node may have been the owner of this epoch in a sealed slot; ours stays ours.
        if (owner === this.#self) continue;
      }
      const held = before === 'mine' || before === 'leaving';
      // A new epoch of ours that we did not take ourselves: what is in memory may be behind what is stored.
      if (held && (owner !== this.#self || epoch !== known)) lost.push(slot);
      const next: SlotState = owner === this.#self ? 'mine' : owner !== null && leased ? 'away' : 'unowned';
      if (next === 'mine') gained.push(slot);
      if (next !== before || this.#owner[slot] !== owner) changed.push(slot);
      this.#set(slot, next, owner, epoch);
    }
    return { gained, lost, changed };
  }

  /** One slot became this node's. False when something newer is known. */
  take(slot: number, epoch: number): boolean {
    if (epoch < (this.#epoch[slot] as number)) return false;
    if (epoch === this.#epoch[slot] && (this.#state[slot] === 'mine' || this.#state[slot] === 'leaving')) return false;
    this.#set(slot, 'mine', this.#self, epoch);
    return true;
  }

  /** This node begins to give a slot away. False when it has not got it. */
  leave(slot: number): boolean {
    if (this.#state[slot] !== 'mine') return false;
    this.#set(slot, 'leaving', this.#self, this.#epoch[slot] as number);
    return true;
  }

  /** A slot that was leaving has no actors left. */
  seal(slot: number): boolean {
    if (this.#state[slot] !== 'leaving') return false;
    this.#set(slot, 'sealed', this.#self, this.#epoch[slot] as number);
    return true;
  }

  /** A slot that was to go stays. */
  stay(slot: number): void {
    if (this.#state[slot] === 'leaving' || this.#state[slot] === 'sealed') this.#set(slot, 'mine', this.#self, this.#epoch[slot] as number);
  }

  /** A slot went to another node. */
  give(slot: number, owner: string, epoch: number): void {
    if (epoch >= (this.#epoch[slot] as number)) this.#set(slot, 'away', owner, epoch);
  }

  /** A slot is no longer this node's, and whose it is has to be found out. */
  forget(slot: number): void {
    this.#set(slot, 'unowned', null, this.#epoch[slot] as number);
  }

  #set(slot: number, state: SlotState, owner: string | null, epoch: number): void {
    const before = this.#state[slot] as SlotState;
    if (isRestless(before)) this.#restless--;
    if (isRestless(state)) this.#restless++;
    if (before === 'mine' || before === 'leaving') this.#mine--;
    if (state === 'mine' || state === 'leaving') this.#mine++;
    this.#state[slot] = state;
    this.#owner[slot] = owner;
    this.#epoch[slot] = epoch;
  }
}

function isRestless(state: SlotState): boolean {
  return state === 'leaving' || state === 'sealed';
}
