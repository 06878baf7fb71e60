/** The data of a user's machine: context and events, plain JSON. Instants are epoch ms. No secret stands here in clear. */

export const methods = ['transaction_pin', 'totp'] as const;
/** Second factors a user can enrol. */
export type Method = (typeof methods)[number];

export type FactorState = 'absent' | 'ready' | 'locked' | 'blocked';

/** A proof that was given for a challenge: the challenge's owner may ask again, the factor is not tried again. */
export interface Proof {
  readonly challengeId: string;
  readonly at: number;
}

/** One second factor and its counters. Tries are numbered when they are charged; a try counts as failed until it has passed. */
export interface Factor {
  /** PIN: its argon2id hash. TOTP: the secret, encrypted with the user's key, base64. Null when not enrolled. */
  readonly sealed: string | null;
  readonly enrolledAt: number | null;
  /** Number of the newest try that was charged. */
  readonly tries: number;
  /** Failures since the last success, or since the last lock ran out. */
  readonly inRow: number;
  /** Failures since the last success. */
  readonly total: number;
  /** Locks since the last success: each is twice as long as the one before. */
  readonly locks: number;
  readonly lockedUntil: number | null;
  /** The last time step whose code was taken (TOTP). */
  readonly lastStep: number | null;
  readonly lastFailedAt: number | null;
  readonly proofs: readonly Proof[];
}

export interface Device {
  readonly deviceId: string;
  readonly name: string;
  readonly platform: string;
  readonly algorithm: string;
  /** SPKI, DER, base64. */
  readonly key: string;
  readonly keyHash: string;
  readonly status: 'active' | 'revoked';
  readonly registeredAt: number;
  readonly revokedAt: number | null;
}

export interface UserContext {
  readonly userId: string;
  /** In the order of registration. A list, not a map: the ids are the clients' own. */
  readonly devices: readonly Device[];
  readonly factors: Readonly<Record<Method, Factor>>;
  readonly lastRevocationAt: number | null;
}

export type UserEvent =
  /** A try, charged before it is looked at. */
  | { readonly type: 'mfa.charge'; readonly at: number; readonly method: Method }
  | {
      readonly type: 'mfa.passed';
      readonly at: number;
      readonly method: Method;
      readonly try: number;
      readonly step: number | null;
      readonly challengeId: string | null;
    }
  | { readonly type: 'mfa.failed'; readonly at: number; readonly method: Method; readonly try: number }
  | { readonly type: 'mfa.enrolled'; readonly at: number; readonly method: Method; readonly sealed: string }
  | ({ readonly type: 'device.registered'; readonly at: number } & Pick<
      Device,
      'deviceId' | 'name' | 'platform' | 'algorithm' | 'key' | 'keyHash'
    >)
  | { readonly type: 'device.revoked'; readonly at: number; readonly deviceId: string }
  | {
      readonly type: 'access.revoked';
      readonly at: number;
      readonly appId: string;
      readonly scopes: readonly string[];
      readonly reason: string;
    };

/** Every event a user's machine can get, by name. */
export const userEventTypes = [
  'mfa.charge',
  'mfa.passed',
  'mfa.failed',
  'mfa.enrolled',
  'device.registered',
  'device.revoked',
  'access.revoked',
] as const satisfies readonly UserEvent['type'][];
