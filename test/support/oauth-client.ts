/** What tests of the token endpoints ask again and again: forms posted to a node, and the demo shop's codes and tokens. */
import { expect } from 'vitest';
import { authorizeUrl, Browser, pkce, signInAndAllow } from './oauth-browser.ts';
import { alice, type Harness, shop } from './oauth-harness.ts';

export const refreshForm = (token: string): Record<string, string> => ({
  grant_type: 'refresh_token',
  client_id: shop.appId,
  refresh_token: token,
});

/** The shop's client against the harness that `harness` gives when it is asked. */
export function shopClient(harness: () => Harness) {
  async function post(path: string, form: Record<string, string>, headers: Record<string, string> = {}) {
    const response = await fetch(new URL(path, harness().issuer), { method: 'POST', body: new URLSearchParams(form), headers });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
  }

  /** A fresh code of the shop for Alice, and what redeems it. */
  async function codeFor(scope = 'storage:read', user = alice): Promise<Record<string, string>> {
    const { verifier, challenge } = pkce();
    const url = authorizeUrl({ clientId: shop.appId, redirectUri: shop.redirectUri, scope, challenge });
    const back = await signInAndAllow(new Browser(harness().issuer), url, user);
    return {
      grant_type: 'authorization_code',
      client_id: shop.appId,
      redirect_uri: shop.redirectUri,
      code_verifier: verifier,
      code: back.searchParams.get('code') ?? '',
    };
  }

  async function tokensFor(scope?: string, user?: typeof alice) {
    const answer = await post('/oauth2/token', await codeFor(scope, user));
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body as { access_token: string; refresh_token: string; scope: string };
  }
  return { post, codeFor, tokensFor };
}
