/**
 * Identity, joined: the OAuth server with its pages, TEP tokens and their verification, behind one `handle`. No HTTP server is involved;
 * the gateway hands requests in. Verified tokens are the only thing the rest of the server takes from here.
 */
import { Provider } from 'oidc-provider';
import { newId, newSecret } from '../../../ids.ts';
import { TmcpError } from '../../../protocol/errors.ts';
import { clientIdsOf } from '../../tokens/client-app.ts';
import { maxTepLifeS, signTep, tepClaims } from '../../tokens/tep-claims.ts';
import { createTepVerifier } from '../../tokens/tep-verifier.ts';
import { createBridge } from './bridge.ts';
import { appOf, clientMetadata, compareSecretsByHash } from './clients.ts';
import { configurationFor } from './configuration.ts';
import { consented } from './consent-rules.ts';
import { createCsrf } from './csrf.ts';
import { createInteractions } from './interactions.ts';
import { createLimits } from './limits.ts';
import { createMiddleware, renderError } from './middleware.ts';
import type { Identity, IdentityOptions, Lifetimes, TepRequest } from './ports.ts';
import { mayAsk } from './scopes.ts';
import { createSignIn } from './sign-in.ts';
import { ensureWallet } from './wallets.ts';

const defaultLifetimes: Lifetimes = {
  accessTokenS: 3_600,
  refreshTokenS: 30 * 86_400,
  codeS: 60,
  interactionS: 900,
  sessionS: 12 * 3_600,
};

/** Starts identity. Throws with a sentence when the options contradict themselves. */
export async function createIdentity(options: IdentityOptions): Promise<Identity> {
  const { issuer, store, revocations, clock, keys } = options;
  const lifetimes = { ...defaultLifetimes, ...options.lifetimes };
  const onFault = options.onFault ?? (() => {});
  const onEvent = options.onEvent ?? (() => {});
  checkOptions(options, lifetimes);

  const verifier = createTepVerifier({ issuer, keys: keys.verifyKeys, apps: store.apps, users: store.users, revocations, clock });
  const walletIdFor = (userId: string): Promise<string> => options.walletIdFor(userId);
  const adapter = {
    models: store.models,
    revocations,
    clock,
    refreshTokenS: lifetimes.refreshTokenS,
    verifier: () => verifier,
    clientMetadata: async (clientId: string) => clientMetadata(await appOf(store, clientId), clientId, options.dev),
    onEvent,
  };
  const parts = { ...options, lifetimes, adapter, walletIdFor, onFault, renderError };
  const provider = new Provider(issuer, configurationFor(parts));
  compareSecretsByHash(provider);
  nameRefreshTokens(provider);
  provider.on('server_error', (_ctx, error) => onFault(error));
  // Koa's own event for what no route caught; the types know only the library's.
  (provider as NodeJS.EventEmitter).on('error', onFault);
  provider.on('authorization.error', (ctx, error) => {
    ctx.state['authorizationError'] = { error: error.error, error_description: error.error_description };
  });

  const limits = createLimits(options.buckets, options.rateScale ?? 1);
  const csrf = createCsrf(options.cookieKeys, issuer);
  const signIn = await createSignIn(options, newSecret());
  const { secondFactor } = options;
  const interactionParts = {
    provider,
    store,
    clock,
    csrf,
    limits,
    signIn,
    onEvent,
    ...(secondFactor === undefined ? {} : { secondFactor }),
  };
  const interactions = createInteractions(interactionParts);
  provider.use(createMiddleware({ issuer, keys, store, interactions, onEvent, onFault }));
  const bridge = createBridge({ listener: provider.callback(), origin: issuer, admit: limits.check, onFault });

  return {
    verifier,
    handle: bridge.handle,
    async mintTep(request) {
      const { user, app, expiresInS } = await checkTepRequest(options, request, lifetimes);
      const walletId = await ensureWallet(store, walletIdFor, user.userId, onFault);
      const subject = {
        userId: user.userId,
        clientId: app.appId,
        walletId,
        grantId: request.grantId ?? newId('session'),
        tokenId: newId('tep'),
        scopes: request.scopes,
        issuedAt: clock.now(),
        expiresInS,
        displayName: user.displayName,
        ...(user.avatarUrl === undefined ? {} : { avatarUrl: user.avatarUrl }),
      };
      return signTep(keys, tepClaims(issuer, subject));
    },
    async grants(userId, appId) {
      const app = await appOf(store, appId);
      return app === undefined ? [] : [...(await consented(store, userId, app))];
    },
    async revoke({ userId, appId, scopes, reason }) {
      const app = appId === undefined ? undefined : await appOf(store, appId);
      const { revoked, at } = await store.withdraw({
        userId,
        // Consents and live tokens go by the app's own id, also when one of its client ids was told.
        ...(appId === undefined ? {} : { appId: app?.appId ?? appId, clientIds: app === undefined ? [appId] : clientIdsOf(app) }),
        ...(scopes === undefined ? {} : { scopes }),
      });
      const revokedScopes = [...new Set(revoked.map(({ scope }) => scope))];
      onEvent({ type: 'permission.withdrawn', userId, ...(appId === undefined ? {} : { clientId: appId }), scopes: revokedScopes, reason });
      return { revokedScopes, revokedAt: at };
    },
  };
}

function checkOptions(options: IdentityOptions, lifetimes: Lifetimes): void {
  const { issuer, cookieKeys, dev } = options;
  const parsed = new URL(issuer);
  if (parsed.origin !== issuer)
    throw new Error(`the issuer must be an origin such as https://tmcp.example, without a path or a slash at its end, not ${issuer}`);
  const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(parsed.hostname);
  if (parsed.protocol !== 'https:' && !dev && !loopback)
    throw new Error('the issuer must be https outside development (http is for loopback only)');
  if (cookieKeys.length === 0 || cookieKeys.some((key) => key.length < 32))
    throw new Error('cookie keys must be at least 32 characters long, and there must be one');
  if (lifetimes.accessTokenS > maxTepLifeS) throw new Error(`access tokens live at most ${maxTepLifeS} s`);
  for (const [name, value] of Object.entries(lifetimes))
    if (!Number.isSafeInteger(value) || value <= 0) throw new Error(`the lifetime ${name} must be a whole number of seconds`);
}

/** Refresh tokens say what they are, so that one in a log or a repository is recognised. */
function nameRefreshTokens(provider: Provider): void {
  const prototype = provider.RefreshToken.prototype as unknown as { generateTokenId(): string };
  prototype.generateTokenId = () => `rt_${newSecret()}`;
}

async function checkTepRequest(options: IdentityOptions, request: TepRequest, lifetimes: Lifetimes) {
  const { store } = options;
  const { userId, appId, scopes, expiresInS = lifetimes.accessTokenS } = request;
  const [user, app] = await Promise.all([store.users.find(userId), store.apps.oauthApp(appId)]);
  if (user === undefined) throw new TmcpError('USER_NOT_FOUND');
  if (app === undefined) throw new TmcpError('APP_NOT_FOUND');
  if (!Number.isSafeInteger(expiresInS) || expiresInS < 1 || expiresInS > maxTepLifeS) {
    throw new TmcpError('INVALID_REQUEST', `expires_in must be a whole number of seconds from 1 to ${maxTepLifeS}`);
  }
  const refused = scopes.filter((scope) => !mayAsk(app, scope));
  if (refused.length > 0) throw new TmcpError('INVALID_SCOPE', undefined, { details: { scopes: refused } });
  return { user, app, expiresInS };
}
