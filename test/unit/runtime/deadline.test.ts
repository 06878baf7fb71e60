/** Messages that wait: for how long, whether anybody still wants them, how many, and how others fare meanwhile. */
import { describe, expect, it } from 'vitest';
import type { StoredActor } from '../../../src/actors/ports.ts';
import { Admission } from '../../../src/actors/runtime/admission.ts';
import type { Behaviour } from '../../../src/actors/runtime/behaviour.ts';
import { type Call, Gate } from '../../../src/actors/runtime/gate.ts';
import { UserLimiter } from '../../../src/actors/runtime/limiter.ts';
import type { Message } from '../../../src/actors/runtime/message.ts';
import { Registry } from '../../../src/actors/runtime/registry.ts';
import { compileCatalogue } from '../../../src/actors/runtime/validators.ts';
import type { TmcpError } from '../../../src/protocol/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { createMemoryJournal } from '../../support/memory-journal.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Actors that note what they begin. Loading waits until the test lets it go on. */
function setUp(mailboxLimit = 1_000) {
  const clock = new ManualClock();
  const journal = createMemoryJournal();
  const begun: string[] = [];
  const unwanted: string[] = [];
  let load = (): void => {};
  const loaded = new Promise<void>((resolve) => {
    load = resolve;
  });
  let lookUp = (): void => {};
  const lookedUp = new Promise<void>((resolve) => {
    lookUp = resolve;
  });
  const behaviour: Behaviour<null> = {
    kind: 'note',
    machineVersion: 1,
    load: async (id) => {
      if (id.startsWith('slow')) await loaded;
      return null;
    },
    receive(_state, message, context) {
      begun.push(String(message.input));
      if (message.type === 'work') context.work(loaded, () => message.reply(null, 'done'));
      else if (message.type === 'write') context.commit({ snapshot: {} }, [{ message, result: 'written' }]);
      else message.reply(null, 'done');
    },
  };
  const registry = new Registry({
    journal,
    store: {
      load: (address): Promise<StoredActor | undefined> => journal.load(address),
      records: (address) => journal.records(address),
      timers: (before, limit) => journal.timers(before, limit),
      outbox: (limit) => journal.outbox(limit),
      async idempotency(address, scope) {
        await lookedUp;
        return journal.idempotency(address, scope);
      },
    },
    bus: { publish() {}, subscribe: () => () => {} },
    clock,
    behaviours: [behaviour],
    mailboxLimit,
    maxActors: 1_000,
    idleMs: 60_000,
    observe: { unwanted: (why) => unwanted.push(why) },
  });
  const answers: (string | undefined)[] = [];
  const tell = (address: string, input: string, extra: Partial<Message> = {}): void =>
    registry.tell(address, { type: 'note', input, who: null, reply: (error) => answers.push(error?.code), ...extra });
  return { clock, registry, begun, unwanted, answers, tell, load: () => load(), lookUp: () => lookUp() };
}

describe('a message with a deadline', () => {
  it('[LIVE49] that waited until then is answered and not begun, one a moment before is begun', async () => {
    const { clock, registry, begun, unwanted, answers, tell, load } = setUp();
    tell('note:slow', 'before', { deadline: 1_001 });
    tell('note:slow', 'at', { deadline: 1_000 });
    tell('note:slow', 'over', { deadline: 999 });
    tell('note:slow', 'without');
    expect(registry.waiting).toBe(4);
    clock.advance(1_000);
    load();
    await settle();
    expect(begun).toEqual(['before', 'without']);
    expect(answers).toEqual([undefined, 'SERVICE_UNAVAILABLE', 'SERVICE_UNAVAILABLE', undefined]);
    expect(unwanted).toEqual(['late', 'late']);
    expect(registry.waiting).toBe(0);
  });

  it('[LIVE49] that was begun is carried out, however long that takes', async () => {
    const { clock, answers, tell, load } = setUp();
    tell('note:slow', 'long', { type: 'work', deadline: 1_000 });
    load();
    await settle();
    clock.advance(60_000);
    await settle();
    expect(answers).toEqual([undefined]);
  });

  it('[LIVE49] and a key is not begun when the look-up of its first answer takes too long, and its repeat is free to run', async () => {
    const { clock, begun, answers, tell, lookUp } = setUp();
    tell('note:a', 'first', { type: 'write' });
    await settle();
    const idempotency = { scope: 's', inputHash: 'h' };
    tell('note:a', 'keyed', { deadline: 1_000, idempotency });
    clock.advance(1_000);
    lookUp();
    await settle();
    expect(begun).toEqual(['first']);
    expect(answers).toEqual([undefined, 'SERVICE_UNAVAILABLE']);
    tell('note:a', 'again', { idempotency });
    await settle();
    await settle();
    expect(begun).toEqual(['first', 'again']);
  });
});

