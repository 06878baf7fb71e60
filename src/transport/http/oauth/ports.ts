/**
 * What identity needs from outside, and what it offers. The stores are implemented in `persistence/oauth`; `app.ts` joins them.
 */
import type { AppDirectory, AppRecord, Clock, Revocations, SecretHasher, SharedBuckets, UserDirectory } from '../../../actors/ports.ts';
import type { SigningKeys } from '../../tokens/signing-keys.ts';
import type { TepVerifier } from '../../tokens/tep-verifier.ts';

/** One row of the OAuth library. `expiresAt` is epoch ms; secrets among the ids are hashed before they get here. */
export interface ModelRow {
  readonly kind: string;
  readonly id: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly grantId: string | null;
  readonly accountId: string | null;
  readonly clientId: string | null;
  readonly userCode: string | null;
  readonly uid: string | null;
  readonly expiresAt: number;
}

export interface StoredModel {
  readonly payload: Record<string, unknown>;
  readonly consumedAt: number | null;
}

/** Rows of the OAuth library. `consume` and `rotate` have one winner among all callers on all nodes. */
export interface ModelStore {
  upsert(row: ModelRow): Promise<void>;
  rotate(usedId: string, next: ModelRow, grantExpiresAt: number): Promise<boolean>;
  find(kind: string, id: string): Promise<StoredModel | undefined>;
  findByUid(kind: string, uid: string): Promise<StoredModel | undefined>;
  consume(kind: string, id: string): Promise<boolean>;
  grantOf(kind: string, id: string): Promise<string | undefined>;
  destroy(kind: string, id: string): Promise<void>;
  destroyByUid(kind: string, uid: string): Promise<void>;
  destroyByGrant(kind: string, grantId: string): Promise<void>;
}

/** An app with what only the OAuth server reads. `secretHash` is the SHA-256 of the client secret, hex. */
export interface OauthApp extends AppRecord {
  readonly developer: string;
  readonly preapprovedScopes: readonly string[];
  readonly secretHash: string | null;
}

/** Everything identity keeps. */
export interface IdentityStore {
  readonly models: ModelStore;
  readonly apps: AppDirectory & { oauthApp(appId: string): Promise<OauthApp | undefined> };
  readonly users: UserDirectory & {
    passwordHash(userId: string): Promise<string | undefined>;
    walletId(userId: string): Promise<string | undefined>;
    setWallet(userId: string, walletId: string): Promise<void>;
  };
  readonly consents: {
    list(userId: string, appId: string): Promise<readonly { readonly scope: string; readonly scopeHash: string }[]>;
    put(
      userId: string,
      appId: string,
      entries: readonly { scope: string; hash: string }[],
      method: 'consent_ui' | 'preapproved',
    ): Promise<void>;
  };
  readonly guards: {
    charge(subject: string): Promise<{ readonly lockedForMs: number }>;
    clear(subject: string): Promise<void>;
  };
  withdraw(withdrawal: {
    readonly userId: string;
    readonly appId?: string;
    readonly clientIds?: readonly string[];
    readonly scopes?: readonly string[];
  }): Promise<{ readonly revoked: readonly { appId: string; scope: string }[]; readonly at: number }>;
}

/** A person's second factor, kept by whoever counts its failures. */
export interface SecondFactor {
  required(userId: string): Promise<boolean>;
  verifyTotp(userId: string, code: string): Promise<'ok' | 'wrong' | 'locked'>;
}

/** Something worth an audit line. Never holds passwords, codes or tokens. */
export interface IdentityEvent {
  readonly type:
    | 'sign_in.ok'
    | 'sign_in.refused'
    | 'sign_in.locked'
    | 'second_factor.refused'
    | 'consent.given'
    | 'consent.denied'
    | 'token.issued'
    | 'family.revoked'
    | 'permission.withdrawn';
  readonly userId?: string;
  readonly clientId?: string;
  readonly grantId?: string;
  readonly scopes?: readonly string[];
  readonly ip?: string;
  readonly reason?: string;
}

/** Lifetimes in seconds. */
export interface Lifetimes {
  /** TEP access token, at most 86,400. */
  readonly accessTokenS: number;
  readonly refreshTokenS: number;
  readonly codeS: number;
  /** How long a person may take over the pages. */
  readonly interactionS: number;
  /** How long a browser stays signed in. */
  readonly sessionS: number;
}

export interface IdentityOptions {
  /** Our public URL: origin only, no trailing slash. */
  readonly issuer: string;
  /** The part after the colon of user ids, so that `alice` means `@alice:<serverName>`. */
  readonly serverName: string;
  /** Allows http redirect URIs on loopback hosts that an app registered. */
  readonly dev: boolean;
  readonly keys: SigningKeys;
  /** Secrets that sign cookies and forms, newest first; at least one of at least 32 characters. */
  readonly cookieKeys: readonly string[];
  readonly store: IdentityStore;
  readonly revocations: Revocations;
  readonly buckets: SharedBuckets;
  readonly hasher: SecretHasher;
  readonly clock: Clock;
  /** The person's wallet, made when there is none. Errors: whatever it throws is answered `temporarily_unavailable`. */
  walletIdFor(userId: string): Promise<string>;
  readonly secondFactor?: SecondFactor;
  readonly lifetimes?: Partial<Lifetimes>;
  /** Multiplies every rate limit; 1 is the protocol's table. */
  readonly rateScale?: number;
  readonly onEvent?: (event: IdentityEvent) => void;
  /** Hears of faults of ours; the peer sees `server_error` only. */
  readonly onFault?: (error: unknown) => void;
}

/** A request as the gateway has it. `url` is the path with its query; `body` is whole. */
export interface IdentityRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly remoteAddress: string;
}

export interface IdentityResponse {
  readonly status: number;
  readonly headers: [string, string][];
  readonly body: Buffer;
}

export interface TepRequest {
  readonly userId: string;
  readonly appId: string;
  readonly scopes: readonly string[];
  /** Seconds, 1 to 86,400; the configured life when left out. */
  readonly expiresInS?: number;
  readonly grantId?: string;
}

export interface Identity {
  readonly verifier: TepVerifier;
  /** Answers every path under `/oauth2/`, `/.well-known/`, `/interaction/` and `/assets/`. Never throws. */
  handle(request: IdentityRequest): Promise<IdentityResponse>;
  /** A TEP without a sign-in, for the dev door and `tmcp token`. Errors: `USER_NOT_FOUND`, `APP_NOT_FOUND`, `INVALID_SCOPE`, `INVALID_REQUEST`. */
  mintTep(request: TepRequest): Promise<string>;
  /** The scopes a person's consents give an app now. */
  grants(userId: string, appId: string): Promise<string[]>;
  /**
   * Withdraws permissions (protocol section 9.3): consents, refresh tokens and live tokens of the pair end in one transaction; without an
   * app, of all apps. Idempotent. `revokedAt` is epoch ms.
   */
  revoke(request: {
    readonly userId: string;
    readonly appId?: string;
    readonly scopes?: readonly string[];
    readonly reason: string;
  }): Promise<{ readonly revokedScopes: string[]; readonly revokedAt: number }>;
}
