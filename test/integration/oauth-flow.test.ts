/** An independent client and a person with a browser go through sign-in, consent, tokens and their end, on PGlite. */
import { randomBytes } from 'node:crypto';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizeUrl, Browser, pkce, signInAndAllow } from '../support/oauth-browser.ts';
import { alice, backend, backendSecret, bob, carol, type Harness, host, hybrid, shop, startIdentity } from '../support/oauth-harness.ts';

let harness: Harness;
const insecure = { [oauth.allowInsecureRequests]: true };

beforeAll(async () => {
  harness = await startIdentity();
});
afterAll(async () => {
  expect(harness.faults).toEqual([]);
  await harness.stop();
});

async function post(path: string, form: Record<string, string>, headers: Record<string, string> = {}) {
  const response = await fetch(new URL(path, harness.issuer), { method: 'POST', body: new URLSearchParams(form), headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
}

/** A fresh code of the shop for Alice, and what redeems it. */
async function codeFor(scope = 'storage:read', user = alice): Promise<Record<string, string>> {
  const { verifier, challenge } = pkce();
  const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope, challenge });
  const back = await signInAndAllow(new Browser(harness.issuer), url, user);
  return {
    grant_type: 'authorization_code', client_id: shop.appId, redirect_uri: shop.redirectUri, code_verifier: verifier, code: back.searchParams.get('code') ?? '',
  };
}

async function tokensFor(scope?: string, user?: typeof alice) {
  const answer = await post('/oauth2/token', await codeFor(scope, user));
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body as { access_token: string; refresh_token: string; scope: string };
}

const refreshForm = (token: string): Record<string, string> => ({ grant_type: 'refresh_token', client_id: shop.appId, refresh_token: token });

describe('an independent client', () => {
  it('discovers, signs a person in through the pages, redeems the code and refreshes', async () => {
    const issuer = new URL(harness.issuer);
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
    expect(as.code_challenge_methods_supported).toEqual(['S256']);
    expect(as.grant_types_supported).toEqual(['authorization_code', 'refresh_token']);
    expect(as.token_endpoint_auth_methods_supported).toEqual(['none', 'client_secret_post', 'client_secret_basic']);
    expect(as.response_types_supported).toEqual(['code']);
    expect(as.scopes_supported).toContain('wallet:pay');
    const client: oauth.Client = { client_id: shop.appId };
    const verifier = oauth.generateRandomCodeVerifier();
    const url = new URL(as.authorization_endpoint ?? '');
    url.search = new URLSearchParams({
      client_id: shop.appId, redirect_uri: shop.redirectUri, response_type: 'code', scope: 'user:read wallet:pay storage:read', state: 'xyz',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    }).toString();
    const back = await signInAndAllow(new Browser(harness.issuer), url.href, alice);
    expect(back.searchParams.get('iss')).toBe(harness.issuer);
    const params = oauth.validateAuthResponse(as, client, back, 'xyz');
    const response = await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), params, shop.redirectUri, verifier, insecure);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('pragma')).toBe('no-cache');
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response);
    expect(tokens).toMatchObject({ token_type: 'bearer', expires_in: 3600, scope: 'user:read wallet:pay storage:read', user_id: alice.userId, wallet_id: 'tw_alice' });
    expect(tokens.refresh_token).toMatch(/^rt_/);
    const first = await harness.identity.verifier.inspect(tokens.access_token);
    expect(first.principal).toMatchObject({ userId: alice.userId, appId: shop.appId, walletId: 'tw_alice' });
    expect(first.claims).toMatchObject({ token_type: 'tep_access_token', azp: shop.appId, client_id: shop.appId, aud: shop.appId, user_context: { display_name: 'Alice' } });

    const refreshed = await oauth.processRefreshTokenResponse(
      as, client, await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token ?? '', insecure),
    );
    const second = await harness.verify(refreshed.access_token);
    expect(second.grantId).toBe(first.principal.grantId);
    expect(second.tokenId).not.toBe(first.principal.tokenId);
    expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
  });

  it('finds RSA public keys and nothing private in the key set', async () => {
    const response = await fetch(new URL('/.well-known/jwks.json', harness.issuer));
    const { keys } = (await response.json()) as { keys: Record<string, unknown>[] };
    expect(keys.map((key) => Object.keys(key).sort())).toEqual([['alg', 'e', 'kid', 'kty', 'n', 'use']]);
    expect(keys[0]).toMatchObject({ kty: 'RSA', use: 'sig', alg: 'RS256', kid: harness.keys.kid });
  });

  it('finds the same metadata at both well-known addresses', async () => {
    const [one, two] = await Promise.all(
      ['openid-configuration', 'oauth-authorization-server'].map(async (name) => (await fetch(new URL(`/.well-known/${name}`, harness.issuer))).json()),
    );
    expect(one).toEqual(two);
  });
});

