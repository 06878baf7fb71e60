/** The way of a message to its actor: here, there, or waiting; in order, within bounds. */
import { describe, expect, it } from 'vitest';
import type { Behaviour } from '../../../src/actors/runtime/behaviour.ts';
import { UserLimiter } from '../../../src/actors/runtime/limiter.ts';
import type { Message } from '../../../src/actors/runtime/message.ts';
import { Registry } from '../../../src/actors/runtime/registry.ts';
import { type ForwardFailure, Router } from '../../../src/actors/runtime/router.ts';
import { SlotTable } from '../../../src/actors/runtime/slot-table.ts';
import { slotCount, slotOf } from '../../../src/actors/runtime/slots.ts';
import type { Principal } from '../../../src/actors/ports.ts';
import type { TmcpError } from '../../../src/protocol/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { createMemoryJournal } from '../../support/memory-journal.ts';

const address = 'echo:one';
const slot = slotOf(address);
const who: Principal = {
  userId: '@alice:x',
  appId: 'ma_x',
  walletId: 'w',
  scopes: new Set(),
  tokenId: 't',
  grantId: 'g',
  expiresAt: Number.MAX_SAFE_INTEGER,
};
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

function setUp(options: { maxWaiting?: number } = {}) {
  const clock = new ManualClock();
  const slots = new SlotTable('me');
  const done: unknown[] = [];
  const behaviour: Behaviour<object> = {
    kind: 'echo',
    machineVersion: 1,
    load: () => ({}),
    receive: (_, message) => {
      done.push(message.input);
      message.reply(null, message.input);
    },
  };
  const journal = createMemoryJournal();
  const limiter = new UserLimiter(clock, 1);
  const registry: Registry = new Registry({
    journal,
    store: journal,
    bus: { publish: () => {}, subscribe: () => () => {} },
    clock,
    behaviours: [behaviour],
    mailboxLimit: 100,
    maxActors: 100,
    idleMs: 60_000,
    tell: (to, message) => router.tell(to, message),
  });
  const sent: { node: string; message: Message; failed: (why: ForwardFailure) => void }[] = [];
  const asked: number[] = [];
  const state = { holds: true };
  const router: Router = new Router({
    registry,
    slots,
    limiter,
    clock,
    holds: () => state.holds,
    elsewhere: {
      forward: (node, _, message, __, failed) => void sent.push({ node, message, failed }),
      settle: (wanted) => void asked.push(wanted),
    },
    ...options,
  });
  const answers: { error: TmcpError | null; result: unknown }[] = [];
  const message = (input: unknown, more: Partial<Message> = {}): Message => ({
    type: 'echo',
    input,
    who,
    reply: (error, result) => void answers.push({ error, result }),
    ...more,
  });
  const codes = (): (string | undefined)[] => answers.map(({ error }) => error?.code);
  return { clock, slots, registry, router, sent, asked, state, done, answers, message, codes };
}

function facts(owner: string | null, epoch: number, leased = true) {
  return Array.from({ length: slotCount }, () => ({ owner, epoch, leased }));
}

