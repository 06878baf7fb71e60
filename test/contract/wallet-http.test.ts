/** The sandbox's side of docs/tweenpay.md, request by request: what a real wallet must do as well. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startWalletSandbox } from '../../src/wallet-sandbox/sandbox.ts';
import { admin, alice, type Bench, bob, openBench, raw, shop, token, until } from '../unit/tweenpay/support.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await openBench({ idempotencyKeepMs: 60_000 });
});
afterEach(() => bench.close());

const body = {
  reference: 'pay_1',
  payer_user_id: alice,
  merchant_app_id: shop,
  amount_minor: 7_500,
  currency: 'USD',
  description: 'Two tickets',
};
const charge = (more: object = {}, key: string | undefined = 'k1') =>
  raw(bench.sandbox, 'POST', '/v1/charges', { body: { ...body, ...more }, ...(key === undefined ? {} : { key }) });
const codeOf = (answer: { json: unknown }) => (answer.json as { error?: { code: string } }).error?.code;

describe('idempotency', () => {
  it('replays status and body byte for byte, and says that it did', async () => {
    const first = await charge();
    const again = await charge();
    expect([again.status, again.text]).toEqual([first.status, first.text]);
    expect([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')]).toEqual([null, 'true']);
  });

  it('takes the same members in another order for the same request', async () => {
    const first = await charge();
    const reversed = JSON.stringify(Object.fromEntries(Object.entries(body).reverse()));
    const again = await raw(bench.sandbox, 'POST', '/v1/charges', { body: reversed, key: 'k1' });
    expect([again.status, again.text]).toEqual([first.status, first.text]);
  });

  it('replays refusals too, also when the cause is gone', async () => {
    const first = await charge({ payer_user_id: bob, amount_minor: 10_001 });
    expect([first.status, codeOf(first)]).toEqual([402, 'insufficient_funds']);
    await admin(bench.sandbox, 'POST', '/accounts', { user_id: bob, currency: 'USD', balance_minor: 99_999 });
    expect((await charge({ payer_user_id: bob, amount_minor: 10_001 })).text).toBe(first.text);
  });

  it('answers 409 to the same key with another body or on another route', async () => {
    const { json } = await charge();
    const txn = (json as { txn_id: string }).txn_id;
    const other = await charge({ amount_minor: 7_501 });
    expect([other.status, codeOf(other)]).toEqual([409, 'idempotency_conflict']);
    const refund = await raw(bench.sandbox, 'POST', `/v1/charges/${txn}/refunds`, {
      body: { reference: 'r', amount_minor: 1, currency: 'USD' },
      key: 'k1',
    });
    expect([refund.status, codeOf(refund)]).toEqual([409, 'idempotency_conflict']);
  });

  it('lets the same request wait while the first runs, and refuses another one at once', async () => {
    await admin(bench.sandbox, 'POST', '/faults', { operation: 'charge', mode: 'slow', delay_ms: 5_000 });
    const first = charge();
    await until(async () => bench.sandboxClock.waiting === 1);
    const second = charge();
    expect(codeOf(await charge({ amount_minor: 1 }))).toBe('idempotency_conflict');
    bench.sandboxClock.advance(5_000);
    expect((await second).text).toBe((await first).text);
    expect(await admin(bench.sandbox, 'GET', '/ledger')).toMatchObject({ charges: 1 });
  });

  it('keeps a key free after a request that was not well formed', async () => {
    expect((await charge({ amount_minor: 0 })).status).toBe(400);
    expect((await charge()).status).toBe(201);
    const ensure = (currency: string) => raw(bench.sandbox, 'PUT', '/v1/users/new/account', { body: { currency }, key: 'k2' });
    expect([(await ensure('XXX')).status, (await ensure('USD')).status]).toEqual([400, 201]);
  });

  it('forgets a key after its time; the reference still guards the charge', async () => {
    await charge();
    bench.sandboxClock.advance(59_999);
    expect((await charge()).status).toBe(201);
    bench.sandboxClock.advance(1);
    const late = await charge();
    expect([late.status, codeOf(late)]).toEqual([409, 'duplicate_reference']);
  });

  it.each([
    ['no key', undefined, 400],
    ['a key of 255 characters', 'x'.repeat(255), 201],
    ['a key of 256 characters', 'x'.repeat(256), 400],
    ['a key with a space', 'with space', 400],
  ])('%s is taken or refused', async (_title, key, status) => {
    const answer = await raw(bench.sandbox, 'POST', '/v1/charges', { body, ...(key === undefined ? {} : { key }) });
    expect(answer.status).toBe(status);
  });
});

describe('requests', () => {
  it.each([
    ['a misspelt member', { amount_minr: 1 }],
    ['a fraction', { amount_minor: 75.5 }],
    ['an amount as text', { amount_minor: '7500' }],
    ['a negative amount', { amount_minor: -1 }],
    ['an amount past the exact integers', { amount_minor: 2 ** 53 }],
    ['a currency in lower case', { currency: 'usd' }],
    ['an empty reference', { reference: '' }],
    ['a long reference', { reference: 'x'.repeat(256) }],
    ['a long description', { description: 'x'.repeat(501) }],
  ])('with %s are 400 and change nothing', async (_title, more) => {
    const answer = await charge(more);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'invalid_request']);
    expect(await admin(bench.sandbox, 'GET', '/ledger')).toMatchObject({ charges: 0 });
  });

  it.each([
    ['text that is not JSON', '{"a"', 400],
    ['a JSON null', 'null', 400],
    ['a body past 64 KiB', JSON.stringify({ ...body, description: 'x'.repeat(70_000) }), 413],
  ])('made of %s are refused', async (_title, text, status) => {
    expect((await raw(bench.sandbox, 'POST', '/v1/charges', { body: text, key: 'k1' })).status).toBe(status);
  });

  it.each(['', 'wrong', `${token}x`])('without the service token (%j) are 401', async (bad) => {
    const answer = await raw(bench.sandbox, 'GET', `/v1/users/${alice}/account`, { token: bad });
    expect([answer.status, codeOf(answer)]).toEqual([401, 'unauthorized']);
  });

  it('to paths that are not in the contract are 404', async () => {
    for (const path of ['/v1/nothing', '/v1/users/%ZZ/account', '/v1/users//account', '/v1/users/a/account/b', '/v2/users/a/account']) {
      expect((await raw(bench.sandbox, 'GET', path)).status, path).toBe(404);
    }
    expect((await raw(bench.sandbox, 'DELETE', '/v1/charges')).status).toBe(404);
  });

  it.each([
    ['?limit=1', 200],
    ['?limit=100', 200],
    ['?limit=0', 400],
    ['?limit=101', 400],
    ['?limit=x', 400],
    ['?offset=-1', 400],
    ['?offset=99', 200],
  ])('page %s → %d', async (query, status) => {
    expect((await raw(bench.sandbox, 'GET', `/v1/users/${encodeURIComponent(alice)}/transactions${query}`)).status).toBe(status);
  });

  it('need no token for the health check', async () => {
    expect(await (await fetch(`${bench.sandbox.url}/healthz`)).json()).toEqual({ status: 'ok' });
  });
});

describe('refunds', () => {
  const refund = (txn: string, reference: string, amount: number, more: object = {}) =>
    raw(bench.sandbox, 'POST', `/v1/charges/${txn}/refunds`, {
      body: { reference, amount_minor: amount, currency: 'USD', ...more },
      key: `key-${reference}-${amount}`,
    });

  it('give back parts up to the whole charge and not one unit more', async () => {
    const txn = ((await charge()).json as { txn_id: string }).txn_id;
    expect((await refund(txn, 'r1', 7_000)).json).toMatchObject({
      amount_minor: 7_000,
      refunded_total_minor: 7_000,
      refundable_minor: 500,
    });
    const over = await refund(txn, 'r2', 501);
    expect([over.status, codeOf(over)]).toEqual([422, 'refund_exceeds_charge']);
    expect((await refund(txn, 'r3', 500)).json).toMatchObject({ refundable_minor: 0 });
    expect((await refund(txn, 'r4', 1)).status).toBe(422);
    expect(await admin(bench.sandbox, 'GET', '/ledger')).toMatchObject({ sum: 0, refunded_minor: 7_500, over_refunded: 0 });
  });

  it('of a hundred parts at once never add up to more than the charge', async () => {
    const txn = ((await charge()).json as { txn_id: string }).txn_id;
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => refund(txn, `r${n}`, 100)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(75);
    expect(await admin(bench.sandbox, 'GET', '/ledger')).toMatchObject({ refunded_minor: 7_500, over_refunded: 0, sum: 0 });
  });

  it('are refused for an unknown charge, another currency, or a reference used before', async () => {
    const txn = ((await charge()).json as { txn_id: string }).txn_id;
    expect(codeOf(await refund('txn_none', 'r1', 1))).toBe('charge_not_found');
    expect(codeOf(await refund(txn, 'r2', 1, { currency: 'EUR' }))).toBe('currency_mismatch');
    expect((await refund(txn, 'r3', 1)).status).toBe(201);
    expect(codeOf(await refund(txn, 'r3', 2))).toBe('duplicate_reference');
  });
});

describe('admin doors', () => {
  it('are found below the admin URL and below its own prefix', async () => {
    expect(await admin(bench.sandbox, 'GET', '/admin/ledger')).toEqual(await admin(bench.sandbox, 'GET', '/ledger'));
  });

  it('refuse a plan or an account that makes no sense', async () => {
    for (const [path, bad] of [
      ['/faults', { operation: 'charge', mode: 'explode' }],
      ['/faults', { operation: 'nothing', mode: 'down' }],
      ['/faults', { mode: 'down', operation: '*', count: 0 }],
      ['/faults', undefined],
      ['/accounts', { currency: 'USD' }],
      ['/accounts', { user_id: 'a', app_id: 'b', currency: 'USD' }],
      ['/accounts', { user_id: 'a', currency: 'XXX' }],
      ['/accounts', { user_id: 'a', currency: 'USD', balance_minor: -1 }],
    ] as const) {
      await expect(admin(bench.sandbox, 'POST', path, bad), JSON.stringify(bad)).rejects.toThrow(/400/);
    }
  });

  it('set a balance against the world, so that sums stay zero', async () => {
    await admin(bench.sandbox, 'POST', '/accounts', { user_id: alice, currency: 'USD', balance_minor: 5 });
    await admin(bench.sandbox, 'POST', '/accounts', { app_id: shop, currency: 'JPY', balance_minor: 70 });
    const counted = await admin(bench.sandbox, 'GET', '/ledger');
    expect(counted).toMatchObject({ sum: 0, mismatches: 0, charges: 0 });
    expect((await raw(bench.sandbox, 'GET', `/v1/users/${alice}/account`)).json).toMatchObject({ available_minor: 5 });
    await expect(admin(bench.sandbox, 'POST', '/accounts', { user_id: alice, currency: 'EUR' })).rejects.toThrow(/currency_mismatch/);
  });

  it('forget everything on reset, and give people the same wallet ids after it', async () => {
    const before = (await raw(bench.sandbox, 'GET', `/v1/users/${alice}/account`)).json as { wallet_id: string };
    await charge();
    await admin(bench.sandbox, 'POST', '/faults', { operation: '*', mode: 'down' });
    await admin(bench.sandbox, 'POST', '/reset');
    expect((await raw(bench.sandbox, 'GET', `/v1/users/${alice}/account`)).status).toBe(404);
    const after = (await admin(bench.sandbox, 'POST', '/accounts', { user_id: alice, currency: 'USD' })) as { wallet_id: string };
    expect(after.wallet_id).toBe(before.wallet_id);
    expect(await admin(bench.sandbox, 'GET', '/ledger')).toMatchObject({ transactions: 0 });
  });

  it('ask for their own token when one is set', async () => {
    const sandbox = await startWalletSandbox({ port: 0, host: '127.0.0.1', token, adminToken: 'admin-token' });
    try {
      const ask = (bearer: string) => fetch(`${sandbox.adminUrl}/ledger`, { headers: { authorization: `Bearer ${bearer}` } });
      expect([(await ask('')).status, (await ask(token)).status, (await ask('admin-token')).status]).toEqual([401, 401, 200]);
    } finally {
      await sandbox.close();
    }
  });
});
