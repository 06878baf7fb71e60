/** The payment actor through the real gate, registry, timers and outbox: requests, authorizations, ends. */
import { describe, expect, it } from 'vitest';
import { paymentDefinition } from '../../../src/actors/payment/payment.ts';
import { replay, stateName } from '../../../src/actors/runtime/machine-behaviour.ts';
import type { ErrorCode } from '../../../src/protocol/errors.ts';
import { alice, aliceId, bob, bobId, newSigner, PaymentWorld, pin, principal, sign } from '../../support/payment-harness.ts';

const addressOf = (paymentId: string) => `payment:${paymentId}`;

describe('request', () => {
  it('[PAY1] makes one payment, pending for five minutes', async () => {
    const world = await PaymentWorld.open();
    const view = await world.result('tween.wallet.pay', {
      ...world.order(75),
      items: [{ item_id: 'i', name: 'Ticket', quantity: 2, unit_price: '37.50' }],
      metadata: { seat: 7 },
    });
    expect(view).toEqual({
      payment_id: expect.stringMatching(/^pay_[a-z2-7]{34}$/),
      status: 'pending_authorization',
      amount: 75,
      currency: 'USD',
      description: 'Two tickets',
      merchant_order_id: 'order-1',
      merchant: { miniapp_id: 'ma_demo_shop', name: 'Demo shop', wallet_id: expect.any(String) },
      payer: { user_id: aliceId, wallet_id: expect.any(String) },
      authorization_required: true,
      created_at: '2026-01-01T00:00:00.000Z',
      expires_at: '2026-01-01T00:05:00.000Z',
    });
    expect(await world.history(addressOf(view.payment_id))).toEqual(['payment.requested → pending_authorization']);
    expect(await world.journal.timers(Number.MAX_SAFE_INTEGER, 10)).toEqual([
      { address: addressOf(view.payment_id), id: expect.stringContaining('authorizationLeft'), dueAt: world.clock.now() + 300_000 },
    ]);
  });

  it.each([
    [0, 'INVALID_AMOUNT'],
    [-1, 'INVALID_AMOUNT'],
    ['1e2', 'INVALID_AMOUNT'],
    ['75.001', 'INVALID_AMOUNT'],
    [0.1 + 0.2, 'INVALID_AMOUNT'],
    ['90071992547409.92', 'INVALID_AMOUNT'],
    ['50000.01', 'AMOUNT_EXCEEDS_LIMIT'],
  ])('[PAY2] [PAY3] an amount of %s is %s and leaves nothing', async (amount, code) => {
    const world = await PaymentWorld.open();
    const kept = world.journal.committed.length;
    expect((await world.call('tween.wallet.pay', world.order(amount))).error?.code).toBe(code);
    expect(world.journal.committed.length).toBe(kept);
  });

  it('[PAY3] the limit itself is taken', async () => {
    const world = await PaymentWorld.open();
    expect((await world.call('tween.wallet.pay', world.order('50000.00'))).error).toBeNull();
  });

  it.each<[string, Partial<ReturnType<PaymentWorld['order']>>, ErrorCode]>([
    ['an unknown currency', { currency: 'XXX' }, 'INVALID_CURRENCY'],
    ['a currency that is not the wallet’s', { currency: 'EUR' }, 'CURRENCY_MISMATCH'],
    ['items that cost more than the amount', { items: [{ item_id: 'i', name: 'n', quantity: 3, unit_price: 25.01 }] }, 'INVALID_REQUEST'],
    [
      'items past every safe integer',
      { items: [{ item_id: 'i', name: 'n', quantity: 1_000_000, unit_price: '90071992547409.91' }] },
      'INVALID_REQUEST',
    ],
    ['an item price with too many digits', { items: [{ item_id: 'i', name: 'n', quantity: 1, unit_price: 0.001 }] }, 'INVALID_AMOUNT'],
    ['a callback elsewhere', { callback_url: 'https://shop.example.evil/x' }, 'INVALID_REQUEST'],
    ['a callback with credentials', { callback_url: 'https://me:pw@shop.example/x' }, 'INVALID_REQUEST'],
  ])('[PAY2] [PAY3] [PAY4] refuses %s', async (_title, more, code) => {
    const world = await PaymentWorld.open();
    expect((await world.call('tween.wallet.pay', { ...world.order(75), ...more })).error?.code).toBe(code);
  });

  it('[PAY4] takes items that cost as much as the amount, and a callback at home', async () => {
    const world = await PaymentWorld.open();
    const order = {
      ...world.order(75),
      items: [{ item_id: 'i', name: 'n', quantity: 3, unit_price: 25 }],
      callback_url: 'https://shop.example/paid',
    };
    expect((await world.call('tween.wallet.pay', order)).error).toBeNull();
  });

  it('[PAY2] takes only the currencies it is told to', async () => {
    const world = await PaymentWorld.open({ currencies: new Set(['EUR']) });
    expect((await world.call('tween.wallet.pay', world.order(75))).error?.code).toBe('INVALID_CURRENCY');
  });

  it('[PAY5] refuses a suspended app, an unknown one, a suspended payer and a suspended wallet', async () => {
    const world = await PaymentWorld.open();
    const code = async (who = alice) => (await world.call('tween.wallet.pay', world.order(75), who)).error?.code;
    expect(await code(principal(aliceId, 'ma_none'))).toBe('MINIAPP_NOT_FOUND');
    world.apps.set('ma_demo_shop', { ...world.apps.get('ma_demo_shop')!, status: 'suspended' });
    expect(await code()).toBe('MINIAPP_NOT_FOUND');
    world.apps.set('ma_demo_shop', { ...world.apps.get('ma_demo_shop')!, status: 'active' });
    world.wallet.suspend(aliceId);
    expect(await code()).toBe('USER_SUSPENDED');
    world.users.set(bobId, { ...world.users.get(bobId)!, status: 'suspended' });
    expect(await code(bob)).toBe('USER_SUSPENDED');
    expect(await code(principal('@nobody:tween.example'))).toBe('USER_SUSPENDED');
  });

  it.each(['ensureAccount', 'ensureMerchant'] as const)(
    '[PAY6] is refused for a while when the wallet is away (%s), and the same key works later',
    async (operation) => {
      const world = await PaymentWorld.open();
      world.wallet.fault(operation, 'unavailable');
      world.wallet.fault(operation, 'unknown_before');
      world.wallet.fault(operation, 'throws');
      const order = world.order(75);
      const kept = world.journal.committed.length;
      const refusals = [
        await world.call('tween.wallet.pay', order),
        await world.call('tween.wallet.pay', order),
        await world.call('tween.wallet.pay', order),
      ];
      expect(refusals.map(({ error }) => [error?.code, error?.retryAfter])).toEqual([
        ['SERVICE_UNAVAILABLE', 7],
        ['SERVICE_UNAVAILABLE', 1],
        ['SERVICE_UNAVAILABLE', 1],
      ]);
      expect(world.journal.committed.length).toBe(kept);
      expect((await world.call('tween.wallet.pay', order)).error).toBeNull();
    },
  );

  it('[PAY7] gives the same payment for the same key, a hundred times at once and after a restart', async () => {
    const world = await PaymentWorld.open();
    const order = world.order(75);
    const asked = Array.from({ length: 17 }, () => world.ask('tween.wallet.pay', order));
    await world.settle();
    expect(new Set(asked.map(({ answer }) => JSON.stringify(answer?.result))).size).toBe(1);
    await world.crash();
    expect(await world.result('tween.wallet.pay', order)).toEqual(asked[0]?.answer?.result);
    expect((await world.call('tween.wallet.pay', { ...order, amount: 76 })).error?.code).toBe('DUPLICATE_TRANSACTION');
  });

  it('[PAY7] still knows the request when its first answer is forgotten', async () => {
    const world = await PaymentWorld.open();
    const order = world.order(75);
    const { payment_id: id } = await world.result('tween.wallet.pay', order);
    await world.pass(25 * 3600_000);
    await world.crash();
    expect(await world.result('tween.wallet.pay', order)).toMatchObject({ payment_id: id, status: 'expired' });
    expect((await world.call('tween.wallet.pay', { ...order, amount: 76 })).error?.code).toBe('DUPLICATE_TRANSACTION');
  });

  it('[PAY8] shows and does nothing for anyone but the payer in the same app', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay();
    for (const who of [bob, principal(aliceId, 'ma_other')]) {
      expect((await world.call('tween.payment.get', { payment_id: id }, who)).error?.code).toBe('PAYMENT_NOT_FOUND');
      expect((await world.call('tween.payment.cancel', { payment_id: id }, who)).error?.code).toBe('PAYMENT_NOT_FOUND');
      expect((await world.call('tween.payment.authorize', world.authorization(id), who)).error?.code).toBe('PAYMENT_NOT_FOUND');
      expect((await world.call('tween.payment.verifyMfa', world.verification(id, 'mfa_ch_1', '000000'), who)).error?.code).toBe(
        'PAYMENT_NOT_FOUND',
      );
    }
    expect((await world.call('tween.payment.get', { payment_id: 'pay_none' })).error?.code).toBe('PAYMENT_NOT_FOUND');
    expect(await world.status(id)).toBe('pending_authorization');
  });
});

