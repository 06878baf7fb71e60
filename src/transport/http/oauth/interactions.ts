/**
 * The pages between `/oauth2/authorize` and the redirect back: sign-in, second factor, consent. Each is one form post away from the
 * next; what was decided is handed to the library, which goes on from there. Nothing here reads what a person may do from the request.
 */
import type { ParameterizedContext } from 'koa';
import { errors, type Provider } from 'oidc-provider';
import { boxName, consentPage } from '../pages/consent-page.ts';
import type { Problem } from '../pages/layout.ts';
import { messagePage } from '../pages/message-page.ts';
import { onwardPage } from '../pages/onward-page.ts';
import { secondFactorPage } from '../pages/second-factor-page.ts';
import { signInPage } from '../pages/sign-in-page.ts';
import { appOf } from './clients.ts';
import { type Consent, mustAsk, recordConsent } from './consent-rules.ts';
import type { createCsrf } from './csrf.ts';
import type { Limits } from './limits.ts';
import { sendPage } from './page-response.ts';
import type { IdentityEvent, IdentityOptions, OauthApp } from './ports.ts';
import { passesUnasked, scopeCard } from './scopes.ts';
import type { SignInResult } from './sign-in.ts';

export interface InteractionParts extends Pick<IdentityOptions, 'store' | 'clock' | 'secondFactor'> {
  readonly provider: Provider;
  readonly csrf: ReturnType<typeof createCsrf>;
  readonly limits: Limits;
  signIn(account: string, password: string): Promise<SignInResult>;
  onEvent(event: IdentityEvent): void;
}

type Details = Awaited<ReturnType<Provider['interactionDetails']>>;

/** One request of an interaction, with everything a step needs. */
interface Step {
  readonly ctx: ParameterizedContext;
  readonly details: Details;
  readonly app: OauthApp;
  readonly redirectUri: string;
  readonly action: string;
  readonly csrf: string;
  readonly form: URLSearchParams;
}

/** A password that was right, waiting for its second factor. `at` is epoch ms. */
interface Pending {
  readonly userId: string;
  readonly at: number;
}

const pendingLifeMs = 5 * 60_000;
const route = /^\/interaction\/([\w-]+)(?:\/([a-z-]+))?$/;

/** Answers paths under `/interaction/`; false for any other. `body` is the request's. */
export function createInteractions(parts: InteractionParts): (ctx: ParameterizedContext, body: Buffer) => Promise<boolean> {
  const steps: Readonly<Record<string, (parts: InteractionParts, step: Step) => Promise<void>>> = {
    'sign-in': signIn,
    code: secondFactor,
    back,
    consent: decide,
    switch: switchAccount,
    cancel: (_parts, step) => finish(step, { error: 'access_denied', error_description: 'the person left the sign-in' }),
  };
  return async (ctx, body) => {
    const match = route.exec(ctx.path);
    if (match === null) return false;
    ctx.set('cache-control', 'no-store');
    const [, uid = '', action] = match;
    const details = await parts.provider.interactionDetails(ctx.req, ctx.res).catch((error: unknown) => {
      if (error instanceof errors.SessionNotFound) return undefined;
      throw error;
    });
    const app = details === undefined ? undefined : await appOf(parts.store, String(details.params['client_id']));
    if (details === undefined || details.uid !== uid || app === undefined) {
      const text = 'This sign-in was finished or took too long. Go back to the app and start again.';
      sendPage(ctx, 400, messagePage('This sign-in has expired', text));
      return true;
    }
    const csrf = parts.csrf.proof(uid);
    const redirectUri = String(details.params['redirect_uri']);
    const form = new URLSearchParams(body.toString('utf8'));
    const step: Step = { ctx, details, app, redirectUri, action: `/interaction/${uid}`, csrf, form };
    if (action === undefined) await show(parts, step);
    // The address of a form that was answered with a problem, opened again.
    else if (ctx.method !== 'POST') goTo(step);
    else if (!parts.csrf.holds(uid, form.get('csrf'), (name) => ctx.get(name))) {
      sendPage(
        ctx,
        403,
        messagePage('This form cannot be accepted', 'It did not come from our own page. Go back to the app and start again.'),
      );
    } else await steps[action]?.(parts, step);
    return true;
  };
}