describe('the family of a token', () => {
  it('dies with its live access tokens when a code is used twice', async () => {
    const form = await codeFor();
    const first = await post('/oauth2/token', form);
    expect(first.status).toBe(200);
    expect(await harness.refused(first.body['access_token'] as string)).toBe(false);
    const second = await post('/oauth2/token', form);
    expect([second.status, second.body['error']]).toEqual([400, 'invalid_grant']);
    expect(await harness.refused(first.body['access_token'] as string)).toBe(true);
    const refresh = await post('/oauth2/token', refreshForm(first.body['refresh_token'] as string));
    expect([refresh.status, refresh.body['error']]).toEqual([400, 'invalid_grant']);
  });

  it('dies when a code is used again long after it expired', async () => {
    const form = await codeFor();
    const first = await post('/oauth2/token', form);
    harness.clock.advance(120_000);
    expect((await post('/oauth2/token', form)).body['error']).toBe('invalid_grant');
    expect(await harness.refused(first.body['access_token'] as string)).toBe(true);
  });

  it('dies with its live access tokens when a refresh token is used twice', async () => {
    const tokens = await tokensFor();
    const next = await post('/oauth2/token', refreshForm(tokens.refresh_token));
    expect(next.status).toBe(200);
    const again = await post('/oauth2/token', refreshForm(tokens.refresh_token));
    expect([again.status, again.body['error']]).toEqual([400, 'invalid_grant']);
    for (const token of [tokens.access_token, next.body['access_token'] as string]) expect(await harness.refused(token)).toBe(true);
    expect((await post('/oauth2/token', refreshForm(next.body['refresh_token'] as string))).body['error']).toBe('invalid_grant');
  });

  it('has one winner when 50 redeem the same code at once, and is then dead', async () => {
    const form = await codeFor();
    const answers = await Promise.all(Array.from({ length: 50 }, () => post('/oauth2/token', form)));
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners).toHaveLength(1);
    expect(answers.filter(({ body }) => body['error'] === 'invalid_grant')).toHaveLength(49);
    expect(await harness.refused(winners[0]!.body['access_token'] as string)).toBe(true);
    expect((await post('/oauth2/token', refreshForm(winners[0]!.body['refresh_token'] as string))).status).toBe(400);
  });

  it('has one child when 50 refresh with the same token at once, and is then dead', async () => {
    const tokens = await tokensFor();
    const answers = await Promise.all(Array.from({ length: 50 }, () => post('/oauth2/token', refreshForm(tokens.refresh_token))));
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners).toHaveLength(1);
    expect(await harness.refused(winners[0]!.body['access_token'] as string)).toBe(true);
    expect((await post('/oauth2/token', refreshForm(winners[0]!.body['refresh_token'] as string))).status).toBe(400);
  });

  it('is one authorisation: another sign-in of the same browser has another session_id', async () => {
    const browser = new Browser(harness.issuer);
    const grants: string[] = [];
    for (let turn = 0; turn < 2; turn += 1) {
      const { verifier, challenge } = pkce();
      const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge });
      const back = await signInAndAllow(browser, url, alice);
      const answer = await post('/oauth2/token', {
        grant_type: 'authorization_code', client_id: shop.appId, redirect_uri: shop.redirectUri, code_verifier: verifier, code: back.searchParams.get('code') ?? '',
      });
      grants.push((await harness.verify(answer.body['access_token'] as string)).grantId);
    }
    expect(new Set(grants).size).toBe(2);
    expect(grants.every((grant) => grant.startsWith('session_'))).toBe(true);
  });

  it('stores no code, refresh token or browser session that could be used by who reads the database', async () => {
    const form = await codeFor();
    const answer = await post('/oauth2/token', form);
    const browser = new Browser(harness.issuer);
    await signInAndAllow(browser, authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'wallet:history', challenge: pkce().challenge }), alice);
    const rows = await harness.db.query('SELECT kind, id, payload FROM oauth_models');
    const dump = JSON.stringify(rows);
    for (const secret of [form['code']!, answer.body['refresh_token'] as string, browser.cookies.get('tmcp_session')!.value]) expect(dump).not.toContain(secret);
  });
});

