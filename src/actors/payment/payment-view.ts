/** How a payment looks from outside: its view, its challenge, its refusals and its event. Pure. Protocol sections 14 and 15. */
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { toMajor } from '../../protocol/money.ts';
import type { PaymentViewValue } from '../../protocol/operations/payment.ts';
import { toIso } from '../../protocol/schemas.ts';
import { endedCode } from './payment-rules.ts';
import type { PaymentContext } from './payment-types.ts';

/** The wire status of a state: the phases of `processing` are nobody else's business. */
export function statusOf(state: string): PaymentViewValue['status'] {
  const dot = state.indexOf('.');
  return (dot === -1 ? state : state.slice(0, dot)) as PaymentViewValue['status'];
}

/** The payment as every operation shows it. Amounts are major units, instants RFC 3339. */
export function viewOf(state: string, context: PaymentContext): PaymentViewValue {
  const status = statusOf(state);
  const open = status === 'pending_authorization' || status === 'mfa_required';
  return {
    payment_id: context.paymentId,
    status,
    amount: toMajor(context.amountMinor, context.currency),
    currency: context.currency,
    description: context.description,
    merchant_order_id: context.merchantOrderId,
    merchant: { miniapp_id: context.appId, name: context.merchantName, wallet_id: context.merchantWalletId },
    payer: { user_id: context.payerUserId, wallet_id: context.payerWalletId },
    ...(context.txnId === null ? {} : { txn_id: context.txnId }),
    authorization_required: open,
    ...(context.error === null ? {} : { error: { code: context.error.code, message: context.error.message } }),
    created_at: toIso(context.createdAt),
    expires_at: toIso(context.expiresAt),
    ...(context.completedAt === null ? {} : { completed_at: toIso(context.completedAt) }),
  };
}

/** What the payer's sessions of the app are told about a payment. */
export function updateOf(state: string, context: PaymentContext): Readonly<Record<string, unknown>> {
  return {
    payment_id: context.paymentId,
    status: statusOf(state),
    amount: toMajor(context.amountMinor, context.currency),
    currency: context.currency,
    ...(context.txnId === null ? {} : { txn_id: context.txnId }),
  };
}

/** The `MFA_REQUIRED` refusal that carries the present challenge. */
export function challengeError(context: PaymentContext): TmcpError {
  const { challenge } = context;
  if (challenge === null) throw new Error('there is no challenge to show');
  return new TmcpError('MFA_REQUIRED', undefined, {
    details: {
      payment_id: context.paymentId,
      status: 'mfa_required',
      mfa_challenge: {
        challenge_id: challenge.id,
        methods: challenge.methods.map(({ type, displayName }) => ({ type, enabled: true, display_name: displayName })),
        required_method: 'any',
        expires_at: toIso(challenge.expiresAt),
        max_attempts: limits.challengeAttempts,
      },
    },
  });
}

/** A refusal of the machine as an error. `lockedUntil`: null when no time unlocks it. */
export function rejectionError(
  params: { readonly code: TmcpError['code']; readonly details?: Readonly<Record<string, unknown>>; readonly lockedUntil?: number | null },
  state: string,
  context: PaymentContext,
  now: number,
): TmcpError {
  const { code, lockedUntil } = params;
  if (code === 'MFA_LOCKED')
    return lockedError(lockedUntil === undefined ? context.expiresAt : lockedUntil, now, {
      payment_id: context.paymentId,
      status: statusOf(state),
    });
  const failed = statusOf(state) === 'failed' && context.error !== null && context.error.code === code;
  return new TmcpError(code, failed ? context.error?.message : undefined, {
    details: { payment_id: context.paymentId, status: statusOf(state), ...(failed ? context.error?.details : {}), ...params.details },
  });
}

/** The answer to someone who waited for the wallet: undefined when it is a success, possibly still `processing`. */
export function waitedError(state: string, context: PaymentContext, now: number): TmcpError | undefined {
  const status = statusOf(state);
  if (status === 'completed' || status === 'processing') return undefined;
  return rejectionError({ code: endedCode(status, context) }, state, context, now);
}

function lockedError(until: number | null, now: number, details: Readonly<Record<string, unknown>>): TmcpError {
  if (until === null) return new TmcpError('MFA_LOCKED', undefined, { details: { ...details, permanent: true } });
  return new TmcpError('MFA_LOCKED', undefined, {
    details: { ...details, locked_until: toIso(until) },
    retryAfter: Math.max(1, Math.ceil((until - now) / 1_000)),
  });
}