describe('the router', () => {
  it('delivers what is here, and sends on what is elsewhere', async () => {
    const { router, slots, done, sent, message } = setUp();
    slots.take(slot, 1);
    router.tell(address, message(1));
    await settle();
    const there = 'echo:two';
    slots.give(slotOf(there), 'other', 2);
    router.tell(there, message(2));
    expect(done).toEqual([1]);
    expect(sent.map(({ node, message: { input } }) => [node, input])).toEqual([['other', 2]]);
  });

  it('keeps the order of what waits, and puts what was sent back in front', () => {
    const { router, slots, sent, message, asked } = setUp();
    slots.give(slot, 'a', 1);
    router.tell(address, message(1));
    router.tell(address, message(2));
    expect(sent.map(({ message: { input } }) => input)).toEqual([1, 2]);
    sent[0]?.failed('moved');
    router.tell(address, message(3));
    expect(sent).toHaveLength(2);
    sent[1]?.failed('moved');
    expect(asked).toContain(slot);
    slots.give(slot, 'b', 2);
    router.settled(slot);
    expect(sent.slice(2).map(({ node, message: { input } }) => [node, input])).toEqual([
      ['b', 1],
      ['b', 2],
      ['b', 3],
    ]);
  });

  it('sends again what certainly did not arrive, and what may have only when a repeat is harmless', () => {
    const { router, slots, sent, message, codes } = setUp();
    slots.give(slot, 'a', 1);
    router.tell(address, message(1));
    sent[0]?.failed('lost');
    expect(codes()).toEqual(['SERVICE_UNAVAILABLE']);
    router.tell(address, message(2, { repeatable: true }));
    sent[1]?.failed('lost');
    router.tell(address, message(3));
    router.settled(slot);
    expect(sent.slice(2).map(({ message: { input } }) => input)).toEqual([2, 3]);
    expect(codes()).toHaveLength(1);
  });

  it('holds requests back while their slot leaves, lets its actors finish, and sends the requests after them', async () => {
    const { router, slots, sent, done, message } = setUp();
    slots.take(slot, 1);
    slots.leave(slot);
    router.tell(address, message('request'));
    router.tell(address, message('inner', { who: null }));
    await settle();
    expect(done).toEqual(['inner']);
    slots.seal(slot);
    router.tell(address, message('later', { who: null }));
    slots.give(slot, 'b', 2);
    router.settled(slot);
    expect(sent.map(({ message: { input } }) => input)).toEqual(['request', 'later']);
  });

  it('[A3] has room for so many that wait and no more', () => {
    const { router, message, codes } = setUp({ maxWaiting: 2 });
    for (const input of [1, 2, 3]) router.tell(address, message(input));
    expect(codes()).toEqual(['SERVICE_UNAVAILABLE']);
    expect(router.waiting).toBe(2);
  });

  it('[A3] holds so many bytes that wait and no more', () => {
    const { router, message, codes } = setUp();
    const large = 'x'.repeat(1_000_000);
    for (let n = 0; n < 40; n++) router.tell(address, message({ value: large }));
    expect(router.waiting).toBe(33);
    expect(codes()).toHaveLength(7);
  });

  it('answers what waited too long', () => {
    const { router, clock, message, codes } = setUp();
    router.tell(address, message(1));
    clock.advance(11_900);
    expect(codes()).toEqual([]);
    clock.advance(300);
    expect(codes()).toEqual(['SERVICE_UNAVAILABLE']);
    expect(router.waiting).toBe(0);
  });

  it('[A2] does nothing for anybody while another node may own its slots', async () => {
    const { router, slots, state, done, message, codes } = setUp();
    slots.take(slot, 1);
    router.tell(address, message(1));
    await settle();
    state.holds = false;
    router.tell(address, message(2));
    expect(done).toEqual([1]);
    expect(codes()).toEqual([undefined, 'SERVICE_UNAVAILABLE']);
  });

  it('sends a forwarded message back when it has not got the actor, after it has asked once', () => {
    const { router, slots, asked, message, sent } = setUp();
    slots.give(slot, 'b', 3);
    let moved = 0;
    router.arrive('a', address, message(1), 1_000, () => moved++);
    expect([moved, asked]).toEqual([0, [slot]]);
    router.settled(slot);
    expect([moved, sent.length]).toEqual([1, 0]);
  });

  it('sends back what other nodes sent when it closes, and refuses the rest', () => {
    const { router, message, codes } = setUp();
    let moved = 0;
    router.tell(address, message(1));
    router.arrive('a', address, message(2), 1_000, () => moved++);
    router.close();
    router.arrive('a', address, message(3), 1_000, () => moved++);
    expect([codes(), moved]).toEqual([['SERVICE_UNAVAILABLE'], 2]);
  });

  it('[R6] charges a message where it is delivered, once', async () => {
    const { router, slots, message, codes } = setUp();
    slots.take(slot, 1);
    const limit = { bucket: 'b', limitClass: 'payment_initiation' as const };
    for (let n = 0; n < 6; n++) router.tell(address, message(n, { limit }));
    await settle();
    expect(codes().filter((code) => code !== undefined)).toEqual(['RATE_LIMIT_EXCEEDED']);
    expect(codes()).toHaveLength(6);
  });
});

describe('the table of slots', () => {
  it('[A1] believes the higher epoch, whichever comes first', () => {
    const slots = new SlotTable('me');
    expect(slots.learn(facts('me', 2)).gained).toHaveLength(slotCount);
    // An answer that was overtaken.
    expect(slots.learn(facts('other', 1))).toEqual({ gained: [], lost: [], changed: [] });
    expect(slots.epochOf(5)).toBe(2);
    expect(slots.learn(facts('other', 3)).lost).toHaveLength(slotCount);
    expect(slots.epochOf(5)).toBe(0);
    expect(slots.stateOf(5)).toBe('away');
  });

  it('takes the slots of a node without a lease for unowned, and keeps its own whatever it hears of its lease', () => {
    const slots = new SlotTable('me');
    slots.learn(facts('other', 1));
    slots.learn(facts('other', 1, false));
    expect(slots.unowned()).toHaveLength(slotCount);
    slots.learn(facts('me', 2));
    slots.learn(facts('me', 2, false));
    expect(slots.stateOf(0)).toBe('mine');
  });

  it('drops what a new epoch of its own makes old', () => {
    const slots = new SlotTable('me');
    slots.learn(facts('me', 2));
    const { lost, gained } = slots.learn(facts('me', 4));
    expect([lost.length, gained.length]).toEqual([slotCount, slotCount]);
    expect(slots.epochOf(1)).toBe(4);
  });

  it('counts what leaves, and takes it back when it stays', () => {
    const slots = new SlotTable('me');
    slots.take(1, 1);
    slots.take(2, 1);
    expect(slots.leave(1) && slots.seal(1)).toBe(true);
    expect(slots.leave(3)).toBe(false);
    expect([slots.restless, slots.count, slots.epochOf(1)]).toEqual([1, 1, 0]);
    slots.stay(1);
    expect([slots.restless, slots.count, slots.epochOf(1)]).toEqual([0, 2, 1]);
    slots.leave(2);
    slots.give(2, 'b', 2);
    expect([slots.restless, slots.count, slots.ownerOf(2)]).toEqual([0, 1, 'b']);
  });
});