async function show(parts: InteractionParts, step: Step): Promise<void> {
  const { details, app } = step;
  if (details.prompt.name === 'login') {
    const pending = pendingOf(parts, details);
    if (pending !== undefined) return showCode(step, pending.userId, []);
    const hint = details.params['login_hint'];
    return showSignIn(step, 200, typeof hint === 'string' ? hint.slice(0, 255) : '', []);
  }
  const asked = await mustAsk(parts.store, details.session?.accountId ?? '', app, requestedScopes(details));
  showConsent(step, asked, asked, []);
}

function showConsent(step: Step, asked: readonly string[], ticked: readonly string[], problems: readonly Problem[]): void {
  const { ctx, details, app, action, csrf, redirectUri } = step;
  const rest = requestedScopes(details).filter((scope) => !asked.includes(scope));
  const document = consentPage({
    app,
    userId: details.session?.accountId ?? '',
    action,
    csrf,
    asked: asked.map(scopeCard),
    ticked,
    allowed: rest.filter((scope) => !passesUnasked(app, scope)).map(scopeCard),
    unasked: rest.filter((scope) => passesUnasked(app, scope)).map(scopeCard),
    returnHost: new URL(redirectUri).host,
    problems,
  });
  sendPage(ctx, problems.length === 0 ? 200 : 400, document, redirectUri);
}

function showSignIn(step: Step, status: number, account: string, problems: readonly Problem[]): void {
  const { ctx, app, action, csrf, redirectUri } = step;
  sendPage(ctx, status, signInPage({ app, action, csrf, account, problems }), redirectUri);
}

function showCode(step: Step, userId: string, problems: readonly Problem[]): void {
  const { ctx, app, action, csrf, redirectUri } = step;
  sendPage(ctx, problems.length === 0 ? 200 : 400, secondFactorPage({ app, userId, action, csrf, problems }), redirectUri);
}

async function signIn(parts: InteractionParts, step: Step): Promise<void> {
  const { ctx, details, form } = step;
  if (details.prompt.name !== 'login') return goTo(step);
  const account = (form.get('account') ?? '').trim();
  const password = form.get('password') ?? '';
  const missing: Problem[] = [];
  if (account === '') missing.push({ field: 'account', text: 'Enter your user name' });
  if (password === '') missing.push({ field: 'password', text: 'Enter your password' });
  if (missing.length > 0) return showSignIn(step, 400, account, missing);
  if (password.length > 1_024) return showSignIn(step, 400, account, [wrongPassword]);

  const { ok, retryAfterS } = await parts.limits.take('signIn', ctx.ip);
  if (!ok) return showLocked(step, account, retryAfterS * 1_000);
  const result = await parts.signIn(account, password);
  if (result.kind === 'locked') {
    parts.onEvent({ type: 'sign_in.locked', ip: ctx.ip });
    return showLocked(step, account, result.forMs);
  }
  if (result.kind === 'refused') {
    parts.onEvent({ type: 'sign_in.refused', ip: ctx.ip });
    return showSignIn(step, 400, account, [wrongPassword]);
  }
  if (parts.secondFactor !== undefined && (await parts.secondFactor.required(result.userId))) {
    await keepPending(details, { userId: result.userId, at: parts.clock.now() });
    return goTo(step);
  }
  await signedIn(parts, step, result.userId, ['pwd']);
}

const wrongPassword: Problem = { field: 'password', text: 'The user name or the password is not right' };

function showLocked(step: Step, account: string, forMs: number): void {
  const minutes = Math.max(1, Math.ceil(forMs / 60_000));
  step.ctx.set('retry-after', String(Math.ceil(forMs / 1_000)));
  const text = `There were too many tries. Try again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.`;
  showSignIn(step, 429, account, [{ text }]);
}

async function secondFactor(parts: InteractionParts, step: Step): Promise<void> {
  const { ctx, details, form } = step;
  const pending = pendingOf(parts, details);
  if (pending === undefined || parts.secondFactor === undefined) return goTo(step);
  const code = (form.get('code') ?? '').replace(/\s/g, '');
  if (!/^\d{6}$/.test(code)) return showCode(step, pending.userId, [{ field: 'code', text: 'Enter the six digits of the code' }]);
  const { ok, retryAfterS } = await parts.limits.take('signIn', ctx.ip);
  const verdict = ok ? await parts.secondFactor.verifyTotp(pending.userId, code) : 'locked';
  if (verdict === 'ok') return signedIn(parts, step, pending.userId, ['pwd', 'otp']);
  parts.onEvent({ type: 'second_factor.refused', userId: pending.userId, ip: ctx.ip, reason: verdict });
  if (!ok) ctx.set('retry-after', String(retryAfterS));
  const text =
    verdict === 'wrong' ? 'The code is not right. Wait for the next one and try again' : 'There were too many wrong codes. Try again later';
  showCode(step, pending.userId, [{ field: 'code', text }]);
}

