/** A wallet that lies, babbles or is not there: the client must never take what it says for this payment's success. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { maxAnswerBytes } from '../../src/transport/tweenpay/contract.ts';
import { createTweenPayWallet, type TweenPayWallet } from '../../src/transport/tweenpay/tweenpay-wallet.ts';
import { alice, chargeOf, hostileWallet, ManualClock, shop, token } from '../unit/tweenpay/support.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function against(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
  clock = new ManualClock(),
): Promise<TweenPayWallet> {
  const server = await hostileWallet(listener);
  const wallet = createTweenPayWallet({ url: server.url, token, clock });
  closing.push(() => wallet.close(), server.close);
  return wallet;
}

const honest = {
  txn_id: 'txn_1',
  reference: 'pay_1',
  status: 'completed',
  amount_minor: 7_500,
  currency: 'USD',
  payer_user_id: alice,
  payer_wallet_id: 'wal_a',
  merchant_app_id: shop,
  merchant_wallet_id: 'wal_m',
  booked_at: '2030-01-15T12:00:00.000Z',
};

function answering(body: unknown, status = 201, headers: Record<string, string> = {}) {
  return (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
}

describe('a charge', () => {
  it('is done by an honest answer, which the cases below change in one place each', async () => {
    const wallet = await against(answering({ ...honest, a_member_of_tomorrow: 1 }));
    expect(await wallet.charge(chargeOf('pay_1'))).toMatchObject({
      kind: 'done',
      value: { txnId: 'txn_1', bookedAt: Date.UTC(2030, 0, 15, 12) },
    });
  });

  it.each([
    ["another payment's reference", { reference: 'pay_2' }],
    ['another amount', { amount_minor: 7_499 }],
    ['another currency', { currency: 'EUR' }],
    ['another payer', { payer_user_id: '@mallory:x.example' }],
    ['another merchant', { merchant_app_id: 'ma_other' }],
    ['another status', { status: 'pending' }],
    ['an amount as text', { amount_minor: '7500' }],
    ['a fraction of a unit', { amount_minor: 7_500.5 }],
    ['no transaction id', { txn_id: undefined }],
    ['a time that is none', { booked_at: '2030-13-45T12:00:00Z' }],
    ['a time without a zone', { booked_at: '2030-01-15T12:00:00' }],
  ])('with %s in the answer is unknown', async (_title, change) => {
    const wallet = await against(answering({ ...honest, ...change }));
    expect((await wallet.charge(chargeOf('pay_1'))).kind).toBe('unknown');
  });

  it.each([
    ['HTML', answering('<html><h1>OK</h1></html>', 200, { 'content-type': 'text/html' })],
    ['HTML in a 404', answering('<html><h1>gone</h1></html>', 404, { 'content-type': 'text/html' })],
    ['nothing', answering('', 201)],
    ['an array of honest answers', answering([honest])],
    ['a coding nobody asked for', answering(honest, 201, { 'content-encoding': 'gzip' })],
    ['a redirect', answering(honest, 307, { location: '/v1/elsewhere' })],
    ['a 500 with an honest body', answering(honest, 500)],
  ])('answered by %s is unknown', async (_title, listener) => {
    const wallet = await against(listener);
    expect((await wallet.charge(chargeOf('pay_1'))).kind).toBe('unknown');
  });

  it('is asked for once: no redirect is followed and nothing is repeated', async () => {
    const asked: string[] = [];
    const wallet = await against((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      if (asked.length === 1) answering(honest, 307, { location: '/v1/elsewhere' })(request, response);
      else request.socket.destroy();
    });
    expect((await wallet.charge(chargeOf('pay_1'))).kind).toBe('unknown');
    expect((await wallet.charge(chargeOf('pay_1'))).kind).toBe('unknown');
    expect(asked).toEqual(['POST /v1/charges', 'POST /v1/charges']);
  });

  it('sends the token, the key and the body of the contract', async () => {
    let seen: { headers: IncomingMessage['headers']; body: string } | undefined;
    const wallet = await against((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        seen = { headers: request.headers, body: Buffer.concat(chunks).toString() };
        answering(honest)(request, response);
      });
    });
    await wallet.charge(chargeOf('pay_1'));
    expect(seen?.headers).toMatchObject({
      authorization: `Bearer ${token}`,
      'idempotency-key': 'key-pay_1',
      'content-type': 'application/json',
    });
    expect(JSON.parse(seen?.body ?? '')).toEqual({
      reference: 'pay_1',
      payer_user_id: alice,
      merchant_app_id: shop,
      amount_minor: 7_500,
      currency: 'USD',
      description: 'Two tickets',
    });
  });

  it('is a fault of ours with a key that cannot stand in a header', async () => {
    const wallet = await against(answering(honest));
    await expect(wallet.charge(chargeOf('pay_1', { idempotencyKey: 'a\r\nx-evil: 1' }))).rejects.toThrow(TypeError);
  });
});

describe('the size of an answer', () => {
  const sized = (bytes: number) =>
    JSON.stringify({ ...honest, padding: '' }).replace(
      '"padding":""',
      `"padding":"${'x'.repeat(bytes - JSON.stringify({ ...honest, padding: '' }).length)}"`,
    );

  it('is taken at one mebibyte', async () => {
    expect(Buffer.byteLength(sized(maxAnswerBytes))).toBe(maxAnswerBytes);
    expect((await (await against(answering(sized(maxAnswerBytes)))).charge(chargeOf('pay_1'))).kind).toBe('done');
  });

  it('is cut off one byte later, announced or not', async () => {
    const text = sized(maxAnswerBytes + 1);
    const announced = await against(answering(text, 201, { 'content-length': String(Buffer.byteLength(text)) }));
    expect(await announced.charge(chargeOf('pay_1'))).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('oversize') });
    const chunked = await against(answering(text));
    expect(await chunked.charge(chargeOf('pay_1'))).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('oversize') });
  });

  it('is judged by its announcement, before the first byte of it', async () => {
    const wallet = await against((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': maxAnswerBytes + 1 });
      response.flushHeaders();
    });
    expect(await wallet.charge(chargeOf('pay_1'))).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('announced') });
  });

  it('is never read to the end of an endless one', async () => {
    let written = 0;
    const wallet = await against((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const chunk = Buffer.alloc(65_536, 'x');
      const more = () => {
        written += chunk.length;
        if (!response.destroyed && written < 1e9) response.write(chunk, more);
      };
      more();
    });
    expect(await wallet.charge(chargeOf('pay_1'))).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('oversize') });
    expect(await wallet.account(alice)).toMatchObject({ kind: 'unavailable' });
    expect(written).toBeLessThan(1e9);
  });
});

describe('the look-up of a charge', () => {
  const lookup = { reference: 'pay_1', state: 'booked', charge: honest };

  it('is done by an honest answer', async () => {
    expect(await (await against(answering(lookup, 200))).findCharge('pay_1')).toMatchObject({ kind: 'done', value: { txnId: 'txn_1' } });
  });

  it.each([
    ["another payment's charge", { ...lookup, charge: { ...honest, reference: 'pay_2' } }],
    ['another reference', { reference: 'pay_2', state: 'none' }],
    ['a state of its own invention', { reference: 'pay_1', state: 'maybe' }],
    ['no charge', { reference: 'pay_1', state: 'booked' }],
  ])('answered with %s is unavailable', async (_title, body) => {
    expect((await (await against(answering(body, 200))).findCharge('pay_1')).kind).toBe('unavailable');
  });

  it('is refused when the wallet says so, in words we do not know as well', async () => {
    const body = { reference: 'pay_1', state: 'refused', refusal: { code: 'new_reason', message: 'no' } };
    expect(await (await against(answering(body, 200))).findCharge('pay_1')).toEqual({
      kind: 'refused',
      code: 'PAYMENT_FAILED',
      message: 'no',
      details: { wallet_code: 'new_reason' },
    });
  });
});

describe('reads', () => {
  it("take neither another user's account nor a longer page than was asked for", async () => {
    const account = {
      wallet_id: 'w',
      user_id: '@mallory:x.example',
      currency: 'USD',
      available_minor: 1,
      pending_minor: 0,
      daily_limit_minor: 1,
      daily_used_minor: 0,
      transaction_limit_minor: 1,
      status: 'active',
    };
    expect((await (await against(answering(account, 200))).account(alice)).kind).toBe('unavailable');
    const transaction = {
      txn_id: 't',
      type: 'payment',
      amount_minor: 1,
      currency: 'USD',
      status: 'completed',
      timestamp: '2030-01-15T12:00:00Z',
    };
    const page = await against(answering({ transactions: [transaction, transaction], total: 2 }, 200));
    expect((await page.transactions(alice, { limit: 2, offset: 0 })).kind).toBe('done');
    expect((await page.transactions(alice, { limit: 1, offset: 0 })).kind).toBe('unavailable');
  });
});

describe('a wallet that is not there', () => {
  it('is unavailable for mutations as well: nothing was sent', async () => {
    const gone = createTcpServer();
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    const wallet = createTweenPayWallet({ url: `http://127.0.0.1:${port}`, token, clock: new ManualClock() });
    closing.push(() => wallet.close());
    expect(await wallet.charge(chargeOf('pay_1'))).toEqual({
      kind: 'unavailable',
      reason: 'connection: ECONNREFUSED',
      retryAfterMs: 1_000,
    });
    expect((await wallet.ensureAccount(alice, 'USD')).kind).toBe('unavailable');
  });

  it('is unavailable for a call that found no free connection in time, and that call is never sent', async () => {
    const clock = new ManualClock();
    const asked: string[] = [];
    let release: () => void = () => undefined;
    const server = await hostileWallet((request, response) => {
      asked.push(request.url ?? '');
      release = () => answering(honest)(request, response);
    });
    const wallet = createTweenPayWallet({ url: server.url, token, clock, connections: 1 });
    closing.push(() => wallet.close(), server.close);
    const first = wallet.charge(chargeOf('pay_1'));
    while (asked.length === 0) await new Promise(setImmediate);
    clock.advance(2_500);
    const second = wallet.charge(chargeOf('pay_2'));
    const third = wallet.account(alice);
    clock.advance(2_499);
    release();
    expect((await first).kind).toBe('done');
    release = () => undefined;
    while (asked.length === 1) await new Promise(setImmediate);
    clock.advance(2_501);
    expect((await second).kind).toBe('unknown');
    expect((await third).kind).toBe('unavailable');
    // First come, first sent: had the given-up call been sent, it would be there before this one.
    const fourth = wallet.findCharge('pay_4');
    while (!asked.includes('/v1/charges?reference=pay_4')) await new Promise(setImmediate);
    release();
    await fourth;
    expect(asked).toEqual(['/v1/charges', '/v1/charges', '/v1/charges?reference=pay_4']);
  });

  it('does not answer after it was closed', async () => {
    const wallet = await against(answering(honest));
    await wallet.close();
    expect((await wallet.charge(chargeOf('pay_1'))).kind).toBe('unavailable');
  });

  it.each(['ftp://x.example', 'http://user:secret@x.example', 'http://x.example/?a=1', 'nonsense'])('is not made for %s', (url) => {
    expect(() => createTweenPayWallet({ url, token })).toThrow(TypeError);
  });
});

describe('observation', () => {
  it('tells operation, outcome and duration of every call, the open breaker included', async () => {
    const clock = new ManualClock();
    const server = await hostileWallet((_request, response) => {
      clock.advance(7);
      answering('', 500)(_request, response);
    });
    const seen: [string, string, number][] = [];
    const wallet = createTweenPayWallet({ url: `${server.url}/prefix/`, token, clock, observe: (...call) => seen.push(call) });
    closing.push(() => wallet.close(), server.close);
    for (let n = 0; n < 6; n += 1) await wallet.charge(chargeOf('pay_1'));
    expect(seen).toEqual([...Array.from({ length: 5 }, () => ['charge', 'unknown', 7]), ['charge', 'unavailable', 0]]);
  });
});
