/**
 * Nodes that join, stop for seconds, lose answers and come back, on a membership as the database keeps it, under one clock. Whatever happens,
 * no slot has two nodes that would both answer for it; when the trouble is over, every slot has one again.
 */
import { describe, expect, it } from 'vitest';
import type { CancelTimer, ClusterNode, Clock, Membership } from '../../src/actors/ports.ts';
import type { Behaviour } from '../../src/actors/runtime/behaviour.ts';
import { UserLimiter } from '../../src/actors/runtime/limiter.ts';
import { Registry } from '../../src/actors/runtime/registry.ts';
import { Router } from '../../src/actors/runtime/router.ts';
import { SlotTable } from '../../src/actors/runtime/slot-table.ts';
import { slotCount } from '../../src/actors/runtime/slots.ts';
import { createLogger } from '../../src/log.ts';
import { Lease } from '../../src/transport/cluster/lease.ts';
import { Placement } from '../../src/transport/cluster/placement.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { createMemoryJournal } from '../support/memory-journal.ts';

const leaseMs = 5_000;
const log = createLogger({ logLevel: 'silent' } as never);
/** Few slots are enough, and quick: the others belong to nobody who matters. */
const watched = 48;

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The rules of migrations/0004-cluster.sql, each call at one instant. */
class World {
  readonly clock = new ManualClock();
  readonly leases = new Map<string, { until: number; draining: boolean }>();
  readonly owners: { owner: string | null; epoch: number }[] = Array.from({ length: slotCount }, () => ({ owner: null, epoch: 0 }));

  lives(id: string | null): boolean {
    return id !== null && (this.leases.get(id)?.until ?? 0) > this.clock.monotonic();
  }

  view() {
    const now = this.clock.monotonic();
    const nodes: ClusterNode[] = [...this.leases]
      .filter(([id]) => this.lives(id))
      .map(([bootId, { until, draining }]) => ({
        bootId,
        name: bootId,
        version: '1',
        peerHost: '',
        peerPort: 0,
        httpUrl: '',
        state: draining ? ('draining' as const) : ('live' as const),
        drainRequested: false,
        startedAt: 0,
        leaseLeftMs: until - now,
        load: {},
      }));
    return { nodes, slots: this.owners.map(({ owner, epoch }) => ({ owner, epoch, leased: this.lives(owner) })), drainRequested: false };
  }

  move(slots: readonly number[], to: string, may: (owner: string | null) => boolean) {
    return slots.flatMap((slot) => {
      const row = this.owners[slot] as { owner: string | null; epoch: number };
      if (row.owner === to) return [{ slot, epoch: row.epoch }];
      if (!may(row.owner)) return [];
      row.owner = to;
      row.epoch++;
      return [{ slot, epoch: row.epoch }];
    });
  }
}

class SimNode {
  readonly id: string;
  readonly slots: SlotTable;
  readonly lease: Lease;
  readonly placement: Placement;
  /** Stopped: its timers do not run until it goes on. Its own clock goes on all the same. */
  stopped = false;
  lossy = 0;
  readonly #late: (() => void)[] = [];

