/** The gate and its parts: scope, limit, validation, address, idempotency scope; buckets; durable timers; the outbox. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JournalEntry, OutboxRow, Principal } from '../../../src/actors/ports.ts';
import { digest, inputHash } from '../../../src/actors/runtime/digest.ts';
import { Gate } from '../../../src/actors/runtime/gate.ts';
import { charge, type LimitState, UserLimiter } from '../../../src/actors/runtime/limiter.ts';
import type { Message } from '../../../src/actors/runtime/message.ts';
import { Outbox } from '../../../src/actors/runtime/outbox.ts';
import { Timers } from '../../../src/actors/runtime/timers.ts';
import { compileCatalogue } from '../../../src/actors/runtime/validators.ts';
import type { TmcpError } from '../../../src/protocol/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { createMemoryJournal } from '../../support/memory-journal.ts';

const hashKey = Buffer.from('not in the database');
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function principal(scopes: readonly string[], userId = '@alice:tween.example'): Principal {
  return {
    userId,
    appId: 'ma_demo_shop',
    walletId: 'tw_a',
    scopes: new Set(scopes),
    tokenId: 't',
    grantId: 'g',
    expiresAt: Number.MAX_SAFE_INTEGER,
  };
}

function setUp(factor = 1) {
  const clock = new ManualClock();
  const told: { address: string; message: Message }[] = [];
  const limiter = new UserLimiter(clock, factor);
  const gate = new Gate({
    operations: compileCatalogue(),
    limiter,
    // A message is charged where it is delivered.
    tell: (address, message) => {
      const refusal = message.limit === undefined ? undefined : charge(limiter, message.limit, message.onLimit);
      if (refusal === undefined) told.push({ address, message });
      else message.reply(refusal);
    },
    hashKey,
  });
  const call = (
    name: string,
    input: unknown,
    who = principal(['storage:read', 'storage:write', 'wallet:pay']),
  ): { error?: TmcpError; limit?: LimitState } => {
    const operation = gate.operation(name);
    if (operation === undefined) throw new Error(`no operation ${name}`);
    const seen: { error?: TmcpError; limit?: LimitState } = {};
    gate.call(operation, who, input, { requestId: 'r', onLimit: (state) => (seen.limit = state) }, (error) => {
      if (error !== null) seen.error = error;
    });
    return seen;
  };
  return { clock, told, call };
}

describe('the gate', () => {
  it('takes the address from the caller, never from the message', () => {
    const { told, call } = setUp();
    call('tween.storage.get', { key: 'k' }, principal(['storage:read'], '@bob:tween.example'));
    expect(told[0]?.address).toBe('vault:@bob:tween.example:ma_demo_shop');
  });

  it('refuses a missing scope before it looks at the input', () => {
    const { told, call } = setUp();
    expect(call('tween.storage.get', { nonsense: true }, principal([])).error).toMatchObject({ code: 'INSUFFICIENT_PERMISSIONS' });
    expect(told).toHaveLength(0);
  });

  it('takes any one of the scopes that an operation names', () => {
    const { told, call } = setUp();
    call('tween.storage.batchGet', { keys: ['a'] }, principal(['storage:write']));
    expect(told).toHaveLength(1);
  });

  it('says what is wrong with an input, and where', () => {
    const { call } = setUp();
    const { error } = call('tween.storage.set', { key: 'k', value: 5, extra: 1 });
    expect(error).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(((error?.details?.['issues'] ?? []) as { path: string }[]).map(({ path }) => path)).toEqual(
      expect.arrayContaining(['/value', '/extra']),
    );
  });

  it('checks what a schema cannot say: bytes of a key, its normal form, control characters', () => {
    const { call } = setUp();
    for (const key of ['é'.repeat(129), 'e\u0301', 'a\u0000b', '\ud800'])
      expect(call('tween.storage.get', { key }).error).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(call('tween.storage.get', { key: 'é'.repeat(128) }).error).toBeUndefined();
  });

  it('leads the same idempotency key of the same user and app to the same payment', () => {
    const { told, call } = setUp();
    const request = { amount: 1, currency: 'USD', description: 'd', merchant_order_id: 'o', idempotency_key: 'k' };
    call('tween.wallet.pay', request);
    call('tween.wallet.pay', { ...request, amount: 2 });
    call('tween.wallet.pay', request, principal(['wallet:pay'], '@bob:tween.example'));
    expect(told[0]?.address).toMatch(/^payment:pay_[a-z2-7]{34}$/);
    expect(told[1]?.address).toBe(told[0]?.address);
    expect(told[1]?.message.idempotency?.inputHash).not.toBe(told[0]?.message.idempotency?.inputHash);
    expect(told[2]?.address).not.toBe(told[0]?.address);
  });

  it('[R6] charges what is refused for its input too', () => {
    const { call } = setUp();
    for (let n = 0; n < 5; n++) expect(call('tween.wallet.pay', { nonsense: n }).error).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(call('tween.wallet.pay', { nonsense: 5 }).error).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED' });
  });

  it('charges the bucket of user and app, and says when to come back', () => {
    const { clock, call } = setUp();
    const request = (n: number) => ({ amount: 1, currency: 'USD', description: 'd', merchant_order_id: 'o', idempotency_key: `k${n}` });
    for (let n = 0; n < 5; n++) expect(call('tween.wallet.pay', request(n)).error).toBeUndefined();
    expect(call('tween.wallet.pay', request(5)).error).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', retryAfter: 12 });
    expect(call('tween.wallet.pay', request(5), principal(['wallet:pay'], '@bob:tween.example')).error).toBeUndefined();
    clock.advance(12_000);
    expect(call('tween.wallet.pay', request(6)).error).toBeUndefined();
  });
});

describe('digests', () => {
  it('do not confuse the borders of their parts', () => {
    expect(digest(['ab', 'c'])).not.toBe(digest(['a', 'bc']));
  });

  it('an input hash ignores the order of members and the key itself', () => {
    expect(inputHash({ a: 1, b: { c: 2, d: [3] }, idempotency_key: 'x' }, hashKey)).toBe(inputHash({ b: { d: [3], c: 2 }, a: 1 }, hashKey));
    expect(inputHash({ a: 1 }, hashKey)).not.toBe(inputHash({ a: 2 }, hashKey));
    expect(inputHash({ a: 1 }, hashKey)).not.toBe(inputHash({ a: 1 }, Buffer.from('another key')));
  });
});

describe('buckets', () => {
  it('never grant more than rate × time + burst in any window', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 400 }), (pauses) => {
        const clock = new ManualClock();
        const limiter = new UserLimiter(clock, 1);
        const grants: number[] = [];
        for (const pause of pauses) {
          clock.advance(pause);
          if (limiter.take('u', 'storage').ok) grants.push(clock.monotonic());
        }
        for (let from = 0; from < grants.length; from++) {
          for (let to = from; to < grants.length; to++) {
            const allowed = ((grants[to] as number) - (grants[from] as number)) * (100 / 60_000) + 120 + 1e-6;
            expect(to - from + 1).toBeLessThanOrEqual(Math.ceil(allowed));
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it('refill by monotonic time only: a wall clock that jumps grants nothing', () => {
    const clock = new ManualClock();
    const limiter = new UserLimiter(clock, 1);
    for (let n = 0; n < 5; n++) limiter.take('u', 'payment_initiation');
    clock.jump(3_600_000);
    expect(limiter.take('u', 'payment_initiation').ok).toBe(false);
    clock.jump(-7_200_000);
    expect(limiter.take('u', 'payment_initiation').ok).toBe(false);
  });

  it('relaxed multiplies every bucket', () => {
    const limiter = new UserLimiter(new ManualClock(), 1000);
    for (let n = 0; n < 5_000; n++) expect(limiter.take('u', 'payment_initiation').ok).toBe(true);
    expect(limiter.take('u', 'payment_initiation').ok).toBe(false);
  });
});

const entry = (part: Partial<JournalEntry>): JournalEntry => ({
  address: 'x:1',
  kind: 'x',
  baseSeq: 0,
  seq: 1,
  machineVersion: 1,
  ...part,
});

describe('durable timers', () => {
  it('fire at their time, and again until their row is gone', () => {
    const clock = new ManualClock();
    const told: Message[] = [];
    const timers = new Timers({ store: createMemoryJournal(), clock, tell: (_address, message) => void told.push(message) });
    timers.flushed('x:1', entry({ timers: [{ id: 't', dueAt: clock.now() + 1_000 }] }));
    clock.advance(999);
    expect(told).toHaveLength(0);
    clock.advance(1);
    expect(told).toMatchObject([{ type: 'timer.fired', input: { id: 't' } }]);
    clock.advance(5_000);
    expect(told).toHaveLength(2);
    timers.flushed('x:1', entry({ timersDone: ['t'] }));
    clock.advance(60_000);
    expect(told).toHaveLength(2);
    timers.close();
  });

  it('a replaced timer fires at its new time only', () => {
    const clock = new ManualClock();
    const told: Message[] = [];
    const timers = new Timers({ store: createMemoryJournal(), clock, tell: (_address, message) => void told.push(message) });
    timers.flushed('x:1', entry({ timers: [{ id: 't', dueAt: clock.now() + 1_000 }] }));
    timers.flushed('x:1', entry({ timers: [{ id: 't', dueAt: clock.now() + 3_000 }] }));
    clock.advance(2_999);
    expect(told).toHaveLength(0);
    clock.advance(1);
    expect(told).toHaveLength(1);
    timers.close();
  });

  it('those an earlier process left behind fire after a start, the overdue ones at once', async () => {
    const clock = new ManualClock();
    const journal = createMemoryJournal();
    journal.append(
      entry({
        timers: [
          { id: 'overdue', dueAt: clock.now() - 5_000 },
          { id: 'later', dueAt: clock.now() + 60_000 },
        ],
      }),
      () => {},
    );
    await journal.drain();
    const told: string[] = [];
    const timers = new Timers({ store: journal, clock, tell: (_address, message) => void told.push((message.input as { id: string }).id) });
    await timers.start();
    clock.advance(0);
    expect(told).toEqual(['overdue']);
    timers.flushed('x:1', entry({ timersDone: ['overdue'] }));
    clock.advance(60_000);
    expect(told).toEqual(['overdue', 'later']);
    timers.close();
  });
});

describe('timers, many at once', () => {
  const rowsOf = async (count: number, dueAt: number) => {
    const journal = createMemoryJournal();
    for (let n = 0; n < count; n++) journal.append(entry({ address: `x:${n}`, timers: [{ id: 't', dueAt: dueAt + n }] }), () => {});
    await journal.drain();
    return journal;
  };

  it('a restart takes all of them up within seconds, a page at a time', async () => {
    const clock = new ManualClock();
    const journal = await rowsOf(3_500, clock.now() - 60_000);
    const told = new Set<string>();
    const timers = new Timers({ store: journal, clock, tell: (address) => void told.add(address) });
    await timers.start();
    clock.advance(0);
    expect(told.size).toBe(1_000);
    for (let reads = 0; reads < 4; reads++) {
      clock.advance(250);
      await settle();
    }
    clock.advance(0);
    expect(told.size).toBe(3_500);
    timers.close();
  });

  it('those whose actors never take them hide no others', async () => {
    const clock = new ManualClock();
    const journal = await rowsOf(2_000, clock.now() - 60_000);
    const told = new Set<string>();
    const timers = new Timers({ store: journal, clock, tell: (address) => void told.add(address) });
    await timers.start();
    for (let reads = 0; reads < 4; reads++) {
      clock.advance(250);
      await settle();
    }
    journal.append(entry({ address: 'x:late', timers: [{ id: 't', dueAt: clock.now() }] }), () => {});
    await journal.drain();
    clock.advance(60_000);
    await settle();
    clock.advance(0);
    expect(told.has('x:late')).toBe(true);
    timers.close();
  });

  it('one that a read saw before it was set anew does not keep the new one from firing', async () => {
    const clock = new ManualClock();
    const journal = createMemoryJournal();
    const soon = clock.now() + 1_000;
    const hours = clock.now() + 3_600_000;
    journal.append(entry({ timers: [{ id: 't', dueAt: soon }] }), () => {});
    await journal.drain();
    const told: number[] = [];
    const timers = new Timers({
      store: journal,
      clock,
      tell: (_address, message) => void told.push((message.input as { dueAt: number }).dueAt),
    });
    const reading = timers.start();
    // The read is under way with the old row; the new one is too far off to be armed.
    timers.flushed('x:1', entry({ timers: [{ id: 't', dueAt: hours }] }));
    await reading;
    journal.append(entry({ baseSeq: 1, seq: 2, timers: [{ id: 't', dueAt: hours }] }), () => {});
    await journal.drain();
    while (clock.now() < hours) {
      clock.advance(60_000);
      await settle();
    }
    expect(told).toContain(hours);
    timers.close();
  });
});

describe('the outbox', () => {
  const row: OutboxRow = { id: 'x:1#1.0', type: 'send', payload: { n: 1 } };

  function open(journal = createMemoryJournal(), run: (attempt: { recovered: boolean }) => Promise<unknown> = async () => 'sent') {
    const clock = new ManualClock();
    const told: Message[] = [];
    const attempts: boolean[] = [];
    const outbox = new Outbox({
      store: journal,
      clock,
      runners: {
        send: (_row, attempt) => {
          attempts.push(attempt.recovered);
          return run(attempt);
        },
      },
      tell: (_address, message) => void told.push(message),
    });
    return { clock, told, attempts, outbox };
  }

  it('carries a row out once it is flushed and tells its actor the outcome', async () => {
    const { told, attempts, outbox } = open();
    outbox.flushed('x:1', entry({ outbox: [row] }));
    await settle();
    expect(attempts).toEqual([false]);
    expect(told).toMatchObject([{ type: 'outbox.done', input: { id: row.id, type: 'send', payload: { n: 1 }, outcome: 'sent' } }]);
    outbox.close();
  });

  it('takes up what an earlier process left, and says that it may have been tried', async () => {
    const journal = createMemoryJournal();
    journal.append(entry({ outbox: [row] }), () => {});
    await journal.drain();
    const { attempts, outbox } = open(journal);
    await outbox.start();
    await settle();
    expect(attempts).toEqual([true]);
    outbox.close();
  });

  it('carries a row out again when its actor could not keep the outcome', async () => {
    const journal = createMemoryJournal();
    journal.append(entry({ outbox: [row] }), () => {});
    await journal.drain();
    const { clock, told, outbox } = open(journal);
    await outbox.start();
    await settle();
    clock.advance(5_000);
    await settle();
    clock.advance(5_001);
    await settle();
    expect(told.length).toBeGreaterThan(1);
    outbox.close();
  });

  it('takes up all that an earlier process left within seconds, and rows that nobody can carry out hide no others', async () => {
    const journal = createMemoryJournal();
    for (let n = 0; n < 1_200; n++)
      journal.append(entry({ address: `x:${n}`, outbox: [{ ...row, id: `x:${n}#1.0`, type: 'unheard-of' }] }), () => {});
    journal.append(entry({ address: 'x:last', outbox: [{ ...row, id: 'x:last#1.0' }] }), () => {});
    await journal.drain();
    const { clock, told, outbox } = open(journal);
    await outbox.start();
    for (let reads = 0; reads < 4; reads++) {
      await settle();
      clock.advance(250);
    }
    await settle();
    expect(told).toMatchObject([{ input: { id: 'x:last#1.0' } }]);
    outbox.close();
  });

  it('waits by a clock that never goes back', async () => {
    const journal = createMemoryJournal();
    journal.append(entry({ outbox: [row] }), () => {});
    await journal.drain();
    const { clock, told, outbox } = open(journal);
    await outbox.start();
    await settle();
    clock.jump(-3_600_000);
    for (let reads = 0; reads < 2; reads++) {
      clock.advance(5_001);
      await settle();
    }
    expect(told.length).toBeGreaterThan(1);
    outbox.close();
  });

  it('bounds how many run at once', async () => {
    let running = 0;
    let most = 0;
    const release: (() => void)[] = [];
    const { outbox } = open(createMemoryJournal(), async () => {
      running++;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => release.push(resolve));
      running--;
    });
    outbox.flushed('x:1', entry({ outbox: Array.from({ length: 200 }, (_, n) => ({ ...row, id: `x:1#${n}.0` })) }));
    for (let rounds = 0; rounds < 10; rounds++) {
      for (const free of release.splice(0)) free();
      await settle();
    }
    expect(most).toBe(64);
    outbox.close();
  });
});
