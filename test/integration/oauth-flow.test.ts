import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizeUrl, Browser, pkce, signInAndAllow } from '../support/oauth-browser.ts';
import { refreshForm, shopClient } from '../support/oauth-client.ts';
import { alice, backend, backendSecret, bob, type Harness, host, hybrid, shop, startIdentity } from '../support/oauth-harness.ts';

let harness: Harness;
const insecure = { [oauth.allowInsecureRequests]: true };

beforeAll(async () => {
  harness = await startIdentity();
});
afterAll(async () => {
  expect(harness.faults).toEqual([]);
  await harness.stop();
});

const { post, codeFor, tokensFor } = shopClient(() => harness);

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
      client_id: shop.appId,
      redirect_uri: shop.redirectUri,
      response_type: 'code',
      scope: 'user:read wallet:pay storage:read',
      state: 'xyz',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }).toString();
    const back = await signInAndAllow(new Browser(harness.issuer), url.href, alice);
    expect(back.searchParams.get('iss')).toBe(harness.issuer);
    const params = oauth.validateAuthResponse(as, client, back, 'xyz');
    const response = await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), params, shop.redirectUri, verifier, insecure);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('pragma')).toBe('no-cache');
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response);
    expect(tokens).toMatchObject({
      token_type: 'bearer',
      expires_in: 3600,
      scope: 'user:read wallet:pay storage:read',
      user_id: alice.userId,
      wallet_id: 'tw_alice',
    });
    expect(tokens.refresh_token).toMatch(/^rt_/);
    const first = await harness.identity.verifier.inspect(tokens.access_token);
    expect(first.principal).toMatchObject({ userId: alice.userId, appId: shop.appId, walletId: 'tw_alice' });
    expect(first.claims).toMatchObject({
      token_type: 'tep_access_token',
      azp: shop.appId,
      client_id: shop.appId,
      aud: shop.appId,
      user_context: { display_name: 'Alice' },
    });

    const refreshed = await oauth.processRefreshTokenResponse(
      as,
      client,
      await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token ?? '', insecure),
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
      ['openid-configuration', 'oauth-authorization-server'].map(async (name) =>
        (await fetch(new URL(`/.well-known/${name}`, harness.issuer))).json(),
      ),
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
    // The library reads the machine's clock, which a test does not move.
    await harness.db.query(`UPDATE oauth_models SET payload = jsonb_set(payload, '{exp}', '1') WHERE kind = 'AuthorizationCode'`);
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
        grant_type: 'authorization_code',
        client_id: shop.appId,
        redirect_uri: shop.redirectUri,
        code_verifier: verifier,
        code: back.searchParams.get('code') ?? '',
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
    await signInAndAllow(
      browser,
      authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'wallet:history', challenge: pkce().challenge }),
      alice,
    );
    const rows = await harness.db.query('SELECT kind, id, payload FROM oauth_models');
    const dump = JSON.stringify(rows);
    for (const secret of [form['code']!, answer.body['refresh_token'] as string, browser.cookies.get('tmcp_session')!.value])
      expect(dump).not.toContain(secret);
  });
});

