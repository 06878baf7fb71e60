/** Attacks on the whole server, as `tmcp dev` starts it: what must come back as a coded refusal, and what must not be readable in a dump. */
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allScopes, type DevApp, startDevApp } from '../support/dev-app.ts';
import { samples } from '../support/samples.ts';

const alice = '@alice:tween.example';
let app: DevApp;
let token: string;

beforeAll(async () => {
  app = await startDevApp();
  token = await app.token(alice, allScopes);
});
afterAll(() => app[Symbol.asyncDispose]());

interface Answered {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what the server says is looked at by assertions
  readonly body: any;
}

async function call(method: string, path: string, body: unknown): Promise<Answered> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const response = await fetch(app.origin + path, { method, headers, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

describe('text that no row can hold', () => {
  const nul = 'a\u0000b';
  const pay = { ...samples['tween.wallet.pay'], idempotency_key: 'nul' };

  for (const [what, method, path, body] of [
    ['a description', 'POST', '/api/v1/payments/request', { ...pay, description: nul }],
    ['an item', 'POST', '/api/v1/payments/request', { ...pay, items: [{ item_id: 'i', name: nul, quantity: 1, unit_price: 1 }] }],
    ['a value in metadata', 'POST', '/api/v1/payments/request', { ...pay, metadata: { value: [nul] } }],
    ['a name in metadata', 'POST', '/api/v1/payments/request', { ...pay, metadata: { deep: { [nul]: 1 } } }],
    ['a content type', 'PUT', '/api/v1/storage/k', { value: 'v', metadata: { content_type: nul } }],
    [
      'a content type in a batch',
      'POST',
      '/api/v1/storage/batch/set',
      { items: [{ key: 'k', value: 'v', metadata: { content_type: nul } }] },
    ],
    ["a device's name", 'POST', '/wallet/v1/devices/register', { ...samples['tween.device.register'], device_name: nul }],
    ['a scope', 'POST', '/api/v1/auth/revoke', { scopes: [nul] }],
    ['a reason', 'POST', '/api/v1/auth/revoke', { reason: nul }],
  ] as const) {
    it(`is refused before anything happens: ${what}`, async () => {
      const answer = await call(method, path, body);
      expect([answer.status, answer.body.error?.code]).toEqual([400, 'INVALID_REQUEST']);
      // Nothing was withdrawn, either.
      expect((await fetch(`${app.origin}/api/v1/user`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
    });
  }

  it('may stand in a stored value, and one operation of a push that holds it elsewhere fails alone', async () => {
    expect((await call('PUT', '/api/v1/storage/raw', { value: nul })).status).toBe(200);
    const op = { op_id: 'nul:1', key: 'pushed', kind: 'set', value: nul, client_timestamp: 1_767_225_600 };
    const { body } = await call('POST', '/api/v1/storage-sync/push', { ops: [op, { ...op, op_id: 'nul:2', key: nul }] });
    expect(body.results.map(({ status }: { status: string }) => status)).toEqual(['applied', 'rejected']);
  });

  it('is refused by the OAuth endpoints too', async () => {
    const form = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    const basic = `Basic ${Buffer.from('ma_%00:x').toString('base64')}`;
    const answers = await Promise.all([
      fetch(`${app.origin}/oauth2/authorize?client_id=%00`, { headers: { accept: 'application/json' } }),
      fetch(`${app.origin}/oauth2/authorize?client_id=ma_demo_shop&response_type=code&state=%00`, {
        headers: { accept: 'application/json' },
      }),
      fetch(`${app.origin}/oauth2/token`, { ...form, body: 'grant_type=authorization_code&client_id=ma_demo_shop&code=%00' }),
      fetch(`${app.origin}/oauth2/token`, {
        ...form,
        headers: { ...form.headers, authorization: basic },
        body: 'grant_type=refresh_token&refresh_token=x',
      }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 400]);
  });
});

describe('a copy of the database', () => {
  it('does not let a PIN be guessed from what is kept under an idempotency key', async () => {
    const { pin, device } = app.user('alice');
    const { body: payment } = await call('POST', '/api/v1/payments/request', {
      ...samples['tween.wallet.pay'],
      amount: 75,
      idempotency_key: 'dump',
    });
    const timestamp = new Date(app.now()).toISOString();
    const text = `${payment.payment_id}:75.00:USD:${timestamp}`;
    const signature = sign('sha256', Buffer.from(text), createPrivateKey(device.private_key)).toString('base64');
    const base = `/api/v1/payments/${payment.payment_id}`;
    const asked = await call('POST', `${base}/authorize`, { device_id: device.device_id, timestamp, signature });
    const challengeId = asked.body.error.details.mfa_challenge.challenge_id as string;
    const proof = { challenge_id: challengeId, method: 'transaction_pin', credentials: { pin } };
    expect((await call('POST', `${base}/mfa/verify`, { ...proof, idempotency_key: 'proof' })).body.payment_status).toBe('completed');

    const rows = await app.dev.app.parts.database.query<{ input_hash: string }>(
      "SELECT input_hash FROM idempotency WHERE scope LIKE '%verifyMfa|proof'",
    );
    expect(rows).toHaveLength(1);
    // Everything but the PIN is known to whoever has the dump.
    const known = `{"challenge_id":"${challengeId}","credentials":{"pin":"${pin}"},"method":"transaction_pin","payment_id":"${payment.payment_id}"}`;
    expect(rows[0]?.input_hash).not.toBe(createHash('sha256').update(known).digest('base64url'));
    // The same proof again is the first answer, another one under its key is not.
    expect((await call('POST', `${base}/mfa/verify`, { ...proof, idempotency_key: 'proof' })).status).toBe(200);
    const other = await call('POST', `${base}/mfa/verify`, { ...proof, credentials: { pin: '000000' }, idempotency_key: 'proof' });
    expect(other.body.error.code).toBe('DUPLICATE_TRANSACTION');
  });
});

describe('the doors of dev', () => {
  const door = (headers: Record<string, string>): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      get(`${app.origin}/dev/fixtures`, { headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });

  it('are shut to web pages: by a name that was made to lead here, or from another site', async () => {
    const { port } = new URL(app.origin);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]) expect(await door({ host }), host).toBe(200);
    for (const host of [`evil.example:${port}`, `127.0.0.1.evil.example:${port}`, 'localhost.evil.example'])
      expect(await door({ host }), host).not.toBe(200);
    expect(await door({ origin: 'https://evil.example' })).toBe(404);
    expect(await door({ origin: 'null' })).toBe(404);
    expect(await door({ origin: `http://localhost:5173` })).toBe(200);
  });

  it('are shut to what a proxy on this machine passes on', async () => {
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip']) expect(await door({ [name]: '127.0.0.1' }), name).toBe(404);
  });
});

describe('what anybody can begin', () => {
  it('is swept as fast as it comes: more expired sign-ins than one statement takes are gone after one run', async () => {
    const { database, identityStore } = app.dev.app.parts;
    await database.query(
      "INSERT INTO oauth_models (kind, id, payload, expires_at) SELECT 'Interaction', 'i' || n, '{}', 1 FROM generate_series(1, 3500) n",
    );
    await identityStore.sweep();
    expect(await database.query('SELECT count(*) AS n FROM oauth_models WHERE expires_at = 1')).toEqual([{ n: 0 }]);
  });

  it('leaves nothing in memory for client ids that cannot be ids', async () => {
    const { apps } = app.dev.app.parts.identityStore;
    expect(await apps.oauthApp('ma_a'.padEnd(129, 'a'))).toBeUndefined();
    expect(await apps.find('ma_\u0000')).toBeUndefined();
    expect(await apps.find('ma_demo_shop')).toMatchObject({ appId: 'ma_demo_shop' });
  });
});
