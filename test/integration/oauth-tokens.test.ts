/** What ends tokens and what tells about them: introspection, revocation, withdrawn permissions, and minting without a sign-in. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizeUrl, Browser, pkce, signInAndAllow } from '../support/oauth-browser.ts';
import { refreshForm, shopClient } from '../support/oauth-client.ts';
import { alice, backend, backendSecret, bob, carol, type Harness, hybrid, shop, startIdentity } from '../support/oauth-harness.ts';

let harness: Harness;

beforeAll(async () => {
  harness = await startIdentity();
});
afterAll(async () => {
  expect(harness.faults).toEqual([]);
  await harness.stop();
});

const { post, tokensFor } = shopClient(() => harness);

describe('introspection and revocation', () => {
  const asBackend = { client_id: backend.appId, client_secret: backendSecret };
  async function backendTokens() {
    const { verifier, challenge } = pkce();
    const back = await signInAndAllow(
      new Browser(harness.issuer),
      authorizeUrl({ clientId: backend.appId, redirectUri: backend.redirectUri, scope: 'storage:read wallet:balance', challenge }),
      alice,
    );
    const answer = await post('/oauth2/token', {
      ...asBackend,
      grant_type: 'authorization_code',
      redirect_uri: backend.redirectUri,
      code_verifier: verifier,
      code: back.searchParams.get('code') ?? '',
    });
    return answer.body as { access_token: string; refresh_token: string };
  }

  it('tells a client everything about its own token and nothing about others', async () => {
    const own = await backendTokens();
    const answer = await post('/oauth2/introspect', { ...asBackend, token: own.access_token });
    const { claims } = await harness.identity.verifier.inspect(own.access_token);
    expect(answer.body).toMatchObject({
      active: true,
      sub: alice.userId,
      user_id: alice.userId,
      aud: backend.appId,
      client_id: backend.appId,
      scope: 'storage:read wallet:balance',
      exp: claims.exp,
      iat: claims.iat,
      nbf: claims.nbf,
      jti: claims.jti,
      wallet_id: 'tw_alice',
      session_id: claims.session_id,
      token_type: 'Bearer',
    });
    const others = await tokensFor();
    for (const token of [others.access_token, others.refresh_token, 'tep.x.y.z', 'nonsense', own.access_token.slice(4)]) {
      const foreign = await post('/oauth2/introspect', { ...asBackend, token });
      expect([foreign.status, foreign.body], token.slice(0, 12)).toEqual(
        token.startsWith('ey') ? [400, expect.anything()] : [200, { active: false }],
      );
    }
  });

  it('refuses to tell anything without a secret', async () => {
    const { access_token: token } = await tokensFor();
    for (const form of [
      { token },
      { token, client_id: shop.appId },
      { token, client_id: backend.appId },
      { token, client_id: backend.appId, client_secret: 'wrong' },
    ]) {
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
    expect(
      (await post('/oauth2/revoke', { client_id: shop.appId, token: tokens.refresh_token, token_type_hint: 'refresh_token' })).status,
    ).toBe(200);
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

  it('finds the app of a hybrid app also by the id of its back end', async () => {
    const token = await harness.identity.mintTep({ userId: bob.userId, appId: hybrid.appId, scopes: ['storage:read'] });
    await harness.identity.revoke({ userId: bob.userId, appId: `${hybrid.appId}_backend`, reason: 'user_initiated' });
    expect(await harness.refused(token)).toBe(true);
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
    expect(
      await harness.refused(await harness.identity.mintTep({ userId: bob.userId, appId: backend.appId, scopes: ['storage:read'] })),
    ).toBe(false);
  });
});

describe('minting for development', () => {
  it('gives a verified token with what was asked and refuses what may not be', async () => {
    const { mintTep } = harness.identity;
    const principal = await harness.verify(
      await mintTep({ userId: alice.userId, appId: shop.appId, scopes: ['wallet:pay'], expiresInS: 5, grantId: 'session_given' }),
    );
    expect(principal).toMatchObject({ userId: alice.userId, grantId: 'session_given' });
    expect([...principal.scopes]).toEqual(['wallet:pay']);
    const short = await mintTep({ userId: alice.userId, appId: shop.appId, scopes: [], expiresInS: 5 });
    harness.clock.advance(6_000);
    expect(await harness.refused(short)).toBe(true);
    const refusals: [object, string][] = [
      [{ userId: '@nobody:tween.example' }, 'USER_NOT_FOUND'],
      [{ appId: 'ma_none' }, 'APP_NOT_FOUND'],
      [{ scopes: ['wallet:admin'] }, 'INVALID_SCOPE'],
      [{ expiresInS: 0 }, 'INVALID_REQUEST'],
      [{ expiresInS: 86_401 }, 'INVALID_REQUEST'],
      [{ expiresInS: 1.5 }, 'INVALID_REQUEST'],
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
      let page = await browser.open(
        authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope: 'storage:read', challenge: pkce().challenge }),
      );
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
    ['GET', '/oauth2/token', 405],
    ['POST', '/oauth2/authorize', 405],
    ['GET', '/OAUTH2/AUTHORIZE', 404],
    ['POST', '/oauth2/token/', 404],
    ['GET', '/oauth2/userinfo', 404],
    ['POST', '/session/end/confirm', 404],
    ['GET', '/assets/../package.json', 404],
    ['PUT', '/interaction/x/sign-in', 405],
  ])('%s %s is %i', async (method, path, status) => {
    const answer = await harness.identity.handle({ method, url: path, headers: {}, body: Buffer.alloc(0), remoteAddress: '127.0.0.1' });
    expect(answer.status).toBe(status);
  });

  it('a body that is too large is refused as JSON', async () => {
    const answer = await post('/oauth2/token', {
      grant_type: 'refresh_token',
      client_id: shop.appId,
      refresh_token: randomBytes(60_000).toString('hex'),
    });
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid_request']);
  });
});
