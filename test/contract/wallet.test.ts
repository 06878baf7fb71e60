/** The wallet port's promises, kept by the TweenPay client against the sandbox over HTTP. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WalletCharge, WalletOutcome } from '../../src/actors/ports.ts';
import { admin, alice, type Bench, bob, chargeOf, openBench, shop, until } from '../unit/tweenpay/support.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

const fault = (operation: string, mode: string, more: object = {}) => admin(bench.sandbox, 'POST', '/faults', { operation, mode, ...more });
const ledger = () => admin(bench.sandbox, 'GET', '/ledger');
const booked = async (reference: string) =>
  (await admin<{ total: number }>(bench.sandbox, 'GET', `/charges?reference=${encodeURIComponent(reference)}`)).total;
const faultHit = () =>
  until(async () => (await admin<{ faults: { hits: number }[] }>(bench.sandbox, 'GET', '/faults')).faults[0]?.hits === 1);

/** Lets a call run into its time limit once the sandbox has it. */
async function timedOut<T>(call: Promise<WalletOutcome<T>>, reached: () => Promise<void>): Promise<WalletOutcome<T>> {
  await reached();
  bench.clock.advance(5_000);
  return call;
}

function valueOf<T>(outcome: WalletOutcome<T>): T {
  if (outcome.kind !== 'done') throw new Error(`not done: ${JSON.stringify(outcome)}`);
  return outcome.value;
}

describe('accounts', () => {
  it('gives what an account holds and may spend', async () => {
    expect(valueOf(await bench.wallet.account(alice))).toEqual({
      walletId: expect.stringMatching(/^wal_/),
      userId: alice,
      currency: 'USD',
      availableMinor: 100_000,
      pendingMinor: 0,
      dailyLimitMinor: 10_000_000,
      dailyUsedMinor: 0,
      transactionLimitMinor: 5_000_000,
      status: 'active',
    });
  });

  it('refuses for a user without an account', async () => {
    expect(await bench.wallet.account('@nobody:tween.example')).toMatchObject({ kind: 'refused', code: 'USER_NOT_FOUND' });
    expect(await bench.wallet.transactions('@nobody:tween.example', { limit: 10, offset: 0 })).toMatchObject({ code: 'USER_NOT_FOUND' });
  });

  it('makes an account once, and leaves the currency of one that is there', async () => {
    const made = valueOf(await bench.wallet.ensureAccount('@new/user?&#:x.example', 'EUR'));
    expect(made).toMatchObject({ userId: '@new/user?&#:x.example', currency: 'EUR', availableMinor: 0, status: 'active' });
    expect(valueOf(await bench.wallet.ensureAccount('@new/user?&#:x.example', 'USD'))).toEqual(made);
    expect(valueOf(await bench.wallet.account('@new/user?&#:x.example'))).toEqual(made);
  });

  it('shows the balance of now, not of the first time it was asked to ensure', async () => {
    await bench.wallet.charge(chargeOf('pay_1'));
    expect(valueOf(await bench.wallet.ensureAccount(alice, 'USD')).availableMinor).toBe(92_500);
  });

  it('gives a merchant the same wallet each time', async () => {
    const first = valueOf(await bench.wallet.ensureMerchant('ma_other', 'Other'));
    expect(valueOf(await bench.wallet.ensureMerchant('ma_other', 'Renamed'))).toEqual(first);
    expect(valueOf(await bench.wallet.ensureMerchant(shop, 'Shop'))).not.toEqual(first);
  });

  it('pages transactions, newest first', async () => {
    await bench.wallet.charge(chargeOf('pay_1', { amountMinor: 100 }));
    bench.sandboxClock.advance(1_000);
    await bench.wallet.charge(chargeOf('pay_2', { amountMinor: 200 }));
    const page = valueOf(await bench.wallet.transactions(alice, { limit: 2, offset: 0 }));
    expect(page.total).toBe(3);
    expect(page.transactions.map(({ type, amountMinor }) => [type, amountMinor])).toEqual([
      ['payment', 200],
      ['payment', 100],
    ]);
    expect(page.transactions[0]).toMatchObject({ from: { userId: alice }, note: 'Two tickets', at: bench.sandboxClock.now() });
    const rest = valueOf(await bench.wallet.transactions(alice, { limit: 2, offset: 2 }));
    expect(rest.transactions.map(({ type }) => type)).toEqual(['adjustment']);
    expect(valueOf(await bench.wallet.transactions(alice, { limit: 2, offset: 3 })).transactions).toEqual([]);
  });
});