describe('authorization', () => {
  it.each(['20.00', '20'])('[PAY9] takes a signature over the amount written %s', async (amount) => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    expect(await world.result('tween.payment.authorize', world.authorization(id, amount))).toMatchObject({
      status: 'completed',
      txn_id: 'txn_1',
      completed_at: expect.any(String),
    });
    expect(world.wallet.balance(aliceId)).toBe(98_000);
  });

  it.each(['20.0', '020.00', '2000', '19.99', '20.01'])('[PAY9] [PAY11] refuses one over %s', async (amount) => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    expect((await world.call('tween.payment.authorize', world.authorization(id, amount))).error?.code).toBe('INVALID_SIGNATURE');
    expect(await world.status(id)).toBe('pending_authorization');
    expect(world.wallet.calls.policy).toBe(0);
  });

  it.each([
    [300_000, null],
    [300_001, 'INVALID_SIGNATURE'],
    [-300_000, null],
    [-300_001, 'INVALID_SIGNATURE'],
  ])('[PAY10] takes a timestamp %d ms off as %s', async (ms, code) => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    const timestamp = new Date(world.clock.now() + ms).toISOString();
    const signed = { payment_id: id, device_id: 'phone', timestamp, signature: sign(world.signer, `${id}:20.00:USD:${timestamp}`) };
    expect((await world.call('tween.payment.authorize', signed)).error?.code ?? null).toBe(code);
  });

  it('[PAY11] refuses another payment’s signature, another device’s, and one of a moved time', async () => {
    const world = await PaymentWorld.open();
    const [id, other] = [await world.pay(20), await world.pay(20)];
    const code = async (input: ReturnType<PaymentWorld['authorization']>) =>
      (await world.call('tween.payment.authorize', input)).error?.code;
    expect(await code({ ...world.authorization(other), payment_id: id })).toBe('INVALID_SIGNATURE');
    expect(await code(world.authorization(id, '20.00', newSigner()))).toBe('INVALID_SIGNATURE');
    expect(await code(world.authorization(id, '20.00', newSigner('tablet')))).toBe('DEVICE_NOT_REGISTERED');
    expect(await code({ ...world.authorization(id, '20.00'), timestamp: new Date(world.clock.now() + 1).toISOString() })).toBe(
      'INVALID_SIGNATURE',
    );
    expect(await code({ ...world.authorization(id, '20.00'), timestamp: '2026-13-01T00:00:00Z' })).toBe('INVALID_SIGNATURE');
  });

  it('[PAY12] changes nothing while the wallet or a directory cannot say', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('policy', 'unavailable');
    world.wallet.fault('policy', 'unknown_before');
    world.wallet.fault('policy', 'throws');
    world.wallet.fault('policy', 'refused');
    const codes: unknown[] = [];
    for (let n = 0; n < 4; n++) codes.push((await world.call('tween.payment.authorize', world.authorization(id, '20.00'))).error?.code);
    expect(codes).toEqual(['SERVICE_UNAVAILABLE', 'SERVICE_UNAVAILABLE', 'SERVICE_UNAVAILABLE', 'PAYMENT_FAILED']);
    expect(await world.status(id)).toBe('pending_authorization');
    expect((await world.call('tween.payment.authorize', world.authorization(id, '20.00'))).error).toBeNull();
  });

  it('[PAY12] asks again whether app and payer may still trade', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.users.set(aliceId, { ...world.users.get(aliceId)!, status: 'suspended' });
    expect((await world.call('tween.payment.authorize', world.authorization(id, '20.00'))).error?.code).toBe('USER_SUSPENDED');
    world.apps.set('ma_demo_shop', { ...world.apps.get('ma_demo_shop')!, status: 'suspended' });
    expect((await world.call('tween.payment.authorize', world.authorization(id, '20.00'))).error?.code).toBe('FORBIDDEN');
  });

  it('[PAY13] asks for a second factor above the wallet’s amount, with what the user has', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay('50.01');
    const { error } = await world.call('tween.payment.authorize', world.authorization(id, '50.01'));
    expect(error?.code).toBe('MFA_REQUIRED');
    expect(error?.details).toEqual({
      payment_id: id,
      status: 'mfa_required',
      mfa_challenge: {
        challenge_id: 'mfa_ch_1',
        methods: [
          { type: 'transaction_pin', enabled: true, display_name: 'Transaction PIN' },
          { type: 'totp', enabled: true, display_name: 'Authenticator app' },
        ],
        required_method: 'any',
        expires_at: '2026-01-01T00:02:00.000Z',
        max_attempts: 3,
      },
    });
    expect(await world.status(id)).toBe('mfa_required');
  });

  it('[PAY13] offers only what the wallet takes', async () => {
    const world = await PaymentWorld.open();
    world.wallet.mfaMethods = ['totp', 'biometric'];
    const id = await world.pay(75);
    const { error } = await world.call('tween.payment.authorize', world.authorization(id));
    expect(error?.details).toMatchObject({ mfa_challenge: { methods: [{ type: 'totp' }] } });
  });

  it('[PAY14] tells a user without a factor to enrol one', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(75, bob);
    const { error } = await world.call('tween.payment.authorize', world.authorization(id), bob);
    expect([error?.code, error?.details]).toMatchObject(['FORBIDDEN', { enrol_required: true }]);
    expect(await world.status(id, bob)).toBe('pending_authorization');
  });

  it('[PAY15] voids the old challenge with the new one', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay();
    const first = await world.challenge(id);
    const second = await world.challenge(id);
    expect(second).not.toBe(first);
    expect((await world.call('tween.payment.verifyMfa', world.verification(id, first))).error?.code).toBe('MFA_CHALLENGE_EXPIRED');
    expect(await world.result('tween.payment.verifyMfa', world.verification(id, second))).toMatchObject({
      status: 'verified',
      proceed_to_processing: true,
      payment_status: 'completed',
    });
  });

  it('[PAY20] keeps the signature as evidence, and no credential anywhere', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay();
    const challenge = await world.challenge(id);
    const wrong = '918273';
    await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge, wrong));
    await world.result('tween.payment.verifyMfa', world.pinVerification(id, challenge));
    const written = JSON.stringify(world.journal.committed, (_key, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString() : value,
    );
    expect(written).toContain('"signature"');
    for (const secret of [pin, wrong]) expect(written.includes(secret)).toBe(false);
  });
});