describe('the token endpoint', () => {
  it('lets one of sixteen combinations of challenge and verifier pass', async () => {
    const right = pkce();
    const wrong = pkce();
    const challenges = {
      'S256 challenge': {}, 'plain challenge': { code_challenge_method: 'plain', code_challenge: right.verifier }, 'no challenge': { code_challenge: '', code_challenge_method: '' },
      'challenge without method': { code_challenge_method: '' },
    };
    const verifiers = { 'its verifier': right.verifier, 'another verifier': wrong.verifier, 'no verifier': '', 'the challenge itself': right.challenge };
    const passed: string[] = [];
    for (const [challengeName, extra] of Object.entries(challenges)) {
      for (const [verifierName, verifier] of Object.entries(verifiers)) {
        const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge: right.challenge, extra });
        const back = await signInAndAllow(new Browser(harness.issuer), url, alice);
        const form = {
          grant_type: 'authorization_code', client_id: shop.appId, redirect_uri: shop.redirectUri, code: back.searchParams.get('code') ?? 'none',
          ...(verifier === '' ? {} : { code_verifier: verifier }),
        };
        if ((await post('/oauth2/token', form)).status === 200) passed.push(`${challengeName} with ${verifierName}`);
        if (challengeName !== 'S256 challenge') expect(back.searchParams.get('error')).toBe('invalid_request');
      }
    }
    expect(passed).toEqual(['S256 challenge with its verifier']);
  });

  it.each([
    ['another redirect URI', { redirect_uri: 'https://shop.example/cb?keep=1' }, 400, 'invalid_grant'],
    ['another client', { client_id: host.appId }, 400, 'invalid_grant'],
    ['an unknown client', { client_id: 'ma_nobody' }, 401, 'invalid_client'],
    ['an unknown code', { code: 'nothing' }, 400, 'invalid_grant'],
    ['a short verifier', { code_verifier: 'a'.repeat(42) }, 400, 'invalid_request'],
    ['an unknown grant type', { grant_type: 'password' }, 400, 'unsupported_grant_type'],
  ])('refuses %s', async (_name, change, status, error) => {
    const answer = await post('/oauth2/token', { ...(await codeFor()), ...(change as Record<string, string>) });
    expect([answer.status, answer.body['error']]).toEqual([status, error]);
    expect(Object.keys(answer.body).sort()).toEqual(['error', 'error_description']);
  });

  it('refuses a code after 60 seconds', async () => {
    const form = await codeFor();
    harness.clock.advance(61_000);
    expect((await post('/oauth2/token', form)).body['error']).toBe('invalid_grant');
  });

  it('narrows a refresh to fewer scopes and refuses more', async () => {
    const tokens = await tokensFor('storage:read storage:write');
    const narrowed = await post('/oauth2/token', { ...refreshForm(tokens.refresh_token), scope: 'storage:read' });
    expect(narrowed.body['scope']).toBe('storage:read');
    const wider = await post('/oauth2/token', { ...refreshForm(narrowed.body['refresh_token'] as string), scope: 'storage:read wallet:pay' });
    expect([wider.status, wider.body['error']]).toEqual([400, 'invalid_scope']);
  });

  it('asks a confidential client for its secret, in the form or by Basic, and official apps get their extra members', async () => {
    const { verifier, challenge } = pkce();
    const url = authorizeUrl({ clientId: backend.appId, redirectUri: backend.redirectUri, scope: 'storage:read', challenge });
    const form = async () => {
      const back = await signInAndAllow(new Browser(harness.issuer), url, alice);
      return { grant_type: 'authorization_code', redirect_uri: backend.redirectUri, code_verifier: verifier, code: back.searchParams.get('code') ?? '' };
    };
    expect((await post('/oauth2/token', { ...(await form()), client_id: backend.appId })).status).toBe(401);
    expect((await post('/oauth2/token', { ...(await form()), client_id: backend.appId, client_secret: 'secret_wrong' })).status).toBe(401);
    expect((await post('/oauth2/token', { ...(await form()), client_id: backend.appId, client_secret: backendSecret })).status).toBe(200);
    const basic = { authorization: `Basic ${Buffer.from(`${backend.appId}:${backendSecret}`).toString('base64')}` };
    expect((await post('/oauth2/token', await form(), basic)).status).toBe(200);

    const official = authorizeUrl({ clientId: host.appId, redirectUri: host.redirectUri, scope: 'user:read storage:read', challenge });
    const back = await signInAndAllow(new Browser(harness.issuer), official, alice);
    const answer = await post('/oauth2/token', {
      grant_type: 'authorization_code', client_id: host.appId, redirect_uri: host.redirectUri, code_verifier: verifier, code: back.searchParams.get('code') ?? '',
    });
    expect(answer.body).toMatchObject({ preapproved_scopes: ['user:read', 'storage:read'], privileged: false });
  });

  it('knows a hybrid app by two client ids, one of them with a secret', async () => {
    for (const [clientId, secret] of [[hybrid.appId, undefined], [`${hybrid.appId}_backend`, backendSecret]] as const) {
      const { verifier, challenge } = pkce();
      const back = await signInAndAllow(new Browser(harness.issuer), authorizeUrl({ clientId, redirectUri: hybrid.redirectUri, scope: 'storage:read', challenge }), alice);
      const form = { grant_type: 'authorization_code', client_id: clientId, redirect_uri: hybrid.redirectUri, code_verifier: verifier, code: back.searchParams.get('code') ?? '' };
      const answer = await post('/oauth2/token', secret === undefined ? form : { ...form, client_secret: secret });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      expect((await harness.verify(answer.body['access_token'] as string)).appId).toBe(hybrid.appId);
    }
  });

  it('answers flat JSON also to browsers', async () => {
    const answer = await post('/oauth2/token', { grant_type: 'refresh_token', client_id: shop.appId, refresh_token: 'x' }, { accept: 'text/html' });
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid_grant']);
  });

  it('does not use up a refresh token, and says so, when the person is suspended', async () => {
    const tokens = await tokensFor('storage:read', bob);
    await harness.store.users.setStatus(bob.userId, 'suspended');
    expect(await harness.refused(tokens.access_token)).toBe(true);
    expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).body['error']).toBe('invalid_grant');
    await harness.store.users.setStatus(bob.userId, 'active');
    expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).status).toBe(200);
  });

  it('gives a suspended app nothing', async () => {
    const tokens = await tokensFor();
    const form = await codeFor();
    await harness.store.apps.setStatus(shop.appId, 'suspended');
    try {
      expect(await harness.refused(tokens.access_token)).toBe(true);
      expect((await post('/oauth2/token', form)).body['error']).toBe('unauthorized_client');
      const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge: pkce().challenge });
      expect(new URL((await new Browser(harness.issuer).open(url)).url).searchParams.get('error')).toBe('unauthorized_client');
    } finally {
      await harness.store.apps.setStatus(shop.appId, 'active');
    }
  });
});

