/**
 * The claims of a TEP access token (protocol section 5.1), and signing one outside the OAuth library (the dev door, `tmcp token`).
 * The library signs the others; both use these claims.
 */
import { CompactSign } from 'jose';
import type { SigningKeys } from './signing-keys.ts';

export const tepPrefix = 'tep.';
export const tepTokenType = 'tep_access_token';
/** The longest life of a TEP in seconds (protocol section 5.2). */
export const maxTepLifeS = 86_400;

/** What a token is to say. */
export interface TepSubject {
  readonly userId: string;
  readonly clientId: string;
  readonly walletId: string;
  readonly grantId: string;
  readonly tokenId: string;
  readonly scopes: readonly string[];
  /** Epoch ms. */
  readonly issuedAt: number;
  readonly expiresInS: number;
  readonly displayName?: string;
  readonly avatarUrl?: string;
}

/** The claims of a verified token. */
export interface TepClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string;
  readonly exp: number;
  readonly iat: number;
  /**
   * `iat` in milliseconds, ours: a withdrawal ends what was issued before it, and somebody who allows the app again in the same second
   * must get a token that lives.
   */
  readonly iat_ms?: number;
  readonly nbf: number;
  readonly jti: string;
  readonly token_type: typeof tepTokenType;
  readonly client_id: string;
  readonly azp: string;
  readonly scope: string;
  readonly wallet_id: string;
  readonly session_id: string;
  readonly user_context?: { readonly display_name: string; readonly avatar_url?: string };
}

/** The claims for `subject`. The name and picture are in them only with `user:read`. */
export function tepClaims(issuer: string, subject: TepSubject): TepClaims {
  const iat = Math.floor(subject.issuedAt / 1_000);
  const claims = {
    iss: issuer,
    sub: subject.userId,
    aud: subject.clientId,
    exp: iat + subject.expiresInS,
    iat,
    iat_ms: subject.issuedAt,
    nbf: iat,
    jti: subject.tokenId,
    token_type: tepTokenType,
    client_id: subject.clientId,
    azp: subject.clientId,
    scope: subject.scopes.join(' '),
    wallet_id: subject.walletId,
    session_id: subject.grantId,
  } as const;
  if (subject.displayName === undefined || !subject.scopes.includes('user:read')) return claims;
  const context = { display_name: subject.displayName };
  return { ...claims, user_context: subject.avatarUrl === undefined ? context : { ...context, avatar_url: subject.avatarUrl } };
}

/** Signs `claims` with the active key: `tep.` and a compact JWS. */
export async function signTep(keys: SigningKeys, claims: TepClaims): Promise<string> {
  const jws = await new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: keys.kid })
    .sign(keys.privateKey);
  return `${tepPrefix}${jws}`;
}