describe('policy', () => {
  it.each([
    [4_999, false],
    [5_000, false],
    [5_001, true],
  ])('asks for a second factor above 50.00: %d minor units → %s', async (amountMinor, mfaRequired) => {
    const policy = valueOf(await bench.wallet.policy({ userId: alice, reference: 'pay_1', amountMinor, currency: 'USD' }));
    expect(policy).toEqual({ mfaRequired, methods: mfaRequired ? ['transaction_pin', 'totp'] : [] });
  });
});

describe('charge', () => {
  it('moves the money once and tells what it booked', async () => {
    const charge = valueOf(await bench.wallet.charge(chargeOf('pay_1')));
    const payer = valueOf(await bench.wallet.account(alice));
    expect(charge).toEqual({
      txnId: expect.stringMatching(/^txn_/),
      reference: 'pay_1',
      status: 'completed',
      amountMinor: 7_500,
      currency: 'USD',
      payerWalletId: payer.walletId,
      merchantWalletId: valueOf(await bench.wallet.ensureMerchant(shop, 'Shop')).walletId,
      bookedAt: bench.sandboxClock.now(),
    });
    expect(payer).toMatchObject({ availableMinor: 92_500, dailyUsedMinor: 7_500 });
    expect(valueOf(await bench.wallet.findCharge('pay_1'))).toEqual(charge);
  });

  it('gives the first answer to the same charge again', async () => {
    const first = await bench.wallet.charge(chargeOf('pay_1'));
    expect(await bench.wallet.charge(chargeOf('pay_1'))).toEqual(first);
    expect(await ledger()).toMatchObject({ charges: 1, double_charges: 0, sum: 0 });
  });

  it('is unknown, and books nothing, under a key of another request or a reference of another key', async () => {
    await bench.wallet.charge(chargeOf('pay_1'));
    expect(await bench.wallet.charge(chargeOf('pay_1', { amountMinor: 1 }))).toMatchObject({
      kind: 'unknown',
      reason: 'idempotency_conflict',
    });
    expect(await bench.wallet.charge(chargeOf('pay_1', { idempotencyKey: 'other' }))).toMatchObject({
      kind: 'unknown',
      reason: 'duplicate_reference',
    });
    expect(await ledger()).toMatchObject({ charges: 1, charged_minor: 7_500 });
  });

  it('books one of fifty that come at once with different keys', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, n) => bench.wallet.charge(chargeOf('pay_1', { idempotencyKey: `k${n}` }))),
    );
    expect(outcomes.filter(({ kind }) => kind === 'done')).toHaveLength(1);
    expect(outcomes.filter(({ kind }) => kind === 'unknown')).toHaveLength(49);
    expect(await ledger()).toMatchObject({ charges: 1, charges_by_reference_max: 1 });
  });

  it.each([
    ['more than the wallet holds', { payerUserId: bob, amountMinor: 10_001 }, 'INSUFFICIENT_FUNDS'],
    ['a payer without an account', { payerUserId: '@nobody:x.example' }, 'USER_NOT_FOUND'],
    ['a merchant without an account', { merchantAppId: 'ma_none' }, 'PAYMENT_FAILED'],
    ['another currency', { currency: 'EUR' }, 'CURRENCY_MISMATCH'],
    ['more than one transaction may take', { amountMinor: 5_000_001 }, 'AMOUNT_EXCEEDS_LIMIT'],
    ['an amount of zero', { amountMinor: 0 }, 'PAYMENT_FAILED'],
  ] as const)('refuses %s, moves nothing and remembers it', async (_title, more, code) => {
    const request = chargeOf('pay_1', more);
    const first = await bench.wallet.charge(request);
    expect(first).toMatchObject({ kind: 'refused', code });
    expect(await bench.wallet.charge(request)).toEqual(first);
    expect(await ledger()).toMatchObject({ charges: 0, sum: 0 });
  });

  it('takes all of a balance, to the last unit', async () => {
    expect((await bench.wallet.charge(chargeOf('pay_1', { payerUserId: bob, amountMinor: 10_000 }))).kind).toBe('done');
    expect(valueOf(await bench.wallet.account(bob)).availableMinor).toBe(0);
    expect(await bench.wallet.charge(chargeOf('pay_2', { payerUserId: bob, amountMinor: 1 }))).toMatchObject({
      code: 'INSUFFICIENT_FUNDS',
    });
  });

  it('holds the limits of a transaction and of a day at, and over, their edge', async () => {
    await admin(bench.sandbox, 'POST', '/accounts', { user_id: alice, currency: 'USD', balance_minor: 50_000_000 });
    const pay = (reference: string, amountMinor: number) => bench.wallet.charge(chargeOf(reference, { amountMinor }));
    expect((await pay('pay_1', 5_000_000)).kind).toBe('done');
    expect((await pay('pay_2', 4_999_999)).kind).toBe('done');
    expect(await pay('pay_3', 2)).toMatchObject({ kind: 'refused', code: 'DAILY_LIMIT_EXCEEDED' });
    expect((await pay('pay_4', 1)).kind).toBe('done');
    bench.sandboxClock.advance(24 * 3600_000);
    expect((await pay('pay_5', 1)).kind).toBe('done');
  });

  it.each([
    ['suspended', 'USER_SUSPENDED'],
    ['pending', 'PAYMENT_FAILED'],
  ])('refuses an account that is %s', async (status, code) => {
    await admin(bench.sandbox, 'POST', '/accounts', { user_id: alice, currency: 'USD', status });
    expect(valueOf(await bench.wallet.account(alice)).status).toBe(status);
    expect(await bench.wallet.charge(chargeOf('pay_1'))).toMatchObject({ kind: 'refused', code });
  });
});

