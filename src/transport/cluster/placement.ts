/**
 * Which slots this node takes and gives. It claims those whose owner is gone, at once where a message waits for one; it hands slots
 * over to the node their traffic comes from, so that a user's actors follow their sessions; and it evens out what nobody uses.
 * At most `movesPerView` slots move on purpose with each renewal of the lease.
 */
import type { CancelTimer, Clock, Membership } from '../../actors/ports.ts';
import type { Registry } from '../../actors/runtime/registry.ts';
import type { Router } from '../../actors/runtime/router.ts';
import type { SlotTable } from '../../actors/runtime/slot-table.ts';
import { slotCount } from '../../actors/runtime/slots.ts';
import type { Logger } from '../../log.ts';
import type { ClusterView, Lease } from './lease.ts';
import { preferred } from './rendezvous.ts';

export interface PlacementOptions {
  readonly bootId: string;
  readonly name: string;
  readonly membership: Membership;
  readonly lease: Lease;
  readonly slots: SlotTable;
  readonly registry: Registry;
  readonly router: Router;
  readonly clock: Clock;
  readonly log: Logger;
  /** Timers and effects of these slots are no longer (or now) this node's. */
  readonly moved: (lost: ReadonlySet<number>) => void;
  /** Tells a node that slots are its own now. */
  readonly grant: (node: string, slots: readonly { readonly slot: number; readonly epoch: number }[]) => void;
  readonly observe?: { moves(kind: 'claimed' | 'given' | 'received' | 'lost', count: number): void };
}

const movesPerView = 64;
const claimsPerView = 256;
/** A slot that nobody claimed for so many renewals is anybody's. */
const viewsBeforeAnybody = 2;
/** Requests in a slot between two renewals that make it busy, and the share of one node that makes it follow. */
const busyRequests = 8;
const followShare = 0.6;
/** A slot that has moved stays for a while. */
const restMs = 10_000;
/** How long after a message that could not be delivered its slot is asked for: the owner looks every renewal. */
const wantedForMs = 4_000;
/** A statement whose answer was lost has ended by then: the server's own bound, and the way there. */
const statementEndsMs = 6_000;
const evictWithinMs = 2_000;
const quickMs = 50;
const settleEveryMs = 100;

export class Placement {
  readonly #options: PlacementOptions;
  readonly #asked = new Set<number>();
  readonly #restUntil = new Map<number, number>();
  readonly #wanted = new Map<number, number>();
  /** Slots whose hand-over had no answer, and when it has certainly ended. */
  readonly #unsure = new Map<number, number>();
  readonly #orphanFor = new Uint8Array(slotCount);
  #view: ClusterView | undefined;
  #settling = false;
  #settleSoon: CancelTimer | undefined;
  #settledAt = Number.NEGATIVE_INFINITY;
  #moving: Promise<unknown> = Promise.resolve();
  #busy = false;
  #closed = false;

  constructor(options: PlacementOptions) {
    this.#options = options;
  }

  /** Takes in what the database says, and acts on it. `sentAt`: when it was asked. */
  learn(view: ClusterView, sentAt: number): void {
    this.#view = view;
    const { slots, router } = this.#options;
    const { gained, lost, changed } = slots.learn(view.slots);
    this.#lost(lost);
    this.#gained(gained, 'received');
    for (const slot of changed) router.settled(slot);
    this.#makeSure(sentAt);
    for (let slot = 0; slot < slotCount; slot++) {
      this.#orphanFor[slot] = slots.stateOf(slot) === 'unowned' ? Math.min(255, (this.#orphanFor[slot] as number) + 1) : 0;
    }
  }

