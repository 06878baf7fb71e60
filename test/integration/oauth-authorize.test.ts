/** Authorisation requests that must not go on, what an https issuer changes, and the rate limits. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/transport/http/oauth/identity.ts';
import type { Identity } from '../../src/transport/http/oauth/ports.ts';
import { authorizeUrl, Browser, type Page, pkce } from '../support/oauth-browser.ts';
import { alice, type Harness, host, hybrid, shop, startIdentity } from '../support/oauth-harness.ts';

let harness: Harness;
let browser: Browser;

beforeAll(async () => {
  harness = await startIdentity();
});
afterAll(async () => {
  expect(harness.faults).toEqual([]);
  await harness.stop();
});
beforeEach(async () => {
  browser = new Browser(harness.issuer);
  harness.events.length = 0;
  harness.codeTries.length = 0;
  await harness.db.query('DELETE FROM sign_in_guards');
  await harness.db.query('DELETE FROM consents');
});

const authorize = (scope: string, extra: Record<string, string> = {}, app = shop): string =>
  authorizeUrl({ clientId: app.appId, redirectUri: app.redirectUri, scope, challenge: pkce().challenge, extra });
const queryOf = (page: Page): Record<string, string> => Object.fromEntries(new URL(page.url).searchParams);
const signIn = (page: Page, user = alice, password = user.password): Promise<Page> =>
  browser.submit(page, 'sign-in', { account: user.userId, password });

describe('an authorisation request', () => {
  const registered = 'https://hybrid.example/cb';
  const variants = [
    'https://hybrid.example/cb/',
    'https://hybrid.example/CB',
    'https://HYBRID.example/cb',
    'HTTPS://hybrid.example/cb',
    'https://hybrid.example:443/cb',
    'http://hybrid.example/cb',
    'https://hybrid.example/cb?x=1',
    'https://hybrid.example/cb?',
    'https://hybrid.example/cb#',
    'https://hybrid.example/cb#x',
    'https://hybrid.example/cb%2F',
    'https://hybrid.example/%63b',
    'https://hybrid.example/cb/../cb',
    'https://hybrid.example/x/../cb',
    'https://hybrid.example/./cb',
    'https://hybrid.example//cb',
    'https://hybrid.example\\cb',
    'https://hybrid.example/cb ',
    ' https://hybrid.example/cb',
    'https://hybrid.example/cb\n',
    'https://hybrid.example/cb\0',
    'https://hybrid.example./cb',
    'https://hybrid.example@evil.example/cb',
    'https://evil.example/https://hybrid.example/cb',
    'https://hybrid.example.evil.example/cb',
    'https://evilhybrid.example/cb',
    'https://user@hybrid.example/cb',
    'https://user:pass@hybrid.example/cb',
    'https://hybrid.example/c',
    'https://hybrid.example/cbx',
    'https://hybrid.example',
    'https://hybrid.example:8443/cb',
    '//hybrid.example/cb',
    '/cb',
    'hybrid.example/cb',
    'javascript:alert(1)',
    'data:text/html,x',
    'https://hybrıd.example/cb',
    'https://xn--hybrd-p4a.example/cb',
    'http://127.0.0.1/cb',
    'http://localhost:9876/callback',
    'https://hybrid.example/cb;x',
    'urn:ietf:wg:oauth:2.0:oob',
    'https:hybrid.example/cb',
    'https:///hybrid.example/cb',
    'tween://cb',
    '',
  ];

  it.each(variants)('with the redirect URI %j is answered 400 and not redirected', async (redirectUri) => {
    const url = authorizeUrl({
      clientId: hybrid.appId,
      redirectUri: registered,
      scope: 'storage:read',
      challenge: pkce().challenge,
      extra: { redirect_uri: redirectUri },
    });
    const response = await fetch(new URL(url, harness.issuer), { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([400, null]);
  });

  it('with the registered URI goes on, so the variants above failed for their URI alone', async () => {
    expect(variants.length).toBeGreaterThanOrEqual(30);
    const page = await browser.open(authorize('storage:read', {}, hybrid));
    expect(page.text).toContain('<h1>Sign in</h1>');
  });

  it.each([
    ['another port on loopback', { redirect_uri: 'http://127.0.0.1:9877/callback' }],
    ['another loopback name', { redirect_uri: 'http://localhost:9876/callback' }],
    ['a response mode that needs a script', { response_mode: 'form_post' }],
    ['another response mode', { response_mode: 'fragment' }],
    ['an unknown client', { client_id: 'ma_nobody' }],
    ['no client', { client_id: '' }],
    ['no redirect URI', { redirect_uri: '' }],
  ])('with %s is answered 400 with a page for browsers and JSON for others', async (_name, extra) => {
    const url = new URL(authorize('storage:read', extra), harness.issuer);
    const page = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } });
    expect([page.status, page.headers.get('content-type'), page.headers.get('content-security-policy')]).toEqual([
      400,
      'text/html; charset=utf-8',
      "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ]);
    const json = await fetch(url, { redirect: 'manual', headers: { accept: 'application/json' } });
    expect(json.status).toBe(400);
    expect(Object.keys((await json.json()) as object)).toEqual(['error', 'error_description']);
  });

  it.each<[string, string, Record<string, string>, string]>([
    ['an unknown scope', 'storage:read nonsense', {}, 'invalid_scope'],
    ['an unregistered scope', 'messaging:send', {}, 'invalid_scope'],
    ['openid', 'openid storage:read', {}, 'invalid_scope'],
    ['no scope', 'x', { scope: '' }, 'invalid_request'],
    ['no state', 'storage:read', { state: '' }, 'invalid_request'],
    ['another response type', 'storage:read', { response_type: 'token' }, 'unsupported_response_type'],
    ['a foreign resource', 'storage:read', { resource: 'https://evil.example/' }, 'invalid_target'],
    ['a request object', 'storage:read', { request: 'e30.e30.' }, 'request_not_supported'],
    ['prompt none and nobody signed in', 'storage:read', { prompt: 'none' }, 'login_required'],
  ])('with %s is sent back with an error, or 400 as JSON', async (_name, scope, extra, error) => {
    const url = new URL(authorize(scope, extra), harness.issuer);
    const redirected = await fetch(url, { redirect: 'manual' });
    const location = new URL(redirected.headers.get('location') ?? '');
    expect(`${location.origin}${location.pathname}`).toBe(shop.redirectUri);
    const query = new URLSearchParams(location.search || location.hash.slice(1));
    expect(query.get('error')).toBe(error);
    expect(query.get('iss')).toBe(harness.issuer);
    const json = await fetch(url, { redirect: 'manual', headers: { accept: 'application/json' } });
    expect([json.status, json.headers.get('location'), ((await json.json()) as { error: string }).error]).toEqual([400, null, error]);
  });

  it('keeps the query of a registered redirect URI', async () => {
    const done = await signIn(
      await browser.open(
        authorizeUrl({
          clientId: shop.appId,
          redirectUri: 'https://shop.example/cb?keep=1',
          scope: 'storage:read',
          challenge: pkce().challenge,
        }),
      ),
    );
    expect(queryOf(done)).toMatchObject({ keep: '1', code: expect.any(String) });
  });

  it('of an app that is not official may not ask for what only official apps may, though it is registered', async () => {
    const response = await fetch(new URL(authorize('system:notifications', {}, hybrid), harness.issuer), { redirect: 'manual' });
    expect(new URL(response.headers.get('location') ?? '').searchParams.get('error')).toBe('invalid_scope');
    expect((await browser.open(authorize('system:notifications', {}, host))).text).toContain('<h1>Sign in</h1>');
  });
});

describe('behind https', () => {
  let identity: Identity;
  const issuer = 'https://tmcp.example';
  const get = (url: string, headers: Record<string, string> = {}) =>
    identity.handle({ method: 'GET', url, headers: { accept: 'text/html', ...headers }, body: Buffer.alloc(0), remoteAddress: '10.0.0.9' });
  beforeAll(async () => {
    identity = await createIdentity({ ...harness.identityOptions, issuer, dev: false });
  });

  it('cookies are Secure, HttpOnly and SameSite=Lax, and no client can change scheme or host', async () => {
    const lies = {
      host: 'evil.example',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'http',
      forwarded: 'host=evil.example;proto=http',
    };
    const answer = await get(authorize('storage:read', {}, hybrid), lies);
    const cookies = answer.headers.filter(([name]) => name === 'set-cookie').map(([, value]) => value);
    expect(cookies).toHaveLength(4);
    for (const cookie of cookies) expect(cookie).toMatch(/; samesite=lax; secure; httponly$/);
    const metadata = JSON.parse((await get('/.well-known/openid-configuration', lies)).body.toString()) as Record<string, string>;
    for (const [name, value] of Object.entries(metadata))
      if (name.endsWith('_endpoint') || name.endsWith('_uri')) expect(value.startsWith(`${issuer}/`), name).toBe(true);
    expect(metadata['issuer']).toBe(issuer);
  });

  it('an http redirect URI is refused outside development, though the app registered it', async () => {
    const answer = await get(authorize('storage:read'));
    expect(answer.status).toBe(400);
  });

  it.each([
    [{ issuer: 'https://tmcp.example/' }, /slash/],
    [{ issuer: 'http://tmcp.example' }, /https/],
    [{ cookieKeys: [] }, /cookie keys/],
    [{ cookieKeys: ['short'] }, /cookie keys/],
    [{ lifetimes: { accessTokenS: 86_401 } }, /86400/],
  ])('%j is refused at start', async (change, message) => {
    await expect(createIdentity({ ...harness.identityOptions, issuer, dev: false, ...change })).rejects.toThrow(message);
  });
});

describe('rate limits of the protocol', () => {
  it('hold at the token endpoint by client and address, in both error forms', async () => {
    const strict = await startIdentity({ db: harness.db, rateScale: 1 });
    const send = (clientId: string, remoteAddress = '10.0.0.1', grant = 'authorization_code') =>
      strict.identity.handle({
        method: 'POST',
        url: '/oauth2/token',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        remoteAddress,
        body: Buffer.from(new URLSearchParams({ grant_type: grant, client_id: clientId }).toString()),
      });
    for (let turn = 1; turn <= 13; turn += 1) expect((await send(shop.appId)).status).toBe(400);
    const refused = await send(shop.appId);
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.body.toString())).toMatchObject({
      error: 'rate_limit_exceeded',
      code: 'RATE_LIMIT_EXCEEDED',
      limit: 10,
      window: 60,
    });
    expect(Number(refused.headers.find(([name]) => name === 'retry-after')?.[1])).toBeGreaterThan(0);
    expect((await send(host.appId)).status).toBe(400);
    expect((await send(shop.appId, '10.0.0.2')).status).toBe(400);
    for (let turn = 1; turn <= 25; turn += 1) expect((await send(shop.appId, '10.0.0.1', 'refresh_token')).status).toBe(400);
    expect((await send(shop.appId, '10.0.0.1', 'refresh_token')).status).toBe(429);
    await strict.stop();
  });
});