describe('findCharge', () => {
  it('is done with null for a reference the wallet never saw', async () => {
    expect(await bench.wallet.findCharge('pay_none')).toEqual({ kind: 'done', value: null });
  });

  it('is refused as the charge was', async () => {
    const refused = await bench.wallet.charge(chargeOf('pay_1', { payerUserId: bob, amountMinor: 10_001 }));
    const found = await bench.wallet.findCharge('pay_1');
    expect(found).toEqual(refused);
  });

  it('never takes a refusal to look for a refusal of the charge', async () => {
    await bench.wallet.charge(chargeOf('pay_1'));
    await fault('find', 'refuse');
    expect((await bench.wallet.findCharge('pay_1')).kind).toBe('unavailable');
  });

  it('is unavailable while the charge is still inside the wallet, and done after', async () => {
    await fault('charge', 'slow', { delay_ms: 60_000 });
    const charge = bench.wallet.charge(chargeOf('pay_1'));
    await faultHit();
    expect(await bench.wallet.findCharge('pay_1')).toMatchObject({ kind: 'unavailable', retryAfterMs: 1_000 });
    expect((await timedOut(charge, faultHit)).kind).toBe('unknown');
    bench.sandboxClock.advance(60_000);
    await until(async () => (await bench.wallet.findCharge('pay_1')).kind === 'done');
    expect(valueOf<WalletCharge | null>(await bench.wallet.findCharge('pay_1'))?.amountMinor).toBe(7_500);
  });
});

