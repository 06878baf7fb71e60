/**
 * Seeded runs of payments on a simulated clock: crashes that lose what was not committed, commits that fail, a wallet that loses calls and
 * answers, clients that repeat themselves. Throughout and after everything has healed the money adds up, nobody was told an
 * untruth, and nothing is stuck. A failing seed stands in the message; it replays the same run.
 */
import { describe, expect, it } from 'vitest';
import { paymentDefinition } from '../../src/actors/payment/payment.ts';
import { replay, stateName } from '../../src/actors/runtime/machine-behaviour.ts';
import type { InputOf } from '../../src/protocol/catalogue.ts';
import type { Fault } from '../support/ledger-wallet.ts';
import { aliceId, type Asked, challengeOf, PaymentWorld } from '../support/payment-harness.ts';

const seeds = 320;
const perTest = 40;
const steps = 120;
const terminal = ['completed', 'failed', 'cancelled', 'expired'];

/** mulberry32: small, seeded, good enough to pick by. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a client knows of one payment it wants. */
interface Order {
  readonly amount: string;
  readonly input: InputOf<'tween.wallet.pay'>;
  id: string | undefined;
  challenge: string | undefined;
  cancelled: boolean;
  /** Every status that was told as a success. */
  readonly told: Set<string>;
}

class Run {
  readonly #world: PaymentWorld;
  readonly #next: () => number;
  readonly #orders: Order[];
  readonly #sums = new Set<number>();
  crashes = 0;

