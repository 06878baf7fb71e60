/** The wallet id a token carries. Asked for once a person, at authorisation, so that no token request has to wait for the wallet. */
import { errors } from 'oidc-provider';
import type { IdentityStore } from './ports.ts';

/** The person's wallet id, made and remembered at first use. Errors: `temporarily_unavailable` when the wallet cannot say. */
export async function ensureWallet(
  store: IdentityStore,
  walletIdFor: (userId: string) => Promise<string>,
  userId: string,
  onFault: (error: unknown) => void,
): Promise<string> {
  const known = await store.users.walletId(userId);
  if (known !== undefined) return known;
  try {
    const walletId = await walletIdFor(userId);
    await store.users.setWallet(userId, walletId);
    return walletId;
  } catch (error) {
    onFault(error);
    throw new errors.TemporarilyUnavailable('the wallet cannot be reached right now');
  }
}