describe('when the wallet misbehaves', () => {
  it('[timeout_after] is unknown, then found as booked; the same key again gives the charge', async () => {
    await fault('charge', 'timeout_after');
    const outcome = await timedOut(bench.wallet.charge(chargeOf('pay_1')), () => until(async () => (await booked('pay_1')) === 1));
    expect(outcome).toMatchObject({ kind: 'unknown' });
    const found = valueOf(await bench.wallet.findCharge('pay_1'));
    expect(found?.reference).toBe('pay_1');
    expect(valueOf(await bench.wallet.charge(chargeOf('pay_1')))).toEqual(found);
    expect(await booked('pay_1')).toBe(1);
  });

  it('[timeout_before] is unknown, then found as never booked; the same key again books once', async () => {
    await fault('charge', 'timeout_before');
    expect((await timedOut(bench.wallet.charge(chargeOf('pay_1')), faultHit)).kind).toBe('unknown');
    expect(valueOf(await bench.wallet.findCharge('pay_1'))).toBeNull();
    expect((await bench.wallet.charge(chargeOf('pay_1'))).kind).toBe('done');
    expect(await booked('pay_1')).toBe(1);
  });

  it.each([
    ['http_500', 0],
    ['http_500_after', 1],
    ['down', 0],
  ])('[%s] is unknown; the same key again leaves one charge', async (mode, before) => {
    await fault('charge', mode);
    expect((await bench.wallet.charge(chargeOf('pay_1'))).kind).toBe('unknown');
    expect(await booked('pay_1')).toBe(before);
    expect((await bench.wallet.charge(chargeOf('pay_1'))).kind).toBe('done');
    expect(await booked('pay_1')).toBe(1);
  });

  it('[refuse] is refused for good', async () => {
    await fault('charge', 'refuse');
    const refused = await bench.wallet.charge(chargeOf('pay_1'));
    expect(refused).toMatchObject({ kind: 'refused', code: 'PAYMENT_FAILED' });
    expect(await bench.wallet.charge(chargeOf('pay_1'))).toEqual(refused);
    expect(await bench.wallet.findCharge('pay_1')).toEqual(refused);
    expect(await ledger()).toMatchObject({ charges: 0 });
  });

  it('[slow] waits and works', async () => {
    await fault('*', 'slow', { delay_ms: 4_000 });
    const charge = bench.wallet.charge(chargeOf('pay_1'));
    await faultHit();
    bench.sandboxClock.advance(4_000);
    expect((await charge).kind).toBe('done');
  });

  it.each(['http_500', 'down', 'timeout_before', 'timeout_after'])('[%s] makes reads unavailable, never unknown', async (mode) => {
    const reads: [string, () => Promise<WalletOutcome<unknown>>][] = [
      ['account', () => bench.wallet.account(alice)],
      ['transactions', () => bench.wallet.transactions(alice, { limit: 5, offset: 0 })],
      ['policy', () => bench.wallet.policy({ userId: alice, reference: 'r', amountMinor: 1, currency: 'USD' })],
      ['find', () => bench.wallet.findCharge('pay_1')],
    ];
    for (const [operation, read] of reads) {
      await admin(bench.sandbox, 'DELETE', '/faults');
      await fault(operation, mode);
      const call = read();
      const outcome = mode.startsWith('timeout') ? await timedOut(call, faultHit) : await call;
      expect(outcome, operation).toMatchObject({ kind: 'unavailable', retryAfterMs: 1_000 });
    }
  });

  it('meets as many calls as were asked for, only of its operation', async () => {
    await fault('charge', 'http_500', { count: 2 });
    expect((await bench.wallet.account(alice)).kind).toBe('done');
    const kinds = [];
    for (let n = 0; n < 3; n += 1) kinds.push((await bench.wallet.charge(chargeOf(`pay_${n}`, { amountMinor: 1 }))).kind);
    expect(kinds).toEqual(['unknown', 'unknown', 'done']);
  });
});