describe('introspection and revocation', () => {
  const asBackend = { client_id: backend.appId, client_secret: backendSecret };
  async function backendTokens() {
    const { verifier, challenge } = pkce();
    const back = await signInAndAllow(
      new Browser(harness.issuer), authorizeUrl({ clientId: backend.appId, redirectUri: backend.redirectUri, scope: 'storage:read wallet:balance', challenge }), alice,
    );
    const answer = await post('/oauth2/token', {
      ...asBackend, grant_type: 'authorization_code', redirect_uri: backend.redirectUri, code_verifier: verifier, code: back.searchParams.get('code') ?? '',
    });
    return answer.body as { access_token: string; refresh_token: string };
  }

  it('tells a client everything about its own token and nothing about others', async () => {
    const own = await backendTokens();
    const answer = await post('/oauth2/introspect', { ...asBackend, token: own.access_token });
    const { claims } = await harness.identity.verifier.inspect(own.access_token);
    expect(answer.body).toMatchObject({
      active: true, sub: alice.userId, user_id: alice.userId, aud: backend.appId, client_id: backend.appId, scope: 'storage:read wallet:balance',
      exp: claims.exp, iat: claims.iat, nbf: claims.nbf, jti: claims.jti, wallet_id: 'tw_alice', session_id: claims.session_id, token_type: 'Bearer',
    });
    const others = await tokensFor();
    for (const token of [others.access_token, others.refresh_token, 'tep.x.y.z', 'nonsense', own.access_token.slice(4)]) {
      const foreign = await post('/oauth2/introspect', { ...asBackend, token });
      expect([foreign.status, foreign.body], token.slice(0, 12)).toEqual(token.startsWith('ey') ? [400, expect.anything()] : [200, { active: false }]);
    }
  });

  it('refuses to tell anything without a secret', async () => {
    const { access_token: token } = await tokensFor();
    for (const form of [{ token }, { token, client_id: shop.appId }, { token, client_id: backend.appId }, { token, client_id: backend.appId, client_secret: 'wrong' }]) {
      const answer = await post('/oauth2/introspect', form);
      expect([answer.status, answer.body['error']]).toEqual([401, 'invalid_client']);
    }
  });

  it('ends one access token by its id and leaves the rest of the family alone', async () => {
    const tokens = await tokensFor();
    const next = await post('/oauth2/token', refreshForm(tokens.refresh_token));
    expect((await post('/oauth2/revoke', { client_id: shop.appId, token: tokens.access_token })).status).toBe(200);
    expect(await harness.refused(tokens.access_token)).toBe(true);
    expect(await harness.refused(next.body['access_token'] as string)).toBe(false);
    expect((await post('/oauth2/token', refreshForm(next.body['refresh_token'] as string))).status).toBe(200);
  });

  it('ends the whole family by its refresh token', async () => {
    const tokens = await tokensFor();
    expect((await post('/oauth2/revoke', { client_id: shop.appId, token: tokens.refresh_token, token_type_hint: 'refresh_token' })).status).toBe(200);
    expect(await harness.refused(tokens.access_token)).toBe(true);
    expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).body['error']).toBe('invalid_grant');
  });

  it('answers 200 and does nothing for unknown tokens and those of other clients', async () => {
    const tokens = await tokensFor();
    for (const token of ['unknown', 'tep.a.b.c', tokens.access_token, tokens.refresh_token]) {
      expect((await post('/oauth2/revoke', { ...asBackend, token })).status).toBe(200);
    }
    expect(await harness.refused(tokens.access_token)).toBe(false);
  });

  it('reaches another node within its next poll', async () => {
    const { createRevocations } = await import('../../src/persistence/oauth/revocations.ts');
    const other = await createRevocations(harness.db, harness.clock);
    try {
      const heard: unknown[] = [];
      other.subscribe((revocation) => heard.push(revocation));
      const { access_token: token } = await tokensFor();
      const { tokenId } = await harness.verify(token);
      await post('/oauth2/revoke', { client_id: shop.appId, token });
      await other.refresh();
      expect(heard).toContainEqual(expect.objectContaining({ tokenId }));
    } finally {
      other.close();
    }
  });
});