  constructor(id: string, world: World, random: () => number) {
    this.id = id;
    this.slots = new SlotTable(id);
    const { clock: real } = world;
    const run = (fn: () => void): void => {
      if (this.stopped) this.#late.push(fn);
      else fn();
    };
    const clock: Clock = {
      now: () => real.now(),
      monotonic: () => real.monotonic(),
      after: (ms, fn): CancelTimer => {
        let live = true;
        const cancel = real.after(ms, () => run(() => live && fn()));
        return () => {
          live = false;
          cancel();
        };
      },
    };
    /** A call takes its time there and back; it may be lost on either way, and is done all the same when it was lost on the way back. */
    const call = <T>(work: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        const lostThere = random() < this.lossy;
        const lostBack = random() < this.lossy;
        real.after(random() * 60, () => {
          const done = lostThere ? undefined : { value: work() };
          real.after(random() * 60 + (random() < 0.05 ? 1_500 : 0), () =>
            run(() => (done === undefined || lostBack ? reject(new Error('lost')) : resolve(done.value))),
          );
        });
      });
    const membership: Membership = {
      join: () => call(() => void world.leases.set(id, { until: world.clock.monotonic() + leaseMs, draining: false })),
      heartbeat: (boot, state) =>
        call(() => {
          const row = world.leases.get(boot);
          if (row === undefined) return undefined;
          row.until = world.clock.monotonic() + leaseMs;
          row.draining = state === 'draining';
          return world.view();
        }),
      claim: (boot, slots) => call(() => (world.lives(boot) ? world.move(slots, boot, (owner) => !world.lives(owner)) : [])),
      handOver: (from, to, slots) =>
        call(() => (world.lives(to) && world.leases.get(to)?.draining === false ? world.move(slots, to, (owner) => owner === from) : [])),
      leave: async () => {},
    };
    const behaviour: Behaviour<object> = { kind: 'none', machineVersion: 1, load: () => ({}), receive: () => {} };
    const journal = createMemoryJournal();
    const registry = new Registry({
      journal,
      store: journal,
      bus: { publish: () => {}, subscribe: () => () => {} },
      clock,
      behaviours: [behaviour],
      mailboxLimit: 1,
      maxActors: 1,
      idleMs: 3_600_000,
    });
    const router = new Router({
      registry,
      slots: this.slots,
      limiter: new UserLimiter(clock, 1),
      clock,
      holds: () => this.lease.holds(),
      elsewhere: { forward: () => {}, settle: () => {} },
    });
    this.lease = new Lease({
      bootId: id,
      membership,
      clock,
      log,
      load: () => ({}),
      leaseMs,
      onView: (view, sentAt) => {
        this.placement.learn(view, sentAt);
        void this.placement.tend();
      },
    });
    this.placement = new Placement({
      bootId: id,
      name: id,
      membership,
      lease: this.lease,
      slots: this.slots,
      registry,
      router,
      clock,
      log,
      moved: () => {},
      grant: () => {},
    });
    const start = (): void => void this.lease.start().catch(() => clock.after(500, start));
    start();
  }

  /** Goes on after a stop: what became due meanwhile comes at once. */
  go(): void {
    this.stopped = false;
    for (const fn of this.#late.splice(0)) fn();
  }

  /** Whether it would answer for a slot at this instant. A stopped node answers nothing until it goes on: what it would do then is what counts. */
  answersFor(slot: number): boolean {
    const state = this.slots.stateOf(slot);
    return (state === 'mine' || state === 'leaving') && this.lease.holds();
  }
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
};

async function simulate(seed: number, steps: number): Promise<{ moves: number; unowned: number }> {
  const random = randomOf(seed);
  const world = new World();
  const nodes = ['a', 'b', 'c', 'd'].map((id) => new SimNode(id, world, random));
  const check = (): void => {
    for (let slot = 0; slot < watched; slot++) {
      const answering = nodes.filter((node) => node.answersFor(slot));
      if (answering.length > 1)
        throw new Error(`seed ${seed}: slot ${slot} is answered for by ${answering.map(({ id }) => id).join(' and ')}`);
    }
  };
  const advance = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      world.clock.advance(50);
      await turns();
      check();
    }
  };
  await advance(4_000);
  for (let step = 0; step < steps; step++) {
    const node = nodes[Math.floor(random() * nodes.length)] as SimNode;
    const dice = random();
    if (dice < 0.3) node.stopped = true;
    else if (dice < 0.6) node.go();
    else if (dice < 0.8) node.lossy = random() < 0.5 ? 1 : random() * 0.6;
    else node.lossy = 0;
    check();
    await advance(200 + Math.floor(random() * 2_500));
  }
  // Liveness: all heal, in random order.
  for (const node of [...nodes].sort(() => random() - 0.5)) {
    node.lossy = 0;
    node.go();
    check();
    await advance(100);
  }
  await advance(20_000);
  const unowned = Array.from({ length: watched }, (_, slot) => nodes.filter((node) => node.answersFor(slot)).length).filter((n) => n !== 1);
  return { moves: world.owners.slice(0, watched).reduce((sum, { epoch }) => sum + epoch, 0), unowned: unowned.length };
}

describe('ownership of slots', () => {
  const seeds = Number(process.env['SIM_SEEDS'] ?? 12);
  it.each(Array.from({ length: seeds }, (_, index) => 1_000 + index))(
    '[A1] [A2] [C1] never has two nodes that answer for one slot, and heals (seed %i)',
    async (seed) => {
      const { moves, unowned } = await simulate(seed, 25);
      expect(moves).toBeGreaterThan(watched);
      expect(unowned).toBe(0);
    },
    60_000,
  );
});
