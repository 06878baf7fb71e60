/** Which of the scopes an app asks for a person has allowed, and which must be asked. */
import type { IdentityStore, OauthApp } from './ports.ts';
import { mayAsk, passesUnasked, scopeHash } from './scopes.ts';

/** What the consent page decided. Scopes in `declined` are left out of this authorisation; the next one asks for them again. */
export interface Consent {
  readonly declined: readonly string[];
}

/** The scopes the person's consents give the app now: registered still, and with the meaning that was shown. */
export async function consented(store: IdentityStore, userId: string, app: OauthApp): Promise<Set<string>> {
  const rows = await store.consents.list(userId, app.appId);
  return new Set(rows.filter((row) => mayAsk(app, row.scope) && row.scopeHash === scopeHash(row.scope)).map((row) => row.scope));
}

/** The requested scopes the person must be asked for. */
export async function mustAsk(store: IdentityStore, userId: string, app: OauthApp, requested: readonly string[]): Promise<string[]> {
  const given = await consented(store, userId, app);
  return requested.filter((scope) => !given.has(scope) && !passesUnasked(app, scope));
}

/** Records consent to `scopes`, as given on the page or passed by the reviewer. */
export async function recordConsent(
  store: IdentityStore,
  userId: string,
  app: OauthApp,
  scopes: readonly string[],
  method: 'consent_ui' | 'preapproved',
): Promise<void> {
  const entries = scopes.map((scope) => ({ scope, hash: scopeHash(scope) }));
  await store.consents.put(userId, app.appId, entries, method);
}