describe('withdrawing a permission', () => {
  it('ends tokens, refresh tokens and consents of that app only, asks again, and new tokens live at once', async () => {
    const tokens = await tokensFor('wallet:balance storage:read', bob);
    const backendToken = await harness.identity.mintTep({ userId: bob.userId, appId: backend.appId, scopes: ['storage:read'] });
    expect((await harness.identity.grants(bob.userId, shop.appId)).sort()).toEqual(['storage:read', 'wallet:balance']);
    const done = await harness.identity.revoke({ userId: bob.userId, appId: shop.appId, reason: 'user_initiated' });
    expect([...done.revokedScopes].sort()).toEqual(['storage:read', 'wallet:balance']);
    expect(await harness.identity.grants(bob.userId, shop.appId)).toEqual([]);
    expect(await harness.refused(tokens.access_token)).toBe(true);
    expect(await harness.refused(backendToken)).toBe(false);
    expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).body['error']).toBe('invalid_grant');
    expect((await harness.identity.revoke({ userId: bob.userId, appId: shop.appId, reason: 'user_initiated' })).revokedScopes).toEqual([]);
    const again = await tokensFor('wallet:balance', bob);
    expect(await harness.refused(again.access_token)).toBe(false);
  });

  it('of some scopes ends all tokens of the pair and keeps the other consents', async () => {
    const tokens = await tokensFor('wallet:balance wallet:history', bob);
    await harness.identity.revoke({ userId: bob.userId, appId: shop.appId, scopes: ['wallet:history'], reason: 'user_initiated' });
    expect(await harness.refused(tokens.access_token)).toBe(true);
    expect(await harness.identity.grants(bob.userId, shop.appId)).toContain('wallet:balance');
    expect(await harness.identity.grants(bob.userId, shop.appId)).not.toContain('wallet:history');
  });

  it('of a person ends the tokens of all apps', async () => {
    const one = await harness.identity.mintTep({ userId: bob.userId, appId: backend.appId, scopes: ['storage:read'] });
    await harness.identity.revoke({ userId: bob.userId, reason: 'account' });
    expect(await harness.refused(one)).toBe(true);
    expect(await harness.refused(await harness.identity.mintTep({ userId: bob.userId, appId: backend.appId, scopes: ['storage:read'] }))).toBe(false);
  });
});

