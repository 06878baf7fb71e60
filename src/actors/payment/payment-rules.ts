/**
 * The data rules of a payment: what its facts mean, how long it waits, what a wallet's answer amounts to. Pure; the machine
 * and its host both ask here, so that a rule stands in one place. Rule numbers: docs/spec/payment.md.
 */
import type { ErrorCode } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { WalletCharge, WalletOutcome, WalletRefusal } from '../ports.ts';
import type { AuthorizeFacts, PaymentContext, PaymentEvent } from './payment-types.ts';

/** Pauses before an unknown outcome is asked about again, in ms; the last one repeats. Short at first: most losses are of one answer. */
export const requeryPausesMs = [1_000, 2_000, 5_000, 10_000, 30_000, 60_000] as const;

/** Ms between looks at a charge whose fate the wallet's own memory can no longer tell; a person is asked meanwhile. */
export const unresolvedPauseMs = 3_600_000;

/**
 * How long after the intent the same charge may be posted again, in ms: half the time for which a wallet must remember an
 * idempotency key. Later a forgotten key would book twice, so from then on the wallet is only asked.
 */
export const repostHorizonMs = 12 * 3_600_000;

/** The pause before query number `queries` + 1, in ms. */
export function requeryPauseMs(queries: number): number {
  return requeryPausesMs[Math.min(queries, requeryPausesMs.length) - 1] ?? requeryPausesMs[0];
}

/** What the facts of an authorization lead to. */
export type Verdict = 'charge' | 'challenge' | 'locked' | 'enrol';

/** No second factor needed, one to be asked for, all of the user's locked, or none enrolled. */
export function verdictOf(facts: AuthorizeFacts | null): Verdict {
  // Nothing gathered: nothing is granted.
  if (facts === null) return 'enrol';
  if (!facts.mfaRequired) return 'charge';
  if (facts.methods.length > 0) return 'challenge';
  return facts.locked ? 'locked' : 'enrol';
}

/** Why an answer to the challenge is not even tried. */
export type AttemptVerdict = 'evaluate' | 'expired' | 'not_offered' | 'exhausted';

/** Whether an attempt at the second factor may be tried: the challenge must be this one and fresh, the method offered, a try left. */
export function attemptVerdict(
  context: PaymentContext,
  event: { readonly at: number; readonly challengeId: string; readonly method: string },
): AttemptVerdict {
  const { challenge } = context;
  if (context.attempts >= limits.challengeAttempts) return 'exhausted';
  if (challenge === null || challenge.id !== event.challengeId || event.at >= challenge.expiresAt) return 'expired';
  return challenge.methods.some(({ type }) => type === event.method) ? 'evaluate' : 'not_offered';
}

/** The code that a late command on a payment that has ended is answered with. */
export function endedCode(status: string, context: PaymentContext): ErrorCode {
  if (status === 'expired') return 'PAYMENT_EXPIRED';
  return status === 'failed' && context.error !== null ? context.error.code : 'INVALID_STATE';
}

/** A wallet's refusal as the code of a failed payment: what the payer may be told at `authorize`. */
export function refusalCode(code: WalletRefusal): ErrorCode {
  // A payer whose account is gone cannot do anything about it, and the wallet's reason is no code of this operation.
  return code === 'USER_NOT_FOUND' ? 'PAYMENT_FAILED' : code;
}

/** What the charge runner answers: a wallet's outcome, or that only a person can tell. */
export type ChargeOutcome = WalletOutcome<WalletCharge> | { readonly kind: 'unresolved'; readonly reason: string };

/**
 * The machine event of a charge's outcome. A charge that is not of this payment, amount and currency proves nothing, so it
 * is unknown; so is anything that does not have the shape of an outcome.
 */
export function walletEvent(context: PaymentContext, outcome: unknown, at: number): Extract<PaymentEvent, { type: `wallet.${string}` }> {
  const { kind, ...rest } = (typeof outcome === 'object' && outcome !== null ? outcome : { kind: '' }) as ChargeOutcome;
  switch (kind) {
    case 'done': {
      const { value } = rest as { readonly value: WalletCharge };
      const ours =
        value.reference === context.paymentId &&
        value.amountMinor === context.amountMinor &&
        value.currency === context.currency &&
        value.status === 'completed' &&
        value.txnId !== '';
      if (!ours) return { type: 'wallet.unknown', at, reason: 'the charge told is not the one asked for' };
      return { type: 'wallet.charged', at, txnId: value.txnId, bookedAt: value.bookedAt };
    }
    case 'refused': {
      const { code, message, details } = rest as Extract<ChargeOutcome, { kind: 'refused' }>;
      return { type: 'wallet.refused', at, code: refusalCode(code), message, details: details ?? null };
    }
    case 'unavailable':
      return { type: 'wallet.unavailable', at, reason: (rest as { readonly reason: string }).reason };
    case 'unresolved':
      return { type: 'wallet.unresolved', at, reason: (rest as { readonly reason: string }).reason };
    case 'unknown':
      return { type: 'wallet.unknown', at, reason: (rest as { readonly reason: string }).reason };
    default:
      return { type: 'wallet.unknown', at, reason: 'no outcome was told' };
  }
}
