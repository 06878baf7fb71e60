/** Payment and wallet: intent before the call, result before the answer, one charge whatever happens in between. */
import { describe, expect, it } from 'vitest';
import { createChargeRunner } from '../../../src/actors/payment/charge-runner.ts';
import type { OutboxRow } from '../../../src/actors/ports.ts';
import { LedgerWallet } from '../../support/ledger-wallet.ts';
import { alice, aliceId, bob, PaymentWorld } from '../../support/payment-harness.ts';

const addressOf = (paymentId: string) => `payment:${paymentId}`;

describe('the charge', () => {
  it('[PAY22] is written as an intent in the commit that enters processing, before the wallet hears of it', async () => {
    const world = await PaymentWorld.open({ autoFlush: false });
    const asked = world.ask('tween.wallet.pay', world.order(20));
    await world.settle({ flush: true });
    const id = asked.answer!.result.payment_id;
    const authorized = world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    expect([world.wallet.calls.charge, authorized.answer]).toEqual([0, undefined]);
    world.journal.flush();
    const intent = world.journal.committed.at(-1);
    expect(intent?.records?.map(({ stateAfter }) => stateAfter)).toEqual(['processing.charging']);
    expect(intent?.outbox).toEqual([
      {
        id: `${addressOf(id)}#2.0`,
        type: 'wallet.charge',
        payload: {
          reference: id,
          idempotency_key: `charge:${id}`,
          payer_user_id: aliceId,
          merchant_app_id: 'ma_demo_shop',
          amount_minor: 2_000,
          currency: 'USD',
          description: 'Two tickets',
          intent_at: world.clock.now(),
        },
      },
    ]);
    await world.settle();
    // The wallet has answered; nobody is told before that is committed as well.
    expect([world.wallet.calls.charge, authorized.answer]).toEqual([1, undefined]);
    world.journal.flush();
    await world.settle();
    expect(world.journal.committed.at(-1)).toMatchObject({ outboxDone: [`${addressOf(id)}#2.0`], records: [{ stateAfter: 'completed' }] });
    expect(authorized.answer?.result).toMatchObject({ status: 'completed' });
  });

  it('[PAY24] happens once for two hundred authorizations at once', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    const signed = world.authorization(id, '20.00');
    const asked = Array.from({ length: 200 }, () => world.ask('tween.payment.authorize', signed));
    await world.settle();
    expect(new Set(asked.map(({ answer }) => answer?.result.status))).toEqual(new Set(['completed']));
    expect([world.wallet.calls.charge, world.wallet.booked(id).length]).toEqual([1, 1]);
  });

  it('[PAY24] happens once under one idempotency key, also over a restart', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    const signed = { ...world.authorization(id, '20.00'), idempotency_key: 'auth-1' };
    const first = await world.result('tween.payment.authorize', signed);
    await world.crash();
    expect(await world.result('tween.payment.authorize', signed)).toEqual(first);
    expect(world.wallet.booked(id)).toHaveLength(1);
  });

  it('[PAY28] that is refused fails the payment with the wallet’s code', async () => {
    const world = await PaymentWorld.open();
    await world.internal('user:@bob:tween.example', 'mfa.enrol', { pin: '739105' });
    await world.settle();
    const id = await world.pay('100.01', bob);
    const challenge = await world.challenge(id, '100.01', bob);
    const refused = await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge, '739105'), bob);
    expect([refused.error?.code, refused.error?.details]).toMatchObject(['INSUFFICIENT_FUNDS', { payment_id: id, status: 'failed' }]);
    expect(await world.result('tween.payment.get', { payment_id: id }, bob)).toMatchObject({
      status: 'failed',
      error: { code: 'INSUFFICIENT_FUNDS' },
    });
    expect((await world.call('tween.payment.authorize', world.authorization(id, '100.01'), bob)).error?.code).toBe('INSUFFICIENT_FUNDS');
    expect(world.wallet.balance('@bob:tween.example')).toBe(10_000);
  });
});