/** From the code back to the password. */
async function back(_parts: InteractionParts, step: Step): Promise<void> {
  await keepPending(step.details, undefined);
  goTo(step);
}

async function signedIn(parts: InteractionParts, step: Step, userId: string, amr: string[]): Promise<void> {
  const { ctx, details } = step;
  // Another person than the browser was signed in as: the old session ends here, not in the new person's hands.
  if (details.session !== undefined && details.session.accountId !== userId) await forgetSession(parts, details);
  parts.onEvent({ type: 'sign_in.ok', userId, clientId: String(details.params['client_id']), ip: ctx.ip });
  await finish(step, { login: { accountId: userId, amr, remember: true } });
}

async function decide(parts: InteractionParts, step: Step): Promise<void> {
  const { ctx, details, app, form } = step;
  const userId = details.session?.accountId;
  if (details.prompt.name !== 'consent' || userId === undefined) return goTo(step);
  const clientId = String(details.params['client_id']);
  if (form.get('decision') === 'deny') {
    parts.onEvent({ type: 'consent.denied', userId, clientId });
    return finish(step, { error: 'access_denied', error_description: 'the person did not allow this' });
  }
  const requested = requestedScopes(details);
  const asked = await mustAsk(parts.store, userId, app, requested);
  // Without a word about ticks everything that was asked is allowed.
  const scopes = ctx.query['only'] === 'ticked' ? asked.filter((scope) => form.has(boxName(scope))) : asked;
  if (form.get('decision') !== 'allow') return showConsent(step, asked, scopes, [{ field: 'allow', text: 'Choose Allow or Deny' }]);
  const declined = asked.filter((scope) => !scopes.includes(scope));
  if (declined.length === requested.length)
    return showConsent(step, asked, [], [{ field: 'scope-0', text: 'Tick at least one permission, or choose Deny' }]);
  await recordConsent(parts.store, userId, app, scopes, 'consent_ui');
  parts.onEvent({ type: 'consent.given', userId, clientId, scopes });
  await finish(step, { consent: { declined } satisfies Consent });
}

async function switchAccount(parts: InteractionParts, step: Step): Promise<void> {
  await forgetSession(parts, step.details);
  await finish(step, {});
}

/** Ends the browser's session and frees the interaction from it. */
async function forgetSession(parts: InteractionParts, details: Details): Promise<void> {
  const uid = details.session?.uid;
  if (uid === undefined) return;
  await parts.store.models.destroyByUid('Session', uid);
  delete (details as { session?: unknown }).session;
  await details.persist();
}

/**
 * Hands the result to the library: its address goes on with the authorisation. A browser gets there from a page of its own, so that the
 * app's callback may redirect as it likes; everybody else follows a redirect.
 */
async function finish(step: Step, result: Parameters<Provider['interactionResult']>[2]): Promise<void> {
  const { ctx, details } = step;
  details.result = result as NonNullable<Details['result']>;
  await details.persist();
  if (ctx.get('sec-fetch-mode') === 'navigate') return sendPage(ctx, 200, onwardPage(details.returnTo));
  ctx.status = 303;
  ctx.redirect(details.returnTo);
}

/** Back to the page of this interaction. */
function goTo(step: Step): void {
  step.ctx.status = 303;
  step.ctx.redirect(step.action);
}

function requestedScopes(details: Details): string[] {
  return String(details.params['scope'] ?? '')
    .split(' ')
    .filter((scope) => scope !== '');
}

function pendingOf(parts: InteractionParts, details: Details): Pending | undefined {
  const pending = (details.result as { pending?: Pending } | undefined)?.pending;
  return pending !== undefined && parts.clock.now() - pending.at < pendingLifeMs ? pending : undefined;
}

async function keepPending(details: Details, pending: Pending | undefined): Promise<void> {
  details.result = (pending === undefined ? {} : { pending }) as NonNullable<Details['result']>;
  await details.persist();
}