  /** The regular work, after each renewal: claim what is left alone, give what belongs elsewhere. */
  async tend(): Promise<void> {
    if (this.#busy || this.#closed || this.#view === undefined || !this.#options.lease.holds()) return;
    this.#busy = true;
    try {
      await this.#claimOrphans(this.#view);
      if (this.#options.lease.state === 'live') await this.#balance(this.#view);
    } finally {
      this.#busy = false;
    }
  }

  /** Another node says that slots are ours now. */
  granted(slots: readonly { readonly slot: number; readonly epoch: number }[]): void {
    this.#gained(
      slots.filter(({ slot, epoch }) => this.#options.slots.take(slot, epoch)).map(({ slot }) => slot),
      'received',
    );
  }

  /** The owner of a slot cannot be reached from here, though it lives: it is asked for the slot by way of the database. */
  unreachable(slot: number): void {
    if (this.#wanted.size < movesPerView || this.#wanted.has(slot)) this.#wanted.set(slot, this.#options.clock.monotonic() + wantedForMs);
  }

  /** Slots this node wants from owners it cannot reach, as long as there was a message for them a moment ago. */
  wanted(): number[] {
    const now = this.#options.clock.monotonic();
    for (const [slot, until] of this.#wanted) if (until <= now || this.#options.slots.stateOf(slot) !== 'away') this.#wanted.delete(slot);
    return [...this.#wanted.keys()];
  }

  /** A commit was refused: the slot is another node's. */
  fenced(slot: number): void {
    const { slots } = this.#options;
    const state = slots.stateOf(slot);
    if (state !== 'mine' && state !== 'leaving') return;
    slots.forget(slot);
    this.#lost([slot]);
    this.settle(slot);
  }

  /** Finds out who owns a slot, or takes it when nobody does; the router is told either way. */
  settle(slot: number): void {
    this.#asked.add(slot);
    if (this.#settling || this.#settleSoon !== undefined || this.#closed) return;
    const { clock } = this.#options;
    const wait = Math.max(0, this.#settledAt + settleEveryMs - clock.monotonic());
    this.#settleSoon = clock.after(wait, () => {
      this.#settleSoon = undefined;
      void this.#settleAsked();
    });
  }

  /** Gives all slots away, as far as there is anybody to take them and their actors come to rest within `boundMs`. */
  async giveAll(boundMs: number): Promise<void> {
    const { clock, slots, bootId } = this.#options;
    const until = clock.monotonic() + boundMs;
    while (slots.count > 0 && clock.monotonic() < until) {
      const others = this.#takers(bootId);
      if (others.size === 0) return;
      const names = [...others.keys()];
      const targets = new Map<string, number[]>();
      for (const slot of slots.mine().slice(0, 4 * movesPerView)) {
        const to = others.get(preferred(slot, names)) as string;
        targets.set(to, [...(targets.get(to) ?? []), slot]);
      }
      await this.#move(targets, Math.min(evictWithinMs, Math.max(0, until - clock.monotonic())));
    }
  }

  close(): void {
    this.#closed = true;
    this.#settleSoon?.();
  }

  // --- taking ---------------------------------------------------------------------------------------------------------------------

  async #settleAsked(): Promise<void> {
    const { lease, slots, router, clock } = this.#options;
    const asked = [...this.#asked];
    this.#asked.clear();
    this.#settling = true;
    try {
      const orphans = asked.filter((slot) => slots.stateOf(slot) === 'unowned');
      const won = orphans.length > 0 && lease.holds() && !lease.regained ? await this.#claim(orphans) : 0;
      if (won < asked.length) await lease.renew();
    } finally {
      this.#settling = false;
      this.#settledAt = clock.monotonic();
      for (const slot of asked) router.settled(slot);
      const [more] = this.#asked;
      if (more !== undefined) this.settle(more);
    }
  }

  async #claimOrphans({ nodes }: ClusterView): Promise<void> {
    const { slots, name, lease } = this.#options;
    if (lease.state !== 'live' || lease.regained) return;
    const names = nodes.filter(({ state, drainRequested }) => state === 'live' && !drainRequested).map((node) => node.name);
    const wanted: number[] = [];
    for (const slot of slots.unowned()) {
      const anybodys = (this.#orphanFor[slot] as number) > viewsBeforeAnybody;
      if (anybodys || names.length === 0 || preferred(slot, names) === name) wanted.push(slot);
      if (wanted.length >= claimsPerView) break;
    }
    if (wanted.length > 0) await this.#claim(wanted);
  }

  /** Gives how many are ours now. */
  async #claim(wanted: readonly number[]): Promise<number> {
    const { membership, bootId, slots, log } = this.#options;
    try {
      const claimed = await membership.claim(bootId, wanted);
      const fresh = claimed.filter(({ slot, epoch }) => slots.take(slot, epoch)).map(({ slot }) => slot);
      this.#gained(fresh, 'claimed');
      return claimed.length;
    } catch (error) {
      log.warn({ event: 'cluster.claim_failed', err: error }, 'slots could not be claimed');
      return 0;
    }
  }

  #gained(gained: readonly number[], how: 'claimed' | 'received'): void {
    if (gained.length === 0) return;
    const { moved, router, observe, log } = this.#options;
    observe?.moves(how, gained.length);
    log.info({ event: 'cluster.slots_gained', kind: how, count: gained.length }, 'this node has more slots');
    // What another node gave has just moved; what nobody had may go where it belongs at once.
    if (how === 'received') this.#rest(gained);
    moved(new Set());
    for (const slot of gained) router.settled(slot);
  }

  #lost(lost: readonly number[]): void {
    if (lost.length === 0) return;
    const { registry, moved, observe, log } = this.#options;
    observe?.moves('lost', lost.length);
    log.warn({ event: 'cluster.slots_lost', count: lost.length }, 'another node has taken slots of this one');
    const set = new Set(lost);
    moved(set);
    registry.lose(set);
  }

  // --- giving ---------------------------------------------------------------------------------------------------------------------

  /** Live nodes but this one, by name, with their boot ids. */
  #takers(self: string): Map<string, string> {
    const takers = new Map<string, string>();
    for (const { bootId, name, state, drainRequested } of this.#view?.nodes ?? []) {
      if (bootId !== self && state === 'live' && !drainRequested) takers.set(name, bootId);
    }
    return takers;
  }

  async #balance(view: ClusterView): Promise<void> {
    const { bootId, slots, router, clock } = this.#options;
    const takers = this.#takers(bootId);
    const ids = new Set(takers.values());
    const now = clock.monotonic();
    const targets = new Map<string, number[]>();
    let moves = 0;
    const quiet: number[] = [];
    for (const slot of slots.mine()) {
      let total = router.local[slot] as number;
      let most = 0;
      let from = '';
      for (const [node, counts] of router.remote) {
        const count = counts[slot] as number;
        total += count;
        if (count > most && ids.has(node)) {
          most = count;
          from = node;
        }
      }
      if ((this.#restUntil.get(slot) ?? 0) > now) continue;
      if (total < busyRequests) quiet.push(slot);
      else if (most / total > followShare && moves < movesPerView) {
        moves++;
        targets.set(from, [...(targets.get(from) ?? []), slot]);
      }
    }
    // Half of what was counted is remembered: one quiet moment forgets nothing, a quiet minute all.
    halve(router.local);
    for (const [node, counts] of router.remote) {
      if (ids.has(node)) halve(counts);
      else router.remote.delete(node);
    }
    for (const { bootId: to, load } of view.nodes) {
      if (!ids.has(to)) continue;
      for (const slot of wantedIn(load)) {
        if (slots.stateOf(slot) !== 'mine' || moves >= movesPerView || (this.#restUntil.get(slot) ?? 0) > now) continue;
        moves++;
        targets.set(to, [...(targets.get(to) ?? []), slot]);
      }
    }
    if (takers.size > 0) this.#even(view, takers, quiet, movesPerView - moves, targets);
    if (targets.size > 0) await this.#move(targets, evictWithinMs);
  }

  /** Quiet slots above this node's share go to nodes below theirs. */
  #even(
    view: ClusterView,
    takers: ReadonlyMap<string, string>,
    quiet: readonly number[],
    most: number,
    targets: Map<string, number[]>,
  ): void {
    const share = slotCount / (takers.size + 1);
    const slack = Math.max(8, share / 10);
    let surplus = Math.min(most, this.#options.slots.count - Math.ceil(share + slack));
    if (surplus <= 0) return;
    const owned = new Map<string, number>();
    for (const { owner } of view.slots) if (owner !== null) owned.set(owner, (owned.get(owner) ?? 0) + 1);
    for (const slot of quiet) {
      if (surplus <= 0) return;
      const poor = [...takers].filter(([, id]) => (owned.get(id) ?? 0) < share).map(([name]) => name);
      if (poor.length === 0) return;
      const to = takers.get(preferred(slot, poor)) as string;
      targets.set(to, [...(targets.get(to) ?? []), slot]);
      owned.set(to, (owned.get(to) ?? 0) + 1);
      surplus--;
    }
  }

  /** Hands slots over, by the node they go to: requests wait, the actors come to rest, the database moves them, the requests follow. */
  #move(targets: ReadonlyMap<string, readonly number[]>, withinMs: number): Promise<void> {
    const done = this.#moving.then(async () => {
      const { slots, registry, moved } = this.#options;
      let leaving = [...targets.values()].flat().filter((slot) => slots.leave(slot));
      // Most are empty at once; those need not wait for the slowest actor of another slot.
      for (const boundMs of [Math.min(withinMs, quickMs), withinMs]) {
        if (leaving.length === 0) return;
        const last = boundMs === withinMs;
        const empty = new Set(await registry.evict(leaving, boundMs));
        const busy = leaving.filter((slot) => !empty.has(slot));
        for (const slot of [...empty]) if (!slots.seal(slot)) empty.delete(slot);
        if (last) this.#keep(busy);
        if (empty.size > 0) {
          moved(empty);
          for (const [to, wanted] of targets) {
            const sealed = wanted.filter((slot) => empty.has(slot));
            if (sealed.length > 0) await this.#handOver(to, sealed);
          }
        }
        if (last) return;
        leaving = busy;
      }
    });
    this.#moving = done.catch(() => {});
    return done;
  }

  /** Slots whose actors do not come to rest stay, and are not asked again for a while: their requests have waited enough. */
  #keep(busy: readonly number[]): void {
    const { slots, router } = this.#options;
    this.#rest(busy);
    for (const slot of busy) {
      slots.stay(slot);
      router.settled(slot);
    }
  }

