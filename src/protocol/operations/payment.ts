/** Mini-app payments: request, signed authorization, second factor, look-up, cancel. Protocol sections 14 and 15. */
import { type Static, Type } from '@sinclair/typebox';
import { defineOperation, IdempotencyKey, strictObject } from '../operation.ts';
import { ChallengeId, Currency, DeviceId, Iso, MoneyIn, MoneyOut, PaymentId } from '../schemas.ts';

const payment = (input: { readonly payment_id: string }): string => `payment:${input.payment_id}`;

export const PaymentStatus = Type.Union(
  [
    'pending_authorization',
    'mfa_required',
    'authorized',
    'processing',
    'completed',
    'failed',
    'cancelled',
    'expired',
    'partially_refunded',
    'refunded',
  ].map((name) => Type.Literal(name)),
);

/** A payment as the wire shows it. */
export const PaymentView = Type.Object({
  payment_id: Type.String(),
  status: PaymentStatus,
  amount: MoneyOut,
  currency: Type.String(),
  description: Type.Optional(Type.String()),
  merchant_order_id: Type.Optional(Type.String()),
  merchant: Type.Object({ miniapp_id: Type.String(), name: Type.Optional(Type.String()), wallet_id: Type.Optional(Type.String()) }),
  payer: Type.Optional(Type.Object({ user_id: Type.String(), wallet_id: Type.String() })),
  txn_id: Type.Optional(Type.String()),
  authorization_required: Type.Optional(Type.Boolean()),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() })),
  created_at: Iso,
  expires_at: Type.Optional(Iso),
  completed_at: Type.Optional(Iso),
});
export type PaymentViewValue = Static<typeof PaymentView>;

const Item = strictObject({
  item_id: Type.String({ minLength: 1, maxLength: 100 }),
  name: Type.String({ minLength: 1, maxLength: 200 }),
  quantity: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
  unit_price: MoneyIn,
});

export const pay = defineOperation({
  name: 'tween.wallet.pay',
  summary: 'Asks the user for a payment to the app; it stays pending until the user signs it',
  http: { method: 'POST', path: '/api/v1/payments/request', status: 201 },
  scopes: ['wallet:pay'],
  limit: 'payment_initiation',
  access: 'write',
  idempotency: 'required',
  input: strictObject({
    amount: MoneyIn,
    currency: Currency,
    description: Type.String({ minLength: 1, maxLength: 500 }),
    merchant_order_id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,100}$' }),
    items: Type.Optional(Type.Array(Item, { maxItems: 100 })),
    callback_url: Type.Optional(Type.String({ maxLength: 2048, pattern: '^https://[^\\s]+$' })),
    metadata: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), { maxProperties: 64 })),
    idempotency_key: IdempotencyKey,
  }),
  output: PaymentView,
  errors: [
    'INVALID_AMOUNT',
    'INVALID_CURRENCY',
    'AMOUNT_EXCEEDS_LIMIT',
    'CURRENCY_MISMATCH',
    'MINIAPP_NOT_FOUND',
    'DUPLICATE_TRANSACTION',
    'USER_SUSPENDED',
  ],
  check: (input) =>
    input.metadata !== undefined && JSON.stringify(input.metadata).length > 4096
      ? [{ path: '/metadata', message: 'is larger than 4096 bytes' }]
      : [],
  // The key names the payment: the same key of the same user and app always reaches the same actor, whichever node asks. It begins with the payer's shard, so that it lives beside the payer.
  // Not a secret: every look-up checks the payer.
  actor: (input, who, { digest, shard }) => `payment:pay_${shard(who.userId)}${digest([who.userId, who.appId, input.idempotency_key])}`,
});

export const getPayment = defineOperation({
  name: 'tween.payment.get',
  summary: 'A payment of the signed-in user with this app',
  http: { method: 'GET', path: '/api/v1/payments/{payment_id}' },
  scopes: ['wallet:pay'],
  input: strictObject({ payment_id: PaymentId }),
  output: PaymentView,
  errors: ['PAYMENT_NOT_FOUND'],
  actor: payment,
});

