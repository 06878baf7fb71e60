/**
 * The wallet's REST contract as schemas: what we send, what we accept, and its error codes. The client's validators, the
 * sandbox's request checks and the OpenAPI document are all made from this file. No I/O. Written down in docs/tweenpay.md.
 */
import { Type, type Static, type TSchema } from '@sinclair/typebox';
import type { WalletRefusal } from '../../actors/ports.ts';

/** Bytes of an answer the client reads before it gives up on it. */
export const maxAnswerBytes = 1024 * 1024;
/** Bytes of a request body the wallet takes. */
export const maxRequestBytes = 64 * 1024;
/** The largest page of `GET …/transactions`. */
export const maxPage = 100;
/** Visible ASCII, so that the key can stand in a header. */
export const idempotencyKeyPattern = /^[\x21-\x7e]{1,255}$/;

const id = (description: string) => Type.String({ minLength: 1, maxLength: 255, description });
const currency = Type.String({ pattern: '^[A-Z]{3}$', description: 'ISO 4217 code' });
const instant = Type.String({
  pattern: '^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,3})?Z$',
  description: 'RFC 3339, UTC',
});
const minor = (minimum: number, description: string) => Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, description });
const reference = id("the caller's own id of the payment, unique among booked charges");

/** Requests are closed: an unknown member is refused, so that a misspelt one is never ignored. */
const request = <T extends Record<string, TSchema>>(members: T) => Type.Object(members, { additionalProperties: false });
/** Answers are open: the wallet may add members that an older client does not read. */
const answer = <T extends Record<string, TSchema>>(members: T) => Type.Object(members);

export const ensureAccountSchema = request({ currency });
export const ensureMerchantSchema = request({ name: Type.String({ minLength: 1, maxLength: 200 }) });
export const policyRequestSchema = request({
  user_id: id('the payer'),
  reference,
  amount_minor: minor(1, 'what would be charged'),
  currency,
});
export const chargeRequestSchema = request({
  reference,
  payer_user_id: id('whose wallet pays'),
  merchant_app_id: id('whose wallet receives'),
  amount_minor: minor(1, 'minor units'),
  currency,
  description: Type.String({ maxLength: 500 }),
});
export const refundRequestSchema = request({
  reference: id("the caller's own id of the refund, unique among booked refunds"),
  amount_minor: minor(1, 'minor units, at most what is left of the charge'),
  currency,
  reason: Type.Optional(Type.String({ maxLength: 500 })),
});

export const accountSchema = answer({
  wallet_id: id('opaque'),
  user_id: id('the owner'),
  currency,
  available_minor: minor(0, 'may be spent now'),
  pending_minor: minor(0, 'on its way in'),
  daily_limit_minor: minor(0, 'most that may be spent in a UTC day'),
  daily_used_minor: minor(0, 'spent in the present UTC day'),
  transaction_limit_minor: minor(0, 'most that one charge may take'),
  status: Type.Union([Type.Literal('active'), Type.Literal('pending'), Type.Literal('suspended')]),
});
export const merchantSchema = answer({ wallet_id: id('opaque'), merchant_app_id: id('the mini-app') });
export const transactionSchema = answer({
  txn_id: id('opaque'),
  type: Type.String({ minLength: 1, maxLength: 64, description: 'payment, refund or adjustment; more may come' }),
  amount_minor: minor(0, 'never negative; the type says the direction'),
  currency,
  from: Type.Optional(answer({ user_id: id('who paid') })),
  to: Type.Optional(answer({ user_id: id('who received') })),
  status: Type.String({ minLength: 1, maxLength: 64 }),
  note: Type.Optional(Type.String({ maxLength: 500 })),
  timestamp: instant,
});
export const transactionPageSchema = answer({
  transactions: Type.Array(transactionSchema, { maxItems: maxPage, description: 'newest first' }),
  total: minor(0, 'of all pages'),
});
export const policySchema = answer({
  reference,
  mfa_required: Type.Boolean(),
  methods: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
    maxItems: 16,
    description: 'accepted second factors; empty when none is required',
  }),
});
export const chargeSchema = answer({
  txn_id: id('opaque'),
  reference,
  status: Type.Literal('completed'),
  amount_minor: minor(1, 'minor units'),
  currency,
  payer_user_id: id('whose wallet paid'),
  payer_wallet_id: id('opaque'),
  merchant_app_id: id('whose wallet received'),
  merchant_wallet_id: id('opaque'),
  booked_at: instant,
});
export const refundSchema = answer({
  refund_id: id('opaque'),
  txn_id: id('the charge'),
  reference: id('of the refund'),
  status: Type.Literal('completed'),
  amount_minor: minor(1, 'minor units'),
  currency,
  refunded_total_minor: minor(1, 'of this charge so far'),
  refundable_minor: minor(0, 'left of this charge'),
  booked_at: instant,
});
export const errorSchema = answer({
  error: answer({
    code: Type.String({ minLength: 1, maxLength: 64 }),
    message: Type.String({ maxLength: 1_000 }),
    details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  }),
});
/** What the wallet knows under a reference. `in_progress`: a request with it is inside the wallet and may still book. */
export const lookupSchema = Type.Union([
  answer({ reference, state: Type.Literal('none') }),
  answer({ reference, state: Type.Literal('in_progress') }),
  answer({ reference, state: Type.Literal('booked'), charge: chargeSchema }),
  answer({
    reference,
    state: Type.Literal('refused'),
    refusal: answer({ code: Type.String({ minLength: 1, maxLength: 64 }), message: Type.String({ maxLength: 1_000 }) }),
  }),
]);
export const healthSchema = answer({ status: Type.Literal('ok') });

