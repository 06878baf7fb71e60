/**
 * How the OAuth library is set up: authorization code with PKCE (S256, every client), rotation of every refresh token, one grant per
 * authorisation, TEP claims in signed access tokens, and nothing else switched on (protocol sections 5 to 7).
 */
import { type Configuration, errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { newId } from '../../../ids.ts';
import { tepClaims } from '../../tokens/tep-claims.ts';
import { adapterFor, type AdapterParts, grantMarginS } from './adapter.ts';
import { appOf } from './clients.ts';
import { type Consent, consented, mustAsk, recordConsent } from './consent-rules.ts';
import type { IdentityOptions, Lifetimes } from './ports.ts';
import { mayAsk, passesUnasked } from './scopes.ts';
import { ensureWallet } from './wallets.ts';

export interface ConfigurationParts extends Pick<IdentityOptions, 'issuer' | 'keys' | 'cookieKeys' | 'store' | 'revocations' | 'clock'> {
  readonly lifetimes: Lifetimes;
  readonly adapter: AdapterParts;
  walletIdFor(userId: string): Promise<string>;
  onFault(error: unknown): void;
  renderError: NonNullable<Configuration['renderError']>;
}

export const cookieNames = { session: 'tmcp_session', interaction: 'tmcp_interaction', resume: 'tmcp_resume' };

/** The library's configuration. */
export function configurationFor(parts: ConfigurationParts): Configuration {
  const { issuer, keys, cookieKeys, store, lifetimes } = parts;
  const cookies = { httpOnly: true, sameSite: 'lax' as const, signed: true };
  return {
    adapter: (kind: string) => adapterFor(kind, parts.adapter),
    jwks: { keys: [keys.privateJwk as never] },
    routes: {
      authorization: '/oauth2/authorize',
      token: '/oauth2/token',
      introspection: '/oauth2/introspect',
      revocation: '/oauth2/revoke',
      jwks: '/.well-known/jwks.json',
    },
    cookies: { keys: [...cookieKeys], names: cookieNames, long: cookies, short: cookies },
    scopes: [],
    claims: {},
    responseTypes: ['code'],
    clientAuthMethods: ['none', 'client_secret_post', 'client_secret_basic'],
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
      introspection: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => issuer,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => resourceServer(parts, ctx, resource, client.clientId),
      },
    },
    formats: {
      customizers: {
        jwt: async (ctx, token, jwt) => {
          jwt.header = { typ: 'JWT' };
          jwt.payload = (await claimsOf(parts, token as never)) as never;
          ctx.state['issued'] = jwt.payload;
        },
      },
    },
    ttl: {
      AccessToken: lifetimes.accessTokenS,
      AuthorizationCode: lifetimes.codeS,
      RefreshToken: lifetimes.refreshTokenS,
      Grant: lifetimes.refreshTokenS + grantMarginS,
      Interaction: lifetimes.interactionS,
      Session: lifetimes.sessionS,
    },
    expiresWithSession: () => false,
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    clientBasedCORS: (_ctx, origin, client) =>
      client.clientAuthMethod === 'none' && (client.redirectUris ?? []).some((uri) => new URL(uri).origin === origin),
    findAccount: async (ctx, userId) => {
      const user = await store.users.find(userId);
      if (user?.status !== 'active') return undefined;
      if (ctx.oidc.route === 'token') await beforeTokens(parts, ctx, userId);
      return { accountId: userId, claims: () => ({ sub: userId }) };
    },
    loadExistingGrant: (ctx) => grantFor(parts, ctx),
    interactions: { policy: policy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    renderError: parts.renderError,
  };
}

/** What may stop a token request is asked before a refresh token is used up, so that the same one works again later. */
async function beforeTokens(parts: ConfigurationParts, ctx: KoaContextWithOIDC, userId: string): Promise<void> {
  const app = await appOf(parts.store, ctx.oidc.client?.clientId ?? '');
  if (app?.status !== 'active') throw new errors.UnauthorizedClient('the app is not active');
  await ensureWallet(parts.store, parts.walletIdFor, userId, parts.onFault);
}

/** Sign-in and consent as the library asks for them, and sign-in again when the signed-in person is gone or suspended. */
function policy(): ReturnType<typeof interactionPolicy.base> {
  const { base, Check } = interactionPolicy;
  const prompts = base();
  const gone = new Check('account_gone', 'the signed-in person may not sign in any more', (ctx) => {
    return ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined;
  });
  prompts.get('login')?.checks.add(gone);
  return prompts;
}