describe('breaker', () => {
  it('opens one operation after five failures, answers unavailable without a call, and closes by a probe', async () => {
    await fault('charge', 'http_500', { count: 5 });
    for (let n = 0; n < 5; n += 1) expect((await bench.wallet.charge(chargeOf('pay_1'))).kind).toBe('unknown');
    expect(bench.wallet.breakerStates().charge).toMatchObject({ state: 'open', failures: 5, totalCalls: 5 });
    expect(await bench.wallet.charge(chargeOf('pay_1'))).toEqual({ kind: 'unavailable', reason: 'circuit open', retryAfterMs: 60_000 });
    expect(valueOf(await bench.wallet.findCharge('pay_1'))).toBeNull();
    expect(bench.wallet.breakerStates().find_charge.state).toBe('closed');
    bench.clock.advance(60_000);
    expect((await bench.wallet.charge(chargeOf('pay_1'))).kind).toBe('done');
    expect(bench.wallet.breakerStates().charge.state).toBe('closed');
  });

  it('does not count refusals', async () => {
    for (let n = 0; n < 12; n += 1) await bench.wallet.account('@nobody:x.example');
    expect(bench.wallet.breakerStates().account).toMatchObject({ state: 'closed', failures: 0, totalCalls: 12, successRate: 1 });
  });
});

describe('the ledger', () => {
  it('adds up to zero and charges no reference twice, whatever was asked of it', async () => {
    const operation = fc.record({
      reference: fc.integer({ min: 0, max: 8 }).map((n) => `pay_${n}`),
      key: fc.integer({ min: 0, max: 12 }).map((n) => `key_${n}`),
      payer: fc.constantFrom(alice, bob),
      amountMinor: fc.integer({ min: 1, max: 12_000 }),
      mode: fc.constantFrom(undefined, undefined, 'http_500', 'http_500_after', 'refuse', 'down'),
      refundOf: fc.option(fc.integer({ min: 1, max: 9_000 }), { freq: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
        const round = await openBench();
        try {
          const done = new Map<string, string>();
          for (const { reference, key, payer, amountMinor, mode, refundOf } of operations) {
            if (mode !== undefined) await admin(round.sandbox, 'POST', '/faults', { operation: 'charge', mode });
            const outcome = await round.wallet.charge(chargeOf(reference, { idempotencyKey: key, payerUserId: payer, amountMinor }));
            if (outcome.kind === 'unavailable') round.clock.advance(60_000);
            if (outcome.kind !== 'done') continue;
            expect(done.get(reference) ?? outcome.value.txnId).toBe(outcome.value.txnId);
            done.set(reference, outcome.value.txnId);
            if (refundOf !== null) {
              await fetch(`${round.sandbox.url}/v1/charges/${outcome.value.txnId}/refunds`, {
                method: 'POST',
                headers: { authorization: 'Bearer service-token', 'idempotency-key': `refund-${key}-${refundOf}` },
                body: JSON.stringify({ reference: `r-${reference}-${refundOf}`, amount_minor: refundOf, currency: 'USD' }),
              });
            }
          }
          const counted = await admin<Record<string, number>>(round.sandbox, 'GET', '/ledger');
          expect(counted).toMatchObject({ sum: 0, mismatches: 0, double_charges: 0, over_refunded: 0 });
          const [a, b] = [valueOf(await round.wallet.account(alice)), valueOf(await round.wallet.account(bob))];
          expect(a.availableMinor + b.availableMinor).toBe(110_000 - counted['charged_minor']! + counted['refunded_minor']!);
          expect(Math.min(a.availableMinor, b.availableMinor)).toBeGreaterThanOrEqual(0);
          for (const reference of done.keys()) expect((await round.wallet.findCharge(reference)).kind).toBe('done');
        } finally {
          await round.close();
        }
      }),
      { numRuns: 25 },
    );
  });
});
