/** The data of a payment's machine: its input, context and events. All of it is plain JSON; amounts are minor units, instants epoch ms. */
import type { ErrorCode } from '../../protocol/errors.ts';

/** Wire states, with the three phases of `processing`. */
export type PaymentState =
  | 'pending_authorization'
  | 'mfa_required'
  | 'processing.charging'
  | 'processing.settling'
  | 'processing.unknown'
  | 'processing.unresolved'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'expired';

/** What a payment is asked for with: fixed from then on. */
export interface PaymentInput {
  readonly paymentId: string;
  readonly payerUserId: string;
  readonly payerWalletId: string;
  readonly appId: string;
  readonly merchantName: string;
  readonly merchantWalletId: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly description: string;
  readonly merchantOrderId: string;
  readonly items: readonly { readonly itemId: string; readonly name: string; readonly quantity: number; readonly unitPriceMinor: number }[];
  readonly callbackUrl: string | null;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  /** Of the request, so that the key's second use can be told from another request after the first answer is forgotten. */
  readonly inputHash: string | null;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** A second factor as it is offered. */
export interface OfferedMethod {
  readonly type: string;
  readonly displayName: string;
}

export interface Challenge {
  readonly id: string;
  readonly methods: readonly OfferedMethod[];
  readonly expiresAt: number;
}

export interface PaymentContext extends PaymentInput {
  readonly challenge: Challenge | null;
  /** Tries at the second factor that were charged, over all challenges of this payment. */
  readonly attempts: number;
  /** The challenge whose proof led to the charge. */
  readonly passedChallengeId: string | null;
  /** The device whose signature authorized it, newest first authorization wins. */
  readonly deviceId: string | null;
  /** When the wallet was first meant to be called. */
  readonly intentAt: number | null;
  /** How often the outcome was not known. */
  readonly queries: number;
  readonly txnId: string | null;
  readonly completedAt: number | null;
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly details: Readonly<Record<string, unknown>> | null } | null;
}

/** What is gathered before an authorization is decided. */
export interface AuthorizeFacts {
  readonly mfaRequired: boolean;
  /** Factors that the user has, that are not locked, and that the wallet takes. */
  readonly methods: readonly OfferedMethod[];
  /** Some factor would do but is locked; `lockedUntil` is null when no time unlocks it. */
  readonly locked: boolean;
  readonly lockedUntil: number | null;
  /** Id for the challenge, should one be needed. */
  readonly challengeId: string;
}

/** The evidence of an authorization, kept in the history. */
export interface SignatureEvidence {
  readonly timestamp: string;
  readonly signature: string;
}

export type PaymentEvent =
  /** `facts` and `evidence` are null when the state makes them needless (nothing is decided any more). */
  | {
      readonly type: 'payment.authorize';
      readonly at: number;
      readonly deviceId: string;
      readonly facts: AuthorizeFacts | null;
      readonly evidence: SignatureEvidence | null;
    }
  | { readonly type: 'payment.cancel'; readonly at: number; readonly reason: string | null }
  | { readonly type: 'mfa.attempt'; readonly at: number; readonly challengeId: string; readonly method: string }
  | { readonly type: 'mfa.passed'; readonly at: number; readonly challengeId: string; readonly method: string }
  /** The factor did not match, or (`locked`) is locked by now. `lockedUntil` null with `locked`: no time unlocks it. */
  | {
      readonly type: 'mfa.failed';
      readonly at: number;
      readonly challengeId: string;
      readonly locked: boolean;
      readonly lockedUntil: number | null;
    }
  | { readonly type: 'wallet.charged'; readonly at: number; readonly txnId: string; readonly bookedAt: number }
  | {
      readonly type: 'wallet.refused';
      readonly at: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly details: Readonly<Record<string, unknown>> | null;
    }
  | { readonly type: 'wallet.unknown'; readonly at: number; readonly reason: string }
  | { readonly type: 'wallet.unavailable'; readonly at: number; readonly reason: string }
  | { readonly type: 'wallet.unresolved'; readonly at: number; readonly reason: string };

/** Every event a payment can get from outside, by name. */
export const paymentEventTypes = [
  'payment.authorize',
  'payment.cancel',
  'mfa.attempt',
  'mfa.passed',
  'mfa.failed',
  'wallet.charged',
  'wallet.refused',
  'wallet.unknown',
  'wallet.unavailable',
  'wallet.unresolved',
] as const satisfies readonly PaymentEvent['type'][];
