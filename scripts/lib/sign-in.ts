/**
 * The user's part of signing in, without a browser: follows redirects, keeps cookies, fills in the forms of the sign-in,
 * second-factor and consent pages. The client's part (PKCE, state, token request) is `openid-client`, which is not ours.
 */
import { secretBytes, totpCode } from './totp.ts';
import * as oauth from 'openid-client';

export interface Credentials {
  readonly userId: string;
  readonly password: string;
  /** Base 32; asked for only when the page wants a second factor. */
  readonly totpSecret?: string;
  /** The server's clock, for the code. */
  readonly now: () => number;
}

export interface SignedIn {
  readonly configuration: oauth.Configuration;
  readonly tokens: oauth.TokenEndpointResponse;
}

/** Completes the authorization code flow with PKCE. Errors: any page that is not the one expected, with its text. */
export async function signIn(options: {
  readonly issuer: string;
  readonly clientId: string;
  readonly redirectUri: string;
  readonly scope: string;
  readonly user: Credentials;
}): Promise<SignedIn> {
  const configuration = await oauth.discovery(
    new URL(options.issuer),
    options.clientId,
    { token_endpoint_auth_method: 'none' },
    oauth.None(),
    { execute: [oauth.allowInsecureRequests] },
  );
  const verifier = oauth.randomPKCECodeVerifier();
  const state = oauth.randomState();
  const address = oauth.buildAuthorizationUrl(configuration, {
    redirect_uri: options.redirectUri,
    scope: options.scope,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const back = await walkPages(address, options.redirectUri, options.user);
  const tokens = await oauth.authorizationCodeGrant(configuration, back, { pkceCodeVerifier: verifier, expectedState: state });
  return { configuration, tokens };
}

/** Walks from the authorization address to the redirect; returns the redirect's address with its code. */
async function walkPages(start: URL, redirectUri: string, user: Credentials): Promise<URL> {
  const cookies = new Map<string, string>();
  let request: { url: URL; form?: URLSearchParams } = { url: start };
  for (let pages = 0; pages < 20; pages++) {
    const response = await fetch(request.url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '), accept: 'text/html' },
      ...(request.form === undefined ? {} : { method: 'POST', body: request.form }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const at = pair?.indexOf('=') ?? -1;
      if (pair !== undefined && at > 0) cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const location = response.headers.get('location');
    if (location !== null) {
      await response.arrayBuffer();
      const next = new URL(location, request.url);
      if (next.href.startsWith(redirectUri)) return next;
      request = { url: next };
      continue;
    }
    const html = await response.text();
    request = { url: formAction(html, request.url), form: fillIn(html, user) };
  }
  throw new Error('the sign-in pages did not come to an end');
}

function formAction(html: string, base: URL): URL {
  const action = /<form\b[^>]*\baction="([^"]*)"/.exec(html)?.[1];
  if (action === undefined)
    throw new Error(
      `a page without a form:\n${html
        .replace(/<[^>]+>/g, ' ')
        .replace(/\s+/g, ' ')
        .slice(0, 400)}`,
    );
  return new URL(unescape(action), base);
}

/** Fills in every field of the first form: hidden ones as they are, the others by name. */
function fillIn(html: string, user: Credentials): URLSearchParams {
  const form = new URLSearchParams();
  const body = /<form\b[^>]*>([\s\S]*?)<\/form>/.exec(html)?.[1] ?? '';
  for (const [tag] of body.matchAll(/<input\b[^>]*>/g)) {
    const attribute = (name: string): string | undefined => {
      const found = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
      return found === undefined ? undefined : unescape(found);
    };
    const name = attribute('name');
    if (name === undefined) continue;
    const type = attribute('type') ?? 'text';
    if (type === 'checkbox' || type === 'radio') {
      if (/\bchecked\b/.test(tag)) form.append(name, attribute('value') ?? 'on');
    } else if (type === 'password') form.append(name, user.password);
    else if (/code|totp|otp/.test(name) && type !== 'hidden') form.append(name, totpCode(secretBytes(user.totpSecret ?? ''), user.now()));
    else if (type !== 'hidden' && type !== 'submit') form.append(name, user.userId);
    else if (type === 'hidden') form.append(name, attribute('value') ?? '');
  }
  const button = /<button\b[^>]*\bname="([^"]*)"[^>]*\bvalue="([^"]*)"/.exec(body) ?? undefined;
  if (button?.[1] !== undefined) form.append(button[1], button[2] ?? '');
  return form;
}

function unescape(text: string): string {
  return text
    .replace(/&quot;/g, '"')
    .replace(/&#39;|&#x27;/g, "'")
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&');
}