describe('an unknown outcome', () => {
  it.each([
    ['unknown_after', 1],
    ['throws', 1],
    ['wrong', 1],
    ['unknown_before', 2],
    ['unavailable', 2],
  ] as const)(
    '[PAY25] %s: the caller hears processing, the wallet is asked after a second, and one charge stands',
    async (fault, charges) => {
      const world = await PaymentWorld.open();
      const id = await world.pay(20);
      world.wallet.fault('charge', fault);
      expect(await world.result('tween.payment.authorize', world.authorization(id, '20.00'))).toMatchObject({ status: 'processing' });
      expect(await world.result('tween.payment.authorize', world.authorization(id, '20.00'))).toMatchObject({ status: 'processing' });
      await world.pass(999);
      expect([await world.status(id), world.wallet.calls.findCharge]).toEqual(['processing', 0]);
      await world.pass(1);
      expect(await world.status(id)).toBe('completed');
      expect([world.wallet.calls.charge, world.wallet.booked(id).length, world.wallet.sum()]).toEqual([charges, 1, 0]);
    },
  );

  it('[PAY25] is asked about until the wallet answers, over restarts', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'unknown_after');
    world.wallet.fault('findCharge', 'unavailable', 5);
    world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    for (const seconds of [1, 2, 5]) await world.pass(seconds * 1_000);
    await world.crash();
    for (const seconds of [10, 30]) await world.pass(seconds * 1_000);
    expect([await world.status(id), world.wallet.calls.findCharge]).toEqual(['processing', 5]);
    await world.pass(60_000);
    expect([await world.status(id), world.wallet.booked(id).length]).toEqual(['completed', 1]);
  });

  it('[PAY26] a charge that another process may have tried is asked for before it is posted', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'slow');
    const lost = world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    await world.crash();
    world.wallet.release();
    await world.settle();
    expect([lost.answer, await world.status(id)]).toEqual([undefined, 'completed']);
    expect([world.wallet.calls.findCharge, world.wallet.booked(id).length]).toEqual([1, 1]);
  });

  it('[PAY26] past the horizon the wallet is only asked, and a person told', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'unknown_before');
    world.wallet.fault('findCharge', 'unavailable', 1_000);
    world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    for (let minute = 0; minute < 12 * 60; minute++) await world.pass(60_000);
    world.wallet.forgetKeys();
    world.wallet.heal();
    for (let minute = 0; minute < 3; minute++) await world.pass(60_000);
    expect([world.wallet.calls.charge, world.wallet.booked(id).length, await world.status(id)]).toEqual([1, 0, 'processing']);
    expect(world.alarms).toEqual([`${id}: the fate of the charge cannot be told`]);
  });

  it('[PAY27] another payment’s charge under this reference is not believed', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'wrong');
    world.wallet.fault('findCharge', 'wrong', 3);
    world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    for (const seconds of [1, 2, 5]) await world.pass(seconds * 1_000);
    expect(await world.status(id)).toBe('processing');
    await world.pass(10_000);
    expect(await world.status(id)).toBe('completed');
  });

  it('[PAY23] a result that cannot be committed is got again, not charged again', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'slow');
    const asked = world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    world.journal.refuse(true);
    world.wallet.release();
    await world.settle();
    expect(asked.answer).toBeUndefined();
    world.journal.refuse(false);
    await world.pass(11_000);
    expect([asked.answer?.result.status, world.wallet.booked(id).length, world.wallet.calls.charge]).toEqual(['completed', 1, 1]);
    expect(await world.journal.outbox(10)).toEqual([]);
  });

  it('[PAY23] a commit that fails tells its callers to come again, and they find the truth', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'slow');
    const asked = world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    world.journal.failNext();
    world.wallet.release();
    await world.settle();
    expect(asked.answer?.error?.code).toBe('SERVICE_UNAVAILABLE');
    await world.pass(11_000);
    expect(await world.result('tween.payment.authorize', world.authorization(id, '20.00'))).toMatchObject({ status: 'completed' });
    expect(world.wallet.booked(id)).toHaveLength(1);
  });
});

describe('a request whose commit fails', () => {
  it('[PAY7] is not told to its repeats as made', async () => {
    const world = await PaymentWorld.open({ autoFlush: false });
    const order = world.order(20);
    const asked = Array.from({ length: 5 }, () => world.ask('tween.wallet.pay', order));
    await world.settle();
    world.journal.failNext();
    world.journal.flush();
    await world.settle();
    expect(asked.map(({ answer }) => answer?.error?.code)).toEqual(['SERVICE_UNAVAILABLE', undefined, undefined, undefined, undefined]);
    expect(asked.slice(1).map(({ answer }) => answer)).toEqual(Array.from({ length: 4 }, () => undefined));
    await world.settle({ flush: true });
    const views = asked.slice(1).map(({ answer }) => answer?.result);
    expect(new Set(views.map((view) => view?.payment_id)).size).toBe(1);
    expect((await world.journal.load(`payment:${views[0]?.payment_id}`))?.seq).toBe(1);
  });
});

describe('the runner alone', () => {
  const now = 13 * 3_600_000;
  const row = (intentAt: number): OutboxRow => ({
    id: 'payment:pay_1#2.0',
    type: 'wallet.charge',
    payload: {
      reference: 'pay_1',
      idempotency_key: 'charge:pay_1',
      payer_user_id: aliceId,
      merchant_app_id: alice.appId,
      amount_minor: 100,
      currency: 'USD',
      description: 'd',
      intent_at: intentAt,
    },
  });
  const funded = async () => {
    const wallet = new LedgerWallet({ now: () => now });
    wallet.fund(aliceId, 1_000);
    await wallet.ensureMerchant(alice.appId);
    return wallet;
  };

  it.each([
    [12 * 3_600_000 - 1, 'done', 1],
    [12 * 3_600_000, 'unresolved', 0],
    [12 * 3_600_000 + 1, 'unresolved', 0],
  ])('[PAY26] an intent %d ms old, of which the wallet knows nothing, is %s', async (age, kind, booked) => {
    for (const type of ['wallet.charge', 'wallet.settle'] as const) {
      const wallet = await funded();
      expect(await createChargeRunner(wallet, { now: () => now })[type](row(now - age), { recovered: true })).toMatchObject({ kind });
      expect(wallet.booked('pay_1')).toHaveLength(booked);
    }
  });

  it('[PAY26] takes a charge that is there, however old', async () => {
    const wallet = await funded();
    const runner = createChargeRunner(wallet, { now: () => now });
    await runner['wallet.charge'](row(now), { recovered: false });
    wallet.forgetKeys();
    expect(await runner['wallet.settle'](row(0), { recovered: false })).toMatchObject({ kind: 'done', value: { txnId: 'txn_1' } });
    expect(wallet.booked('pay_1')).toHaveLength(1);
  });

  it('[PAY25] gives a wallet that throws as unknown', async () => {
    const wallet = await funded();
    wallet.fault('findCharge', 'throws');
    expect(await createChargeRunner(wallet, { now: () => now })['wallet.settle'](row(now), { recovered: false })).toEqual({
      kind: 'unknown',
      reason: 'the wallet adapter is broken',
    });
  });
});