describe('ends', () => {
  it('[PAY30] expires a payment that nobody authorized, also when the server was down at the time', async () => {
    const world = await PaymentWorld.open();
    const [id, other] = [await world.pay(), await world.pay()];
    await world.challenge(other);
    await world.pass(299_999);
    expect([await world.status(id), await world.status(other)]).toEqual(['pending_authorization', 'mfa_required']);
    await world.crash();
    await world.pass(1);
    expect([await world.status(id), await world.status(other)]).toEqual(['expired', 'expired']);
    expect((await world.call('tween.payment.authorize', world.authorization(id))).error?.code).toBe('PAYMENT_EXPIRED');
    expect(await world.journal.timers(Number.MAX_SAFE_INTEGER, 10)).toEqual([]);
    expect(world.restarts).toEqual([]);
  });

  it('[PAY31] cancels before the wallet has it, and says so again', async () => {
    const world = await PaymentWorld.open();
    const [id, other] = [await world.pay(), await world.pay()];
    await world.challenge(other);
    for (const one of [id, other, id])
      expect(await world.result('tween.payment.cancel', { payment_id: one, reason: 'changed my mind' })).toMatchObject({
        status: 'cancelled',
      });
    expect((await world.call('tween.payment.authorize', world.authorization(id))).error?.code).toBe('INVALID_STATE');
    expect(world.wallet.calls.charge).toBe(0);
  });

  it('[PAY31] does not cancel what the wallet has, or what is done', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    world.wallet.fault('charge', 'slow');
    const authorized = world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle();
    expect((await world.call('tween.payment.cancel', { payment_id: id })).error?.code).toBe('INVALID_STATE');
    world.wallet.release();
    await world.settle();
    expect(authorized.answer?.result).toMatchObject({ status: 'completed' });
    expect((await world.call('tween.payment.cancel', { payment_id: id })).error?.code).toBe('INVALID_STATE');
  });

  it('[PAY29] answers a finished payment’s signature with how it went, however late', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay(20);
    const signed = world.authorization(id, '20.00');
    const first = await world.result('tween.payment.authorize', signed);
    await world.pass(3_600_000);
    expect(await world.result('tween.payment.authorize', signed)).toEqual(first);
    expect(world.wallet.booked(id)).toHaveLength(1);
  });

  it('[PAY32] tells the payer’s sessions of the app, only of what is flushed', async () => {
    const world = await PaymentWorld.open({ autoFlush: false });
    world.events.length = 0;
    world.ask('tween.wallet.pay', world.order(20));
    await world.settle();
    expect(world.events).toEqual([]);
    await world.settle({ flush: true });
    expect(world.events).toMatchObject([
      {
        userId: aliceId,
        appId: 'ma_demo_shop',
        method: 'tween.payment.updated',
        params: { status: 'pending_authorization', amount: 20, currency: 'USD' },
      },
    ]);
    const id = String(world.events[0]?.params['payment_id']);
    expect(world.events[0]?.key).toBe(id);
    const authorized = world.ask('tween.payment.authorize', world.authorization(id, '20.00'));
    await world.settle({ flush: true });
    expect(authorized.answer?.error).toBeNull();
    expect(world.events.slice(1).map(({ method, params }) => [method, params['status'], params['txn_id']])).toEqual([
      ['tween.payment.updated', 'processing', undefined],
      ['tween.payment.updated', 'completed', 'txn_1'],
      ['tween.wallet.updated', undefined, undefined],
    ]);
  });

  it('[PAY33] its history leads to where it is', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay();
    const challenge = await world.challenge(id);
    await world.call('tween.payment.verifyMfa', world.pinVerification(id, challenge, '111222'));
    world.wallet.fault('charge', 'unknown_after');
    await world.result('tween.payment.verifyMfa', world.verification(id, challenge));
    await world.pass(1_000);
    const records = await world.journal.records(addressOf(id));
    const replayed = replay(paymentDefinition, records);
    expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => index + 1));
    expect(stateName(replayed.value)).toBe('completed');
    expect((await world.journal.load(addressOf(id)))?.snapshot).toEqual({ value: 'completed', context: replayed.context, timers: {} });
  });

  it('[PAY33] sets an actor aside whose snapshot is of a later version', async () => {
    const world = await PaymentWorld.open();
    const id = await world.pay();
    const { seq, snapshot } = (await world.journal.load(addressOf(id)))!;
    world.journal.append({ address: addressOf(id), kind: 'payment', baseSeq: seq, seq: seq + 1, machineVersion: 99, snapshot }, () => {});
    await world.settle();
    await world.crash();
    expect((await world.call('tween.payment.get', { payment_id: id })).error?.code).toBe('SERVICE_UNAVAILABLE');
    expect(world.restarts).toHaveLength(3);
  });
});
