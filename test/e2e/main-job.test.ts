/** The main job against the whole server: balance, payment with second factor, faults of the wallet, storage, restarts. */
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { secretBytes, totpCode } from '../../scripts/lib/totp.ts';
import type { Client } from '../../src/client/mod.ts';
import type { FixtureUser } from '../../src/dev/fixtures.ts';
import { TmcpError } from '../../src/protocol/errors.ts';
import { allScopes, type DevApp, startDevApp } from '../support/dev-app.ts';

let app: DevApp;
let alice: FixtureUser;
let client: Client;

beforeAll(async () => {
  app = await startDevApp();
  alice = app.user('alice');
  client = await app.client(alice.user_id, allScopes);
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
});

const request = (amount: number) => ({
  amount,
  currency: 'USD',
  description: 'A purchase',
  merchant_order_id: randomUUID(),
  idempotency_key: randomUUID(),
});

function authorization(paymentId: string, amount: string) {
  const timestamp = new Date(app.now()).toISOString();
  const text = `${paymentId}:${amount}:USD:${timestamp}`;
  const signature = sign('sha256', Buffer.from(text), createPrivateKey(alice.device.private_key)).toString('base64');
  return { payment_id: paymentId, signature, device_id: alice.device.device_id, timestamp };
}

const balance = async (): Promise<number> => (await client.call('tween.wallet.getBalance', {})).balance.available;