  constructor(world: PaymentWorld, seed: number) {
    this.#world = world;
    this.#next = random(seed);
    // Some need a second factor (over 50.00), one is more than there is.
    this.#orders = ['20.00', '75.00', '60.00', '900.00', '30.00'].map((amount) => ({
      amount,
      input: world.order(amount),
      id: undefined,
      challenge: undefined,
      cancelled: false,
      told: new Set(),
    }));
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)] as T;
  }

  #watch<R>(order: Order, asked: Asked<R>, view: (result: R) => { readonly payment_id: string; readonly status: string }): void {
    // Read when it comes: an answer that a crash swallows is never read.
    const collect = (): void => {
      const { answer } = asked;
      if (answer === undefined) return;
      if (answer.error === null) {
        const { payment_id: id, status } = view(answer.result);
        if (order.id !== undefined && order.id !== id) throw new Error(`one key gave ${order.id} and ${id}`);
        order.id = id;
        order.told.add(status);
      } else if (answer.error.code === 'MFA_REQUIRED') order.challenge = challengeOf(answer.error);
      else if (answer.error.code === 'INTERNAL_ERROR') throw answer.error;
      this.#pending.delete(collect);
    };
    this.#pending.add(collect);
  }

  readonly #pending = new Set<() => void>();

  #command(): void {
    const world = this.#world;
    const order = this.#pick(this.#orders);
    const { id, challenge } = order;
    if (id === undefined || this.#next() < 0.1) {
      this.#watch(order, world.ask('tween.wallet.pay', order.input), (view) => view);
      return;
    }
    const what = this.#next();
    if (what < 0.05) {
      order.cancelled = true;
      this.#watch(order, world.ask('tween.payment.cancel', { payment_id: id }), (view) => view);
    } else if (what < 0.15) this.#watch(order, world.ask('tween.payment.get', { payment_id: id }), (view) => view);
    else if (challenge === undefined || what < 0.5) {
      const copies = this.#next() < 0.3 ? 3 : 1;
      const input = world.authorization(id, order.amount);
      for (let n = 0; n < copies; n++) this.#watch(order, world.ask('tween.payment.authorize', input), (view) => view);
    } else {
      const right = this.#next() < 0.8;
      const input =
        this.#next() < 0.5
          ? world.verification(id, challenge, right ? world.code() : '000000')
          : world.pinVerification(id, challenge, right ? undefined : '111222');
      this.#watch(order, world.ask('tween.payment.verifyMfa', input), ({ payment }) => payment);
    }
  }

  async step(): Promise<void> {
    const world = this.#world;
    const what = this.#next();
    if (what < 0.4) this.#command();
    else if (what < 0.7) world.journal.flush(1 + Math.floor(this.#next() * 3));
    else if (what < 0.8) world.clock.advance(Math.floor(this.#next() * 4_000));
    else if (what < 0.92) {
      const faults: readonly Fault[] = ['unknown_before', 'unknown_after', 'unavailable', 'slow', 'throws', 'wrong'];
      world.wallet.fault(this.#pick(['charge', 'charge', 'findCharge', 'policy'] as const), this.#pick(faults));
    } else if (what < 0.95) world.journal.failNext();
    else if (what < 0.98) world.wallet.release();
    else {
      this.crashes++;
      await world.crash();
      this.#pending.clear();
    }
    await world.settle();
    this.#sums.add(world.wallet.sum());
    for (const collect of this.#pending) collect();
  }

  /** Everything works again; long enough for every pause and window, and for an actor that was set aside for failed commits. */
  async heal(): Promise<void> {
    const world = this.#world;
    world.wallet.heal();
    for (let n = 0; n < 60; n++) {
      world.clock.advance(15_000);
      await world.settle({ flush: true });
      world.wallet.release();
    }
    for (const collect of this.#pending) collect();
  }

  async check(): Promise<void> {
    const world = this.#world;
    let spent = 0;
    expect(this.#pending.size).toBe(0);
    for (const order of this.#orders) {
      if (order.id === undefined) continue;
      const asked = world.ask('tween.payment.get', { payment_id: order.id });
      await world.settle({ flush: true });
      if (asked.answer?.error !== null) throw asked.answer?.error ?? new Error('nothing answers');
      const { status } = asked.answer.result;
      const booked = world.wallet.booked(order.id);
      spent += booked.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
      // I2, I6 and what was told: one charge at most, the ledger's truth is ours, and no answer was taken back.
      expect(booked.length).toBeLessThanOrEqual(1);
      expect(terminal).toContain(status);
      expect(status === 'completed').toBe(booked.length === 1);
      for (const told of order.told) if (terminal.includes(told)) expect(told).toBe(status);
      const address = `payment:${order.id}`;
      const records = await world.journal.records(address);
      expect(stateName(replay(paymentDefinition, records).value)).toBe(status);
      expect(
        records.filter(({ event, stateAfter }) => event.type === 'mfa.attempt' && stateAfter === 'mfa_required').length,
      ).toBeLessThanOrEqual(3);
    }
    expect([...this.#sums]).toEqual([0]);
    expect(world.wallet.balance(aliceId)).toBe(100_000 - spent);
    expect(await world.journal.outbox(10)).toEqual([]);
    expect((await world.journal.timers(Number.MAX_SAFE_INTEGER, 100)).filter(({ address }) => address.startsWith('payment:'))).toEqual([]);
    expect(world.alarms).toEqual([]);
  }

  get completed(): number {
    return this.#orders.filter(({ told }) => told.has('completed')).length;
  }
}

describe('payments under faults', () => {
  const seen = { completed: 0, crashes: 0 };

  it.each(Array.from({ length: seeds / perTest }, (_, index) => index * perTest))(
    '[PAY23] [PAY24] [PAY25] [PAY29] seeds %d and on',
    { timeout: 120_000 },
    async (first) => {
      for (let seed = first; seed < first + perTest; seed++) {
        const world = await PaymentWorld.open({ autoFlush: false });
        const run = new Run(world, seed);
        try {
          for (let n = 0; n < steps; n++) await run.step();
          await run.heal();
          await run.check();
        } catch (error) {
          throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
        }
        seen.completed += run.completed;
        seen.crashes += run.crashes;
        world.registry.close();
      }
    },
  );

  it('the runs did reach what they are about', () => {
    expect(seen.completed).toBeGreaterThan(seeds);
    expect(seen.crashes).toBeGreaterThan(seeds);
  });
});