  async #handOver(to: string, sealed: readonly number[]): Promise<void> {
    const { membership, bootId, slots, router, grant, observe, log, moved, clock } = this.#options;
    try {
      const given = await membership.handOver(bootId, to, sealed);
      for (const { slot, epoch } of given) slots.give(slot, to, epoch);
      if (given.length > 0) {
        grant(to, given);
        observe?.moves('given', given.length);
        log.info({ event: 'cluster.slots_given', count: given.length, nodeId: to }, 'slots were handed over');
      }
    } catch (error) {
      // It may have happened, or happen yet. Until that is over they are nobody's: not ours to answer for, nor known to be another's.
      log.warn({ event: 'cluster.hand_over_failed', err: error }, 'slots could not be handed over, or nobody said so');
      const sureAt = clock.monotonic() + statementEndsMs;
      for (const slot of sealed) this.#unsure.set(slot, sureAt);
      return;
    }
    const kept = sealed.filter((slot) => slots.stateOf(slot) === 'sealed');
    this.#rest(kept);
    for (const slot of kept) slots.stay(slot);
    if (kept.length > 0) moved(new Set());
    for (const slot of sealed) router.settled(slot);
  }

  /** Slots whose hand-over had no answer stay, once a view that was asked for after its end still says they are ours. */
  #makeSure(sentAt: number): void {
    const { slots, router, moved } = this.#options;
    const ours: number[] = [];
    for (const [slot, sureAt] of this.#unsure) {
      const sealed = slots.stateOf(slot) === 'sealed';
      if (sealed && sentAt < sureAt) continue;
      this.#unsure.delete(slot);
      if (!sealed) continue;
      slots.stay(slot);
      ours.push(slot);
    }
    if (ours.length === 0) return;
    this.#rest(ours);
    moved(new Set());
    for (const slot of ours) router.settled(slot);
  }

  #rest(slots: readonly number[]): void {
    const until = this.#options.clock.monotonic() + restMs;
    for (const slot of slots) this.#restUntil.set(slot, until);
  }
}

/** Slots that a node asks for in what it tells of itself. */
function wantedIn(load: unknown): readonly number[] {
  const { wants } = (load ?? {}) as { wants?: unknown };
  return Array.isArray(wants) ? wants.filter((slot): slot is number => Number.isInteger(slot) && slot >= 0 && slot < slotCount) : [];
}

function halve(counts: Float64Array): void {
  for (let slot = 0; slot < counts.length; slot++) counts[slot] = Math.floor((counts[slot] as number) / 2);
}
