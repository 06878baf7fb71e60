/**
 * Checks a name and a password. A try is charged before anything is looked at; an unknown name costs the same and is answered the same
 * as a wrong password.
 */
import type { IdentityOptions } from './ports.ts';

export type SignInResult =
  | { readonly kind: 'ok'; readonly userId: string }
  | { readonly kind: 'refused' }
  | { readonly kind: 'locked'; readonly forMs: number };

type Parts = Pick<IdentityOptions, 'store' | 'hasher' | 'serverName'>;

/** Names longer than any account's are charged together. */
const longestName = 255;

/** Makes the check. The hash of nobody's password is made once, with the costs of real ones. */
export async function createSignIn(
  parts: Parts,
  nobodysPassword: string,
): Promise<(account: string, password: string) => Promise<SignInResult>> {
  const { store, hasher, serverName } = parts;
  const nobody = await hasher.hash(nobodysPassword);
  return async (account, password) => {
    const userId = userIdOf(account, serverName);
    const { lockedForMs } = await store.guards.charge(userId);
    if (lockedForMs > 0) return { kind: 'locked', forMs: lockedForMs };
    const hash = await store.users.passwordHash(userId);
    const matches = await hasher.verify(hash ?? nobody, password);
    if (hash === undefined || !matches) return { kind: 'refused' };
    await store.guards.clear(userId);
    return { kind: 'ok', userId };
  };
}

/** What somebody typed as a user id: `alice`, `@alice` and `@alice:server` are the same person. */
export function userIdOf(account: string, serverName: string): string {
  const typed = account.trim().toLowerCase().slice(0, longestName);
  const local = typed.startsWith('@') ? typed.slice(1) : typed;
  return local.includes(':') ? `@${local}` : `@${local}:${serverName}`;
}