export type AccountAnswer = Static<typeof accountSchema>;
export type MerchantAnswer = Static<typeof merchantSchema>;
export type TransactionAnswer = Static<typeof transactionSchema>;
export type TransactionPageAnswer = Static<typeof transactionPageSchema>;
export type PolicyAnswer = Static<typeof policySchema>;
export type ChargeAnswer = Static<typeof chargeSchema>;
export type RefundAnswer = Static<typeof refundSchema>;
export type LookupAnswer = Static<typeof lookupSchema>;
export type ChargeBody = Static<typeof chargeRequestSchema>;
export type RefundBody = Static<typeof refundRequestSchema>;
export type PolicyBody = Static<typeof policyRequestSchema>;

interface WalletErrorRow {
  readonly status: number;
  /** What it means to the payer; null when it says nothing about whether this payment can take effect. */
  readonly refusal: WalletRefusal | null;
  readonly message: string;
}

const errors = {
  invalid_request: { status: 400, refusal: 'PAYMENT_FAILED', message: 'The request does not fit its schema' },
  idempotency_key_required: {
    status: 400,
    refusal: 'PAYMENT_FAILED',
    message: 'A mutation needs an Idempotency-Key header of 1 to 255 visible ASCII characters',
  },
  unauthorized: { status: 401, refusal: null, message: 'The service token is missing or wrong' },
  insufficient_funds: { status: 402, refusal: 'INSUFFICIENT_FUNDS', message: 'The wallet does not hold enough' },
  payment_refused: { status: 402, refusal: 'PAYMENT_FAILED', message: 'The wallet refuses this payment' },
  forbidden: { status: 403, refusal: null, message: 'This caller may not do this' },
  user_suspended: { status: 403, refusal: 'USER_SUSPENDED', message: 'The account is suspended' },
  user_pending: { status: 403, refusal: 'PAYMENT_FAILED', message: 'The account is not activated yet' },
  not_found: { status: 404, refusal: null, message: 'No such resource' },
  user_not_found: { status: 404, refusal: 'USER_NOT_FOUND', message: 'The user has no account' },
  merchant_not_found: { status: 404, refusal: 'PAYMENT_FAILED', message: 'The mini-app has no account' },
  charge_not_found: { status: 404, refusal: 'PAYMENT_FAILED', message: 'No such charge' },
  idempotency_conflict: { status: 409, refusal: null, message: 'The idempotency key was used with another request' },
  duplicate_reference: { status: 409, refusal: null, message: 'Something is already booked under this reference' },
  payload_too_large: { status: 413, refusal: 'PAYMENT_FAILED', message: 'The body is too large' },
  currency_mismatch: { status: 422, refusal: 'CURRENCY_MISMATCH', message: 'The account has another currency' },
  amount_exceeds_limit: { status: 422, refusal: 'AMOUNT_EXCEEDS_LIMIT', message: 'The amount is over the limit of one transaction' },
  daily_limit_exceeded: { status: 422, refusal: 'DAILY_LIMIT_EXCEEDED', message: 'The daily limit is used up' },
  refund_exceeds_charge: { status: 422, refusal: 'PAYMENT_FAILED', message: 'More than is left of the charge' },
  rate_limited: { status: 429, refusal: null, message: 'Too many requests; see Retry-After' },
  internal_error: { status: 500, refusal: null, message: 'The wallet failed; a mutation may or may not be booked' },
  unavailable: { status: 503, refusal: null, message: 'The wallet cannot do this right now' },
} as const satisfies Record<string, WalletErrorRow>;

/** Every error code of the wallet's contract. */
export type WalletErrorCode = keyof typeof errors;

/** The rows by code: for the classifier, the sandbox and the documents. Adding a row is the only way to add a code. */
export const walletErrors: Readonly<Record<WalletErrorCode, WalletErrorRow>> = errors;

/** Whether `code` is one of the contract's. */
export function isWalletErrorCode(code: string): code is WalletErrorCode {
  return Object.hasOwn(errors, code);
}