describe('a message whose caller has gone', () => {
  it('[LIVE49] is not begun (R3)', async () => {
    const { begun, unwanted, answers, tell, load } = setUp();
    let gone = false;
    const abandoned = (): boolean => gone;
    for (let i = 0; i < 100; i++) tell('note:slow', `read-${i}`, { abandoned });
    tell('note:slow', 'other');
    gone = true;
    load();
    await settle();
    expect(begun).toEqual(['other']);
    expect(unwanted).toHaveLength(100);
    expect(answers).toHaveLength(101);
  });
});

describe('a mailbox', () => {
  it('[LIVE49] ten times past its bound holds no more than that, and every message is answered (A3)', async () => {
    const { registry, begun, answers, tell, load } = setUp(50);
    for (let i = 0; i < 500; i++) tell('note:slow', String(i));
    expect(registry.waiting).toBe(50);
    expect(answers.filter((code) => code === 'SERVICE_UNAVAILABLE')).toHaveLength(450);
    load();
    await settle();
    expect(begun).toHaveLength(50);
    expect(answers).toHaveLength(500);
    expect(registry.waiting).toBe(0);
  });

  it('[LIVE49] that is full lets others have a turn every 128 messages, and keeps its order (A10)', async () => {
    const { begun, tell, load } = setUp();
    for (let i = 0; i < 500; i++) tell('note:slow', String(i));
    load();
    await settle();
    expect(begun).toHaveLength(128);
    tell('note:quick', 'other');
    // Behind what waits, although the actor stands still at this moment.
    tell('note:slow', '500');
    await settle();
    expect(begun.indexOf('other')).toBeLessThan(300);
    for (let i = 0; i < 5; i++) await settle();
    expect(begun.filter((input) => input !== 'other')).toEqual(Array.from({ length: 501 }, (_, i) => String(i)));
  });
});

describe('the gate', () => {
  function gateAt(unanswered: number) {
    const clock = new ManualClock();
    const told: Message[] = [];
    const admission = new Admission({ loopDelayMs: 100, lapEveryMs: 20, now: 0, load: () => ({ journal: 0, unanswered }) });
    const gate = new Gate({
      operations: compileCatalogue(),
      limiter: new UserLimiter(clock, 1),
      tell: (_address, message) => told.push(message),
      hashKey: Buffer.from('a key'),
      overload: { admission, clock, deadlineMs: 10_000 },
    });
    for (let lap = 0; lap < 1_000; lap++) {
      clock.advance(20);
      admission.lap(clock.monotonic());
    }
    const who = {
      userId: '@alice:tween.example',
      appId: 'ma_shop',
      walletId: 'tw_a',
      scopes: new Set(['storage:read', 'wallet:pay']),
      tokenId: 't',
      grantId: 'g',
      expiresAt: Number.MAX_SAFE_INTEGER,
    };
    const call = (name: string, input: unknown, extra: Partial<Call> = {}): TmcpError | null | undefined => {
      const operation = gate.operation(name);
      if (operation === undefined) throw new Error(`no operation ${name}`);
      let answer: TmcpError | null | undefined;
      gate.call(operation, who, input, { requestId: 'r', ...extra }, (error) => {
        answer = error;
      });
      return answer;
    };
    return { clock, told, gate, call };
  }
  const payment = { amount: 1, currency: 'USD', description: 'x', merchant_order_id: 'o', idempotency_key: 'a' };

  it('[LIVE47] of a busy node refuses before it looks at anything, and lets payments through (R2)', () => {
    const { told, gate, call } = gateAt(10);
    for (let i = 0; i < 100; i++) expect(call('tween.storage.get', { nonsense: true })).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(gate.admit(gate.operation('tween.storage.get') as never)).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    for (let i = 0; i < 100; i++) call('tween.wallet.pay', { ...payment, idempotency_key: String(i) });
    expect(told).toHaveLength(100);
  });

  it('[LIVE47] asks once: what a binding has admitted is not refused afterwards', () => {
    const { told, call } = gateAt(10);
    call('tween.storage.get', { key: 'a' }, { admitted: true });
    expect(told).toHaveLength(1);
  });

  it('[LIVE49] gives every message a deadline, and reads a look at their caller', () => {
    const { clock, told, call } = gateAt(0);
    const abandoned = (): boolean => false;
    call('tween.storage.get', { key: 'a' }, { abandoned });
    call('tween.wallet.pay', payment, { abandoned, startedAt: 5 });
    expect(told.map(({ deadline }) => deadline)).toEqual([clock.monotonic() + 10_000, 10_005]);
    expect(told.map((message) => message.abandoned)).toEqual([abandoned, undefined]);
  });
});