/** The one resource there is: this server, for the app's own audience. Checks what the library leaves open about a request. */
async function resourceServer(parts: ConfigurationParts, ctx: KoaContextWithOIDC, resource: string, clientId: string) {
  const { issuer, store, lifetimes } = parts;
  if (resource !== issuer) throw new errors.InvalidTarget();
  const app = await appOf(store, clientId);
  if (app?.status !== 'active') throw new errors.UnauthorizedClient('the app is not active');
  let scopes = app.scopes.filter((scope) => mayAsk(app, scope));
  const { route, params } = ctx.oidc;
  if (route === 'authorization') {
    if (typeof params?.['state'] !== 'string') throw new errors.InvalidRequest("missing required parameter 'state'");
    if (typeof params['scope'] !== 'string') throw new errors.InvalidRequest("missing required parameter 'scope'");
    const refused = params['scope'].split(' ').filter((scope) => !scopes.includes(scope));
    if (refused.length > 0) throw new errors.InvalidScope('a requested scope is unknown or not registered for the app', refused.join(' '));
  }
  if (route === 'token') {
    // What has been withdrawn since the authorisation is dropped.
    const given = await consented(store, ctx.oidc.account?.accountId ?? '', app);
    scopes = scopes.filter((scope) => given.has(scope));
    if (scopes.length === 0) throw new errors.InvalidGrant('nothing is granted any more');
  }
  return {
    audience: clientId,
    scope: scopes.join(' '),
    accessTokenFormat: 'jwt' as const,
    accessTokenTTL: lifetimes.accessTokenS,
    jwt: { sign: { alg: 'RS256' as const, kid: parts.keys.kid } },
  };
}

/**
 * A grant of its own for each authorisation, when the person need not be asked, or was and left something out. Nothing otherwise: the
 * library then shows the consent page and comes back.
 */
async function grantFor(parts: ConfigurationParts, ctx: KoaContextWithOIDC) {
  const { store, issuer } = parts;
  const { account, client, provider } = ctx.oidc;
  const requested = [...ctx.oidc.requestParamScopes];
  if (account === undefined || client === undefined || requested.length === 0) return undefined;
  if (ctx.oidc.promptPending('login') || ctx.oidc.promptPending('consent')) return undefined;
  const app = await appOf(store, client.clientId);
  if (app === undefined) return undefined;
  const ask = await mustAsk(store, account.accountId, app, requested);
  const declined = (ctx.oidc.result?.consent as Consent | undefined)?.declined ?? [];
  if (ask.some((scope) => !declined.includes(scope)) || ask.length === requested.length) return undefined;
  const unasked = requested.filter((scope) => passesUnasked(app, scope));
  await recordConsent(store, account.accountId, app, unasked, 'preapproved');
  await ensureWallet(store, parts.walletIdFor, account.accountId, parts.onFault);
  const grant = new provider.Grant({ jti: newId('session'), accountId: account.accountId, clientId: client.clientId } as never);
  grant.addResourceScope(issuer, requested.filter((scope) => !ask.includes(scope)).join(' '));
  if (ask.length > 0) grant.rejectResourceScope(issuer, ask.join(' '));
  await grant.save();
  return grant;
}

interface IssuedToken {
  readonly jti: string;
  readonly accountId: string;
  readonly clientId: string;
  readonly grantId: string;
  readonly scope?: string;
}

/** The claims of the token the library is about to sign, with our clock. */
async function claimsOf(parts: ConfigurationParts, token: IssuedToken) {
  const { issuer, store, lifetimes } = parts;
  const scopes = (token.scope ?? '').split(' ').filter((scope) => scope !== '');
  if (scopes.length === 0) throw new errors.InvalidGrant('nothing is granted any more');
  const [user, app] = await Promise.all([store.users.find(token.accountId), appOf(store, token.clientId)]);
  if (user === undefined || app === undefined) throw new errors.InvalidGrant('the person or the app is gone');
  const walletId = await ensureWallet(store, parts.walletIdFor, token.accountId, parts.onFault);
  return tepClaims(issuer, {
    userId: user.userId,
    clientId: token.clientId,
    walletId,
    grantId: token.grantId,
    tokenId: token.jti,
    scopes,
    issuedAt: parts.clock.now(),
    expiresInS: lifetimes.accessTokenS,
    displayName: user.displayName,
    ...(user.avatarUrl === undefined ? {} : { avatarUrl: user.avatarUrl }),
  });
}
