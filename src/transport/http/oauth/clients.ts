/**
 * Mini-apps as OAuth clients. A public app has one client without a secret, a confidential app one with, a hybrid app both
 * (protocol section 7). Redirect URIs are compared byte by byte by the library because every client is of type `web`.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { AdapterPayload, Provider } from 'oidc-provider';
import { appOfClient } from '../../tokens/client-app.ts';
import type { IdentityStore, OauthApp } from './ports.ts';

const loopbackHosts = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** The app behind a client id, whatever its status. */
export function appOf(store: IdentityStore, clientId: string): Promise<OauthApp | undefined> {
  return appOfClient((appId) => store.apps.oauthApp(appId), clientId);
}

/** The library's client metadata; undefined for an unknown client. `allowLoopback` lets registered http loopback URIs through. */
export function clientMetadata(app: OauthApp | undefined, clientId: string, allowLoopback: boolean): AdapterPayload | undefined {
  if (app === undefined) return undefined;
  const confidential = app.clientType === 'confidential' || (app.clientType === 'hybrid' && clientId !== app.appId);
  if (confidential && app.secretHash === null) return undefined;
  const redirectUris = app.redirectUris.filter((uri) => usable(uri, allowLoopback));
  return {
    client_id: clientId,
    client_name: app.name,
    application_type: 'web',
    redirect_uris: redirectUris,
    response_types: redirectUris.length === 0 ? [] : ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    ...(confidential && app.secretHash !== null
      ? { token_endpoint_auth_method: 'client_secret_post' as const, client_secret: app.secretHash }
      : { token_endpoint_auth_method: 'none' as const }),
  };
}

/** Client secrets are stored as SHA-256: they hold at least 128 random bits, so a slow hash would add nothing. */
export function compareSecretsByHash(provider: Provider): void {
  const prototype = provider.Client.prototype as unknown as {
    compareClientSecret(this: { clientSecret: string }, actual: string): boolean;
  };
  prototype.compareClientSecret = function compareClientSecret(actual) {
    const expected = Buffer.from(this.clientSecret, 'hex');
    const given = createHash('sha256').update(actual).digest();
    return expected.length === given.length && timingSafeEqual(expected, given);
  };
}

function usable(uri: string, allowLoopback: boolean): boolean {
  const parsed = new URL(uri);
  return parsed.protocol === 'https:' || (allowLoopback && parsed.protocol === 'http:' && loopbackHosts.has(parsed.hostname));
}