export const authorizePayment = defineOperation({
  name: 'tween.payment.authorize',
  summary: "Authorizes a payment with the signature of one of the payer's devices over `{payment_id}:{amount}:{currency}:{timestamp}`",
  http: { method: 'POST', path: '/api/v1/payments/{payment_id}/authorize' },
  scopes: ['wallet:pay'],
  limit: 'payment_authorization',
  access: 'write',
  idempotency: 'optional',
  input: strictObject({
    payment_id: PaymentId,
    signature: Type.String({
      minLength: 8,
      maxLength: 2048,
      pattern: '^[A-Za-z0-9+/_-]+={0,2}$',
      description: 'ES256 (DER or raw) or RS256, base64',
    }),
    device_id: DeviceId,
    timestamp: Iso,
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: PaymentView,
  errors: [
    'MFA_REQUIRED',
    'INSUFFICIENT_FUNDS',
    'INVALID_SIGNATURE',
    'DEVICE_NOT_REGISTERED',
    'PAYMENT_EXPIRED',
    'PAYMENT_FAILED',
    'PAYMENT_NOT_FOUND',
    'INVALID_STATE',
    'FORBIDDEN',
    'MFA_LOCKED',
    'AMOUNT_EXCEEDS_LIMIT',
    'DAILY_LIMIT_EXCEEDED',
    'CURRENCY_MISMATCH',
    'USER_SUSPENDED',
    'DUPLICATE_TRANSACTION',
  ],
  actor: payment,
});

export const verifyMfa = defineOperation({
  name: 'tween.payment.verifyMfa',
  summary: 'Answers the second-factor challenge of a payment and, when right, proceeds to the charge',
  http: { method: 'POST', path: '/api/v1/payments/{payment_id}/mfa/verify' },
  scopes: ['wallet:pay'],
  limit: 'general',
  access: 'write',
  idempotency: 'optional',
  input: strictObject({
    payment_id: PaymentId,
    challenge_id: ChallengeId,
    method: Type.Union([Type.Literal('transaction_pin'), Type.Literal('totp')]),
    credentials: Type.Union([
      strictObject({ pin: Type.String({ pattern: '^([0-9]{4,12}|[0-9a-f]{64})$' }) }),
      strictObject({ code: Type.String({ pattern: '^[0-9]{6}$' }) }),
    ]),
    device_id: Type.Optional(DeviceId),
    timestamp: Type.Optional(Iso),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: Type.Object({
    payment_id: Type.String(),
    challenge_id: Type.String(),
    status: Type.Literal('verified'),
    proceed_to_processing: Type.Boolean(),
    payment_status: PaymentStatus,
    payment: PaymentView,
  }),
  errors: [
    'INVALID_MFA_CREDENTIALS',
    'MFA_LOCKED',
    'MFA_CHALLENGE_EXPIRED',
    'PAYMENT_NOT_FOUND',
    'PAYMENT_EXPIRED',
    'PAYMENT_FAILED',
    'INSUFFICIENT_FUNDS',
    'INVALID_STATE',
    'AMOUNT_EXCEEDS_LIMIT',
    'DAILY_LIMIT_EXCEEDED',
    'CURRENCY_MISMATCH',
    'USER_SUSPENDED',
    'DUPLICATE_TRANSACTION',
  ],
  check: (input) =>
    (input.method === 'totp') === 'code' in input.credentials
      ? []
      : [{ path: '/credentials', message: `does not fit the method ${input.method}` }],
  actor: payment,
});

export const cancelPayment = defineOperation({
  name: 'tween.payment.cancel',
  summary: 'Cancels a payment that is not being processed yet',
  http: { method: 'POST', path: '/api/v1/payments/{payment_id}/cancel' },
  scopes: ['wallet:pay'],
  access: 'write',
  idempotency: 'optional',
  input: strictObject({
    payment_id: PaymentId,
    reason: Type.Optional(Type.String({ maxLength: 200 })),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: PaymentView,
  errors: ['PAYMENT_NOT_FOUND', 'INVALID_STATE'],
  actor: payment,
});

export const paymentOperations = [pay, getPayment, authorizePayment, verifyMfa, cancelPayment] as const;