async function fault(body: unknown): Promise<void> {
  const response = await fetch(`${app.wallet.adminUrl}/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.ok).toBe(true);
}

async function chargesOf(paymentId: string): Promise<number> {
  const response = await fetch(`${app.wallet.adminUrl}/charges?reference=${paymentId}`);
  return ((await response.json()) as { charges: unknown[] }).charges.length;
}

async function challengeOf(paymentId: string, amount: string): Promise<{ challenge_id: string; methods: { type: string }[] }> {
  try {
    await client.call('tween.payment.authorize', authorization(paymentId, amount));
  } catch (error) {
    if (error instanceof TmcpError && error.code === 'MFA_REQUIRED') return (error.details as { mfa_challenge: never }).mfa_challenge;
    throw error;
  }
  throw new Error('no second factor was asked for');
}

/** A code that was not used: the clock moves past the step of the last. */
async function freshCode(): Promise<string> {
  await app.advance(31_000);
  return totpCode(secretBytes(alice.totp_secret), app.now());
}

describe('a payment', () => {
  it('of 20.00 needs a signature only, and moves the money once', async () => {
    const before = await balance();
    const payment = await client.call('tween.wallet.pay', request(20));
    expect(payment).toMatchObject({ status: 'pending_authorization', amount: 20, currency: 'USD', authorization_required: true });
    const authorized = authorization(payment.payment_id, '20.00');
    const done = await client.call('tween.payment.authorize', authorized);
    expect(done).toMatchObject({
      status: 'completed',
      payer: { user_id: alice.user_id, wallet_id: alice.wallet_id },
      merchant: { miniapp_id: 'ma_demo_shop' },
    });
    expect(done.txn_id).toBeTruthy();
    expect(await client.call('tween.payment.authorize', authorized)).toMatchObject({ status: 'completed', txn_id: done.txn_id });
    expect(Math.round((before - (await balance())) * 100)).toBe(2_000);
    expect(await chargesOf(payment.payment_id)).toBe(1);
  });

  it('of 75.00 needs a second factor; a code counts once; the PIN works too', async () => {
    const first = await client.call('tween.wallet.pay', request(75));
    const challenge = await challengeOf(first.payment_id, '75.00');
    expect(challenge.methods.map(({ type }) => type)).toEqual(expect.arrayContaining(['totp', 'transaction_pin']));
    const code = await freshCode();
    const fresh = await challengeOf(first.payment_id, '75.00');
    const verified = await client.call('tween.payment.verifyMfa', {
      payment_id: first.payment_id,
      challenge_id: fresh.challenge_id,
      method: 'totp',
      credentials: { code },
    });
    expect(verified).toMatchObject({ status: 'verified', proceed_to_processing: true, payment_status: 'completed' });

    const second = await client.call('tween.wallet.pay', request(75));
    const again = await challengeOf(second.payment_id, '75.00');
    const replay = { payment_id: second.payment_id, challenge_id: again.challenge_id, method: 'totp' as const, credentials: { code } };
    await expect(client.call('tween.payment.verifyMfa', replay)).rejects.toMatchObject({
      code: 'INVALID_MFA_CREDENTIALS',
      details: { attempts_remaining: 2 },
    });
    const pin = {
      payment_id: second.payment_id,
      challenge_id: again.challenge_id,
      method: 'transaction_pin' as const,
      credentials: { pin: alice.pin },
    };
    expect(await client.call('tween.payment.verifyMfa', pin)).toMatchObject({ payment_status: 'completed' });
  });

  it('with a wrong PIN three times fails and moves nothing', async () => {
    const before = await balance();
    const payment = await client.call('tween.wallet.pay', request(60));
    const { challenge_id } = await challengeOf(payment.payment_id, '60.00');
    const wrong = {
      payment_id: payment.payment_id,
      challenge_id,
      method: 'transaction_pin' as const,
      credentials: { pin: alice.pin === '918273' ? '918274' : '918273' },
    };
    const codes: string[] = [];
    for (let n = 0; n < 4; n++)
      codes.push(
        await client.call('tween.payment.verifyMfa', wrong, { repeat: false }).then(
          () => 'ok',
          (error: TmcpError) => error.code,
        ),
      );
    expect(codes.slice(0, 3)).toEqual(['INVALID_MFA_CREDENTIALS', 'INVALID_MFA_CREDENTIALS', 'MFA_LOCKED']);
    expect(codes[3]).not.toBe('ok');
    expect(await client.call('tween.payment.get', { payment_id: payment.payment_id })).toMatchObject({ status: 'failed' });
    expect(await balance()).toBe(before);
  });

  it('signed for another amount is refused', async () => {
    const payment = await client.call('tween.wallet.pay', request(30));
    await expect(client.call('tween.payment.authorize', authorization(payment.payment_id, '3.00'))).rejects.toMatchObject({
      code: 'INVALID_SIGNATURE',
    });
    expect(await chargesOf(payment.payment_id)).toBe(0);
  });

  it('past its five minutes is expired', async () => {
    const payment = await client.call('tween.wallet.pay', request(5));
    const expired = client.next<{ payment_id: string; status: string }>(
      'tween.payment.updated',
      (event) => event.payment_id === payment.payment_id && event.status === 'expired',
    );
    await app.advance(5 * 60_000 + 1_000);
    await expired;
    await expect(client.call('tween.payment.authorize', authorization(payment.payment_id, '5.00'))).rejects.toMatchObject({
      code: 'PAYMENT_EXPIRED',
    });
  });

  it('that is cancelled stays cancelled', async () => {
    const payment = await client.call('tween.wallet.pay', request(5));
    expect(await client.call('tween.payment.cancel', { payment_id: payment.payment_id })).toMatchObject({ status: 'cancelled' });
    await expect(client.call('tween.payment.authorize', authorization(payment.payment_id, '5.00'))).rejects.toMatchObject({
      code: 'INVALID_STATE',
    });
  });

  it('whose charge was booked but never answered completes by itself, charged once', async () => {
    const payment = await client.call('tween.wallet.pay', request(7));
    const completed = client.next<{ payment_id: string; status: string }>(
      'tween.payment.updated',
      (event) => event.payment_id === payment.payment_id && event.status === 'completed',
    );
    await fault({ operation: 'charge', mode: 'timeout_after', count: 1 });
    const answer = await client.call('tween.payment.authorize', authorization(payment.payment_id, '7.00'));
    expect(['processing', 'completed']).toContain(answer.status);
    await app.advance(5_000);
    await completed;
    expect(await chargesOf(payment.payment_id)).toBe(1);
  });

  it('that the wallet refuses fails with the wallet’s reason', async () => {
    const payment = await client.call('tween.wallet.pay', request(9));
    await fault({ operation: 'charge', mode: 'refuse', count: 1 });
    const error = await client.call('tween.payment.authorize', authorization(payment.payment_id, '9.00')).then(
      () => undefined,
      (thrown: TmcpError) => thrown,
    );
    expect(error?.status).toBeGreaterThanOrEqual(400);
    expect(await client.call('tween.payment.get', { payment_id: payment.payment_id })).toMatchObject({ status: 'failed' });
    expect(await chargesOf(payment.payment_id)).toBe(0);
  });
});

describe('both doors', () => {
  it('give the same answer, and an idempotency key holds across them', async () => {
    const body = request(3);
    const { idempotency_key, ...rest } = body;
    const overLive = await client.call('tween.wallet.pay', body);
    const token = await app.token(alice.user_id, allScopes);
    const response = await fetch(`${app.origin}/api/v1/payments/request`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': idempotency_key },
      body: JSON.stringify(rest),
    });
    expect(response.status).toBe(201);
    expect(await response.json()).toEqual(overLive);
    const other = await fetch(`${app.origin}/api/v1/payments/request`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, amount: 4 }),
    });
    expect(other.status).toBe(409);
    expect(((await other.json()) as { error: { code: string } }).error.code).toBe('DUPLICATE_TRANSACTION');
  });
});

describe('a restart', () => {
  it('finds values, payments, devices and factors as they were', async () => {
    await client.call('tween.storage.set', { key: 'kept', value: 'here' });
    const payment = await client.call('tween.wallet.pay', request(11));
    await app.restart();
    expect((await client.call('tween.storage.get', { key: 'kept' })).value).toBe('here');
    expect(await client.call('tween.payment.get', { payment_id: payment.payment_id })).toEqual(payment);
    expect(await client.call('tween.payment.authorize', authorization(payment.payment_id, '11.00'))).toMatchObject({ status: 'completed' });
  });

  it('lets a client push what it wrote meanwhile, each write once', async () => {
    client.goOffline();
    for (let n = 0; n < 30; n++) await client.storage.set(`offline-${n % 10}`, `v${n}`);
    await app.restart();
    await client.connect();
    await client.storage.flushed();
    const { items } = await client.call('tween.storage.batchGet', { keys: Array.from({ length: 10 }, (_, n) => `offline-${n}`) });
    expect(items.map(({ value }) => value)).toEqual(Array.from({ length: 10 }, (_, n) => `v${n + 20}`));
  });
});

describe('browsers', () => {
  it('of a registered app’s origin may call and go live; any other origin may not', async () => {
    const preflight = (origin: string) =>
      fetch(`${app.origin}/api/v1/user`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' },
      });
    expect((await preflight('http://127.0.0.1:8081')).headers.get('access-control-allow-origin')).toBe('http://127.0.0.1:8081');
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('a node whose actors were taken over', () => {
  it('acknowledges nothing more and tells the balancer', async () => {
    await client.call('tween.storage.set', { key: 'before', value: 'kept' });
    await app.dev.app.parts.database.query('update slots set epoch = epoch + 1');
    await expect(client.call('tween.storage.set', { key: 'after', value: 'not kept' }, { repeat: false })).rejects.toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
    });
    expect((await fetch(`${app.origin}/readyz`)).status).toBe(503);
    await app.restart();
    expect((await fetch(`${app.origin}/readyz`)).status).toBe(200);
    expect((await client.call('tween.storage.get', { key: 'before' })).value).toBe('kept');
    await expect(client.call('tween.storage.get', { key: 'after' })).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
  });
});