describe('minting for development', () => {
  it('gives a verified token with what was asked and refuses what may not be', async () => {
    const { mintTep } = harness.identity;
    const principal = await harness.verify(await mintTep({ userId: alice.userId, appId: shop.appId, scopes: ['wallet:pay'], expiresInS: 5, grantId: 'session_given' }));
    expect(principal).toMatchObject({ userId: alice.userId, grantId: 'session_given' });
    expect([...principal.scopes]).toEqual(['wallet:pay']);
    const short = await mintTep({ userId: alice.userId, appId: shop.appId, scopes: [], expiresInS: 5 });
    harness.clock.advance(6_000);
    expect(await harness.refused(short)).toBe(true);
    const refusals: [object, string][] = [
      [{ userId: '@nobody:tween.example' }, 'USER_NOT_FOUND'], [{ appId: 'ma_none' }, 'APP_NOT_FOUND'], [{ scopes: ['wallet:admin'] }, 'INVALID_SCOPE'],
      [{ expiresInS: 0 }, 'INVALID_REQUEST'], [{ expiresInS: 86_401 }, 'INVALID_REQUEST'], [{ expiresInS: 1.5 }, 'INVALID_REQUEST'],
    ];
    for (const [change, code] of refusals) {
      await expect(mintTep({ userId: alice.userId, appId: shop.appId, scopes: [], ...change })).rejects.toMatchObject({ code });
    }
    await mintTep({ userId: alice.userId, appId: shop.appId, scopes: [], expiresInS: 86_400 });
  });
});

describe('a wallet that is away', () => {
  it('stops the authorisation before anything is used up, and tokens of people whose wallet is known go on', async () => {
    const tokens = await tokensFor();
    harness.wallet.down = true;
    try {
      expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).status).toBe(200);
      const browser = new Browser(harness.issuer);
      let page = await browser.open(authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge: pkce().challenge }));
      page = await browser.submit(page, 'sign-in', { account: carol.userId, password: carol.password });
      page = await browser.submit(page, 'code', { code: '123456' });
      expect(new URL(page.url).searchParams.get('error')).toBe('temporarily_unavailable');
      expect(harness.faults.splice(0)).toHaveLength(1);
    } finally {
      harness.wallet.down = false;
    }
  });
});

describe('what is not there', () => {
  it.each([
    ['GET', '/oauth2/token', 405], ['POST', '/oauth2/authorize', 405], ['GET', '/OAUTH2/AUTHORIZE', 404], ['POST', '/oauth2/token/', 404],
    ['GET', '/oauth2/userinfo', 404], ['POST', '/session/end/confirm', 404], ['GET', '/assets/../package.json', 404], ['GET', '/interaction/x/sign-in', 405],
  ])('%s %s is %i', async (method, path, status) => {
    const answer = await harness.identity.handle({ method, url: path, headers: {}, body: Buffer.alloc(0), remoteAddress: '127.0.0.1' });
    expect(answer.status).toBe(status);
  });

  it('a body that is too large is refused as JSON', async () => {
    const answer = await post('/oauth2/token', { grant_type: 'refresh_token', client_id: shop.appId, refresh_token: randomBytes(60_000).toString('hex') });
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid_request']);
  });
});
