import { afterAll, beforeAll, expect, it } from 'vitest';
import { allScopes, type DevApp, startDevApp } from '../support/dev-app.ts';
let app: DevApp;
beforeAll(async () => { app = await startDevApp({}); }, 60000);
afterAll(() => app[Symbol.asyncDispose]());
const call = async (method: string, path: string, token: string, body?: unknown) => {
  const r = await fetch(app.origin + path, { method, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(8000) });
  return { status: r.status, text: await r.text() };
};
it('nul', async () => {
  const t = await app.token('@alice:tween.example', allScopes);
  const out: unknown[] = [];
  const pay = { amount: 1, currency: 'USD', description: 'x', merchant_order_id: 'o', idempotency_key: 'k' };
  const N = 'a\u0000b';
  out.push(['desc', await call('POST', '/api/v1/payments/request', t, { ...pay, description: N, idempotency_key: 'k1' })]);
  out.push(['meta', await call('POST', '/api/v1/payments/request', t, { ...pay, metadata: { a: { [N]: N } }, idempotency_key: 'k2' })]);
  out.push(['ctype', await call('PUT', '/api/v1/storage/a', t, { value: 'x', metadata: { content_type: N } })]);
  out.push(['value', await call('PUT', '/api/v1/storage/b', t, { value: N })]);
  out.push(['dev', await call('POST', '/wallet/v1/devices/register', t, { device_id: 'd1', device_name: N, platform: 'ios', public_key: { algorithm: 'ECDSA_P256', format: 'SPKI', key_data: 'AAAAAAAAAAAAAAAAAAAA' } })]);
  out.push(['revoke', await call('POST', '/api/v1/auth/revoke', t, { scopes: [N] })]);
  out.push(['revoke2', await call('POST', '/api/v1/auth/revoke', t, { reason: N })]);
  for (const u of ['/oauth2/authorize?response_type=code&client_id=ma_demo_shop&redirect_uri=http%3A%2F%2F127.0.0.1%3A8081%2Fcallback&scope=user%3Aread&state=%00&code_challenge=' + 'a'.repeat(43) + '&code_challenge_method=S256', '/oauth2/authorize?client_id=%00', '/interaction/%00']) {
    const r = await fetch(app.origin + u, { redirect: 'manual', headers: { accept: 'application/json' } });
    out.push([u.slice(0, 40), r.status, (await r.text()).slice(0, 200)]);
  }
  const r = await fetch(app.origin + '/oauth2/token', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'grant_type=authorization_code&client_id=%00&code=%00&redirect_uri=x&code_verifier=' + 'a'.repeat(43) });
  out.push(['token', r.status, (await r.text()).slice(0, 200)]);
  for (const o of out) console.log(JSON.stringify(o));
  expect(1).toBe(1);
}, 60000);
