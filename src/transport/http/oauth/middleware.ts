/**
 * What goes around the library's routes: our pages and style sheet, our key set, the members TMCP adds to answers, and errors in the
 * form the asker can read (protocol sections 6, 7 and 29.2).
 */
import type { Middleware, ParameterizedContext } from 'koa';
import type { ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import { TmcpError } from '../../../protocol/errors.ts';
import { type TepClaims, tepPrefix } from '../../tokens/tep-claims.ts';
import { messagePage } from '../pages/message-page.ts';
import { styles, stylesPath } from '../pages/styles.ts';
import { bodyOf } from './bridge.ts';
import { appOf } from './clients.ts';
import { clientOf } from './limits.ts';
import { contentSecurityPolicy, sendPage } from './page-response.ts';
import type { IdentityEvent, IdentityOptions } from './ports.ts';
import { allScopes, passesUnasked } from './scopes.ts';

export interface MiddlewareParts extends Pick<IdentityOptions, 'issuer' | 'keys' | 'store'> {
  interactions(ctx: ParameterizedContext, body: Buffer): Promise<boolean>;
  onEvent(event: IdentityEvent): void;
  onFault(error: unknown): void;
}

/** The middleware that stands before the library's router. */
export function createMiddleware(parts: MiddlewareParts): Middleware {
  return async (ctx, next) => {
    ctx.set({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'same-origin',
      'content-security-policy': contentSecurityPolicy(undefined),
    });
    const body = (ctx.req as unknown as { [bodyOf]?: Buffer })[bodyOf] ?? Buffer.alloc(0);
    if (ctx.path.startsWith('/assets/')) return sendStyles(ctx);
    if (ctx.path === '/.well-known/jwks.json' && ctx.method !== 'OPTIONS') return sendKeys(ctx, parts);
    if (await answerPage(ctx, body, parts)) return undefined;
    if (
      ctx.path === '/oauth2/introspect' &&
      ctx.method === 'POST' &&
      clientOf({ body, headers: { authorization: ctx.get('authorization') } }) === ''
    ) {
      return refuse(ctx, 401, 'invalid_client', 'client authentication is required');
    }
    // The library answers in the mode that was asked for, also errors, and one of its modes is a page with a script.
    if (ctx.path === '/oauth2/authorize' && ![undefined, 'query'].includes(ctx.query['response_mode'] as string | undefined)) {
      return refuseOnPage(ctx, { error: 'invalid_request', error_description: 'response_mode must be query' });
    }
    await next();
    return finish(ctx as unknown as KoaContextWithOIDC, parts);
  };
}

/** A page of an interaction; a fault becomes a page too, and is told. */
async function answerPage(ctx: ParameterizedContext, body: Buffer, parts: MiddlewareParts): Promise<boolean> {
  try {
    return await parts.interactions(ctx, body);
  } catch (error) {
    const busy = error instanceof TmcpError && error.code === 'SERVICE_UNAVAILABLE';
    if (!busy) parts.onFault(error);
    if (busy) ctx.set('retry-after', String(error.retryAfter ?? 1));
    const text = busy
      ? 'Many people sign in right now. Try again in a moment.'
      : 'Something went wrong on our side. Try again in a moment.';
    sendPage(ctx, busy ? 503 : 500, messagePage('This did not work', text));
    return true;
  }
}

async function finish(ctx: KoaContextWithOIDC, parts: MiddlewareParts): Promise<void> {
  const route = (ctx as { _matchedRouteName?: string })._matchedRouteName;
  if (route === 'token') {
    ctx.set('pragma', 'no-cache');
    if (ctx.status === 200) await completeTokens(ctx, parts);
  }
  if (route === 'introspection') {
    ctx.set('pragma', 'no-cache');
    if (ctx.status === 200 && ctx.oidc.client?.clientAuthMethod === 'none')
      refuse(ctx, 401, 'invalid_client', 'only a client with a secret may ask');
  }
  if (route === 'discovery' && ctx.status === 200) {
    const { claims_supported: _claims, claims_parameter_supported: _parameter, ...body } = ctx.body as Record<string, unknown>;
    ctx.body = { ...body, scopes_supported: allScopes, response_modes_supported: ['query'] };
  }
  const failure = ctx.state['authorizationError'] as ErrorOut | undefined;
  if (failure !== undefined && wantsJson(ctx)) {
    ctx.remove('location');
    ctx.status = 400;
    ctx.body = failure;
  }
}

/** The prefix of a TEP, and the members TMCP adds to a token answer (protocol section 7.1). */
async function completeTokens(ctx: KoaContextWithOIDC, parts: MiddlewareParts): Promise<void> {
  const body = ctx.body as Record<string, unknown>;
  const claims = ctx.state['issued'] as TepClaims;
  const app = await appOf(parts.store, claims.client_id);
  const granted = claims.scope.split(' ');
  ctx.body = {
    ...body,
    access_token: `${tepPrefix}${String(body['access_token'])}`,
    user_id: claims.sub,
    wallet_id: claims.wallet_id,
    ...(app?.classification === 'official'
      ? { preapproved_scopes: granted.filter((scope) => passesUnasked(app, scope)), privileged: false }
      : {}),
  };
  const { sub: userId, client_id: clientId, session_id: grantId } = claims;
  parts.onEvent({ type: 'token.issued', userId, clientId, grantId, scopes: granted });
}

/** The library's errors that cannot be redirected. */
export function renderError(ctx: KoaContextWithOIDC, out: ErrorOut): void {
  const route = (ctx as { _matchedRouteName?: string })._matchedRouteName;
  const error = out.error === 'invalid_redirect_uri' ? 'invalid_request' : out.error;
  const description = out.error_description ?? error;
  if (route === 'authorization' || route === 'resume') refuseOnPage(ctx, { error, error_description: description }, ctx.status);
  else ctx.body = { error, error_description: description };
}

/** An error of an address that people open: a page for browsers, JSON for everybody else. */
function refuseOnPage(ctx: ParameterizedContext, body: { readonly error: string; readonly error_description: string }, status = 400): void {
  if (wantsJson(ctx)) return refuse(ctx, status, body.error, body.error_description);
  const ours = status >= 500;
  const text = ours
    ? 'Something went wrong on our side. Try again in a moment.'
    : 'The app sent a request that cannot be accepted. Go back to the app and start again; if it happens again, tell its makers.';
  ctx.set('cache-control', 'no-store');
  const fault = ours ? undefined : { code: body.error, description: body.error_description };
  sendPage(ctx, status, messagePage('This sign-in cannot go on', text, fault));
}

function wantsJson(ctx: ParameterizedContext): boolean {
  return ctx.accepts('html', 'json') === 'json';
}

function refuse(ctx: ParameterizedContext, status: number, error: string, description: string): void {
  ctx.status = status;
  ctx.set('cache-control', 'no-store');
  ctx.body = { error, error_description: description };
}

function sendStyles(ctx: ParameterizedContext): void {
  if (ctx.path !== stylesPath) return refuse(ctx, 404, 'not_found', 'there is nothing here');
  ctx.status = 200;
  ctx.set('cache-control', 'public, max-age=31536000, immutable');
  ctx.type = 'css';
  ctx.body = styles;
}

function sendKeys(ctx: ParameterizedContext, { keys }: MiddlewareParts): void {
  ctx.status = 200;
  ctx.set({ 'cache-control': 'public, max-age=300', 'access-control-allow-origin': '*' });
  ctx.type = 'application/jwk-set+json';
  ctx.body = JSON.stringify({ keys: keys.publicJwks });
}