describe('the token endpoint', () => {
  it('lets one of sixteen combinations of challenge and verifier pass', async () => {
    const right = pkce();
    const wrong = pkce();
    const challenges = {
      'S256 challenge': {},
      'plain challenge': { code_challenge_method: 'plain', code_challenge: right.verifier },
      'no challenge': { code_challenge: '', code_challenge_method: '' },
      'challenge without method': { code_challenge_method: '' },
    };
    const verifiers = {
      'its verifier': right.verifier,
      'another verifier': wrong.verifier,
      'no verifier': '',
      'the challenge itself': right.challenge,
    };
    const passed: string[] = [];
    for (const [challengeName, extra] of Object.entries(challenges)) {
      for (const [verifierName, verifier] of Object.entries(verifiers)) {
        const url = authorizeUrl({
          clientId: shop.appId,
          redirectUri: shop.redirectUri,
          scope: 'storage:read',
          challenge: right.challenge,
          extra,
        });
        const back = await signInAndAllow(new Browser(harness.issuer), url, alice);
        const form = {
          grant_type: 'authorization_code',
          client_id: shop.appId,
          redirect_uri: shop.redirectUri,
          code: back.searchParams.get('code') ?? 'none',
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
    const wider = await post('/oauth2/token', {
      ...refreshForm(narrowed.body['refresh_token'] as string),
      scope: 'storage:read wallet:pay',
    });
    expect([wider.status, wider.body['error']]).toEqual([400, 'invalid_scope']);
  });

  it('drops from a refresh what is not consented to any more, and ends when nothing is left', async () => {
    const tokens = await tokensFor('wallet:balance wallet:history', bob);
    await harness.db.query("DELETE FROM consents WHERE user_id = $1 AND scope = 'wallet:history'", [bob.userId]);
    const narrowed = await post('/oauth2/token', refreshForm(tokens.refresh_token));
    expect(narrowed.body['scope']).toBe('wallet:balance');
    await harness.db.query('DELETE FROM consents WHERE user_id = $1', [bob.userId]);
    expect((await post('/oauth2/token', refreshForm(narrowed.body['refresh_token'] as string))).body['error']).toBe('invalid_grant');
  });

  it('asks a confidential client for its secret, in the form or by Basic, and official apps get their extra members', async () => {
    const { verifier, challenge } = pkce();
    const url = authorizeUrl({ clientId: backend.appId, redirectUri: backend.redirectUri, scope: 'storage:read', challenge });
    const form = async () => {
      const back = await signInAndAllow(new Browser(harness.issuer), url, alice);
      return {
        grant_type: 'authorization_code',
        redirect_uri: backend.redirectUri,
        code_verifier: verifier,
        code: back.searchParams.get('code') ?? '',
      };
    };
    expect((await post('/oauth2/token', { ...(await form()), client_id: backend.appId })).status).toBe(401);
    expect((await post('/oauth2/token', { ...(await form()), client_id: backend.appId, client_secret: 'secret_wrong' })).status).toBe(401);
    expect((await post('/oauth2/token', { ...(await form()), client_id: backend.appId, client_secret: backendSecret })).status).toBe(200);
    const basic = { authorization: `Basic ${Buffer.from(`${backend.appId}:${backendSecret}`).toString('base64')}` };
    expect((await post('/oauth2/token', await form(), basic)).status).toBe(200);

    const official = authorizeUrl({ clientId: host.appId, redirectUri: host.redirectUri, scope: 'user:read storage:read', challenge });
    const back = await signInAndAllow(new Browser(harness.issuer), official, alice);
    const answer = await post('/oauth2/token', {
      grant_type: 'authorization_code',
      client_id: host.appId,
      redirect_uri: host.redirectUri,
      code_verifier: verifier,
      code: back.searchParams.get('code') ?? '',
    });
    expect(answer.body).toMatchObject({ preapproved_scopes: ['user:read', 'storage:read'], privileged: false });
  });

  it('knows a hybrid app by two client ids, one of them with a secret', async () => {
    for (const [clientId, secret] of [
      [hybrid.appId, undefined],
      [`${hybrid.appId}_backend`, backendSecret],
    ] as const) {
      const { verifier, challenge } = pkce();
      const back = await signInAndAllow(
        new Browser(harness.issuer),
        authorizeUrl({ clientId, redirectUri: hybrid.redirectUri, scope: 'storage:read', challenge }),
        alice,
      );
      const form = {
        grant_type: 'authorization_code',
        client_id: clientId,
        redirect_uri: hybrid.redirectUri,
        code_verifier: verifier,
        code: back.searchParams.get('code') ?? '',
      };
      const answer = await post('/oauth2/token', secret === undefined ? form : { ...form, client_secret: secret });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      expect((await harness.verify(answer.body['access_token'] as string)).appId).toBe(hybrid.appId);
    }
  });

  it('answers flat JSON also to browsers', async () => {
    const answer = await post(
      '/oauth2/token',
      { grant_type: 'refresh_token', client_id: shop.appId, refresh_token: 'x' },
      { accept: 'text/html' },
    );
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
      expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).body['error']).toBe('unauthorized_client');
      const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge: pkce().challenge });
      expect(new URL((await new Browser(harness.issuer).open(url)).url).searchParams.get('error')).toBe('unauthorized_client');
    } finally {
      await harness.store.apps.setStatus(shop.appId, 'active');
    }
    expect((await post('/oauth2/token', refreshForm(tokens.refresh_token))).status).toBe(200);
  });
});
