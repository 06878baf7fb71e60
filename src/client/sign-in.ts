/** Helpers for signing in with OAuth 2.0 and PKCE (RFC 7636, S256). Web Crypto only, so they run in browsers and Node. */

/**
 * Gives a valid access token; `renew` is true when the last one was refused or is about to expire. A rejection means "try later", unless
 * it is a `TmcpError` that is not retryable (`new TmcpError('INVALID_TOKEN')`: nobody is signed in): at the second of those the client ends.
 * Every token must be of the same user and app.
 */
export type TokenSource = (renew: boolean) => Promise<string>;

/** A code verifier of 256 random bits and its S256 challenge. Keep the verifier for the token request. */
export async function createPkcePair(): Promise<{ readonly verifier: string; readonly challenge: string }> {
  const verifier = base64Url(crypto.getRandomValues(new Uint8Array(32)));
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  return { verifier, challenge: base64Url(new Uint8Array(hash)) };
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=+$/, '');
}
