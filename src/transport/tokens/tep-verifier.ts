/**
 * The one place where a TEP access token is believed. Fixed algorithms, key objects from a map by `kid`, nothing taken from the
 * token's header but `alg`, `typ` and `kid`. Every failure is the same `INVALID_TOKEN` (protocol section 5.1).
 * Warm path: a token seen before is not verified again, but what can change meanwhile (time, revocation, app, person) is.
 */
import type { KeyObject } from 'node:crypto';
import { type JWSHeaderParameters, jwtVerify } from 'jose';
import type { AppDirectory, Clock, Principal, Revocations, TokenVerifier, UserDirectory } from '../../actors/ports.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { appOfClientIn } from './client-app.ts';
import { maxTepLifeS, type TepClaims, tepPrefix, tepTokenType } from './tep-claims.ts';

export interface TepVerifierOptions {
  /** Our public URL, exactly as in `iss`. */
  readonly issuer: string;
  /** Public RSA keys by `kid`: the active one, the next and the retired ones whose tokens may live. */
  readonly keys: ReadonlyMap<string, KeyObject>;
  readonly apps: AppDirectory;
  readonly users: UserDirectory;
  readonly revocations: Revocations;
  readonly clock: Clock;
  /** Verified tokens to remember. */
  readonly cacheEntries?: number;
}

/** A verifier that can also tell the claims, for introspection. */
export interface TepVerifier extends TokenVerifier {
  inspect(token: string): Promise<{ readonly principal: Principal; readonly claims: TepClaims }>;
}

interface Verified {
  readonly claims: TepClaims;
  readonly scopes: ReadonlySet<string>;
}

const algorithms = ['RS256', 'RS384', 'RS512'];
const headerMembers = new Set(['alg', 'typ', 'kid']);
const requiredClaims = [
  'iss',
  'sub',
  'aud',
  'exp',
  'iat',
  'nbf',
  'jti',
  'token_type',
  'client_id',
  'azp',
  'scope',
  'wallet_id',
  'session_id',
];
/** How far another node's clock may be ahead. An expired token gets no grace: `exp` is exact. */
const skewS = 60;
const longestToken = 8_192;
const shape = /^tep\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;

/** Makes the verifier. `verify` throws `INVALID_TOKEN` and nothing else for a bad token; a directory that fails is passed on. */
export function createTepVerifier(options: TepVerifierOptions): TepVerifier {
  const { issuer, keys, apps, users, revocations, clock, cacheEntries = 10_000 } = options;
  const remembered = new Map<string, Verified>();

  const keyFor = (header: JWSHeaderParameters): KeyObject => {
    const key = typeof header.kid === 'string' ? keys.get(header.kid) : undefined;
    if (key === undefined) throw refusal();
    return key;
  };

  const believe = async (token: string): Promise<Verified> => {
    if (typeof token !== 'string' || token.length > longestToken || !canonical(token)) throw refusal();
    const now = new Date(clock.now());
    const { payload, protectedHeader } = await jwtVerify(token.slice(tepPrefix.length), keyFor, {
      algorithms,
      issuer,
      requiredClaims,
      typ: 'JWT',
      clockTolerance: skewS,
      maxTokenAge: maxTepLifeS,
      currentDate: now,
    }).catch(() => {
      throw refusal();
    });
    if (protectedHeader.typ !== 'JWT' || Object.keys(protectedHeader).some((member) => !headerMembers.has(member))) throw refusal();
    const claims = wellFormed(payload);
    return { claims, scopes: new Set(claims.scope.split(' ').filter((scope) => scope !== '')) };
  };

  const inspect = async (token: string): Promise<{ principal: Principal; claims: TepClaims }> => {
    let verified = remembered.get(token);
    if (verified === undefined) verified = await believe(token);
    const { claims, scopes } = verified;
    remembered.delete(token);
    if (claims.exp * 1_000 <= clock.now()) throw refusal();
    remembered.set(token, verified);
    if (remembered.size > cacheEntries) {
      const oldest = remembered.keys().next();
      if (oldest.done === false) remembered.delete(oldest.value);
    }
    const [app, user] = await Promise.all([appOfClientIn(apps, claims.aud), users.find(claims.sub)]);
    if (app?.status !== 'active' || user?.status !== 'active') throw refusal();
    const principal: Principal = {
      userId: claims.sub,
      appId: app.appId,
      walletId: claims.wallet_id,
      scopes,
      tokenId: claims.jti,
      grantId: claims.session_id,
      expiresAt: claims.exp * 1_000,
    };
    if (revocations.isRevoked({ ...principal, issuedAt: claims.iat_ms ?? claims.iat * 1_000 })) throw refusal();
    return { principal, claims };
  };

  return {
    inspect,
    async verify(token) {
      return (await inspect(token)).principal;
    },
  };
}

function refusal(): TmcpError {
  return new TmcpError('INVALID_TOKEN');
}

/** One spelling a token: base64url decoders forgive spare bits, and then two texts would be one token. */
function canonical(token: string): boolean {
  const parts = shape.exec(token);
  if (parts === null) return false;
  return parts.slice(1).every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

/** The payload as claims, each of its type and consistent with the others. */
function wellFormed(payload: Record<string, unknown>): TepClaims {
  const {
    sub,
    aud,
    exp,
    iat,
    iat_ms: exact,
    nbf,
    jti,
    token_type: kind,
    client_id: client,
    azp,
    scope,
    wallet_id: wallet,
    session_id: session,
  } = payload;
  const named = [sub, aud, jti, client, azp, wallet, session].every((value) => typeof value === 'string' && value !== '');
  const timed = [exp, iat, nbf].every((value) => Number.isSafeInteger(value) && (value as number) > 0);
  if (!named || !timed || typeof scope !== 'string' || kind !== tepTokenType) throw refusal();
  if (aud !== client || client !== azp) throw refusal();
  if (exact !== undefined && !(Number.isSafeInteger(exact) && Math.floor((exact as number) / 1_000) === iat)) throw refusal();
  const life = (exp as number) - (iat as number);
  if (life <= 0 || life > maxTepLifeS) throw refusal();
  return payload as unknown as TepClaims;
}
