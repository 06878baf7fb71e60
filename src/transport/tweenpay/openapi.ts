/**
 * The wallet's contract as an OpenAPI 3.1 document, made from the schemas the client and the sandbox check with.
 * Committed as docs/api/tweenpay.openapi.json; a test holds the file fresh.
 */
import type { TSchema } from '@sinclair/typebox';
import {
  accountSchema,
  chargeRequestSchema,
  chargeSchema,
  ensureAccountSchema,
  ensureMerchantSchema,
  errorSchema,
  healthSchema,
  lookupSchema,
  maxPage,
  merchantSchema,
  policyRequestSchema,
  policySchema,
  refundRequestSchema,
  refundSchema,
  transactionPageSchema,
  walletErrors,
  type WalletErrorCode,
} from './contract.ts';

const schemas = {
  Account: accountSchema,
  Charge: chargeSchema,
  ChargeLookup: lookupSchema,
  ChargeRequest: chargeRequestSchema,
  EnsureAccountRequest: ensureAccountSchema,
  EnsureMerchantRequest: ensureMerchantSchema,
  Error: errorSchema,
  Health: healthSchema,
  Merchant: merchantSchema,
  Policy: policySchema,
  PolicyRequest: policyRequestSchema,
  Refund: refundSchema,
  RefundRequest: refundRequestSchema,
  TransactionPage: transactionPageSchema,
} as const satisfies Record<string, TSchema>;

type SchemaName = keyof typeof schemas;

interface OperationSpec {
  readonly id: string;
  readonly summary: string;
  readonly parameters?: readonly object[];
  readonly request?: SchemaName;
  readonly answers: Readonly<Record<string, SchemaName>>;
  readonly errors: readonly WalletErrorCode[];
  readonly mutation?: boolean;
  readonly open?: boolean;
}

const always: readonly WalletErrorCode[] = ['unauthorized', 'rate_limited', 'internal_error', 'unavailable'];
const whenMutating: readonly WalletErrorCode[] = ['idempotency_key_required', 'idempotency_conflict'];

const inPath = (name: string, description: string) => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string', minLength: 1, maxLength: 255 },
});
const inQuery = (name: string, required: boolean, schema: object) => ({ name, in: 'query', required, schema });
const user = inPath('id', 'user id, percent-encoded');

const paths: Readonly<Record<string, Readonly<Record<string, OperationSpec>>>> = {
  '/healthz': { get: { id: 'health', summary: 'Whether the wallet answers', answers: { 200: 'Health' }, errors: [], open: true } },
  '/v1/users/{id}/account': {
    get: { id: 'account', summary: "A user's account", parameters: [user], answers: { 200: 'Account' }, errors: ['user_not_found'] },
    put: {
      id: 'ensureAccount',
      summary: "Makes a user's account when there is none; the currency is used only then",
      parameters: [user],
      request: 'EnsureAccountRequest',
      answers: { 200: 'Account', 201: 'Account' },
      errors: ['invalid_request'],
      mutation: true,
    },
  },
  '/v1/users/{id}/transactions': {
    get: {
      id: 'transactions',
      summary: "A user's transactions, newest first",
      parameters: [
        user,
        inQuery('limit', false, { type: 'integer', minimum: 1, maximum: maxPage, default: 50 }),
        inQuery('offset', false, { type: 'integer', minimum: 0, default: 0 }),
      ],
      answers: { 200: 'TransactionPage' },
      errors: ['invalid_request', 'user_not_found'],
    },
  },
  '/v1/merchants/{app}/account': {
    put: {
      id: 'ensureMerchant',
      summary: "Makes the account that receives a mini-app's payments when there is none",
      parameters: [inPath('app', 'mini-app id')],
      request: 'EnsureMerchantRequest',
      answers: { 200: 'Merchant', 201: 'Merchant' },
      errors: ['invalid_request'],
      mutation: true,
    },
  },
  '/v1/policy': {
    post: {
      id: 'policy',
      summary: 'Which second factors a payment needs; changes nothing',
      request: 'PolicyRequest',
      answers: { 200: 'Policy' },
      errors: ['invalid_request', 'user_not_found', 'user_suspended', 'user_pending', 'currency_mismatch'],
    },
  },
  '/v1/charges': {
    get: {
      id: 'findCharge',
      summary: "What is known under the caller's reference",
      parameters: [inQuery('reference', true, { type: 'string', minLength: 1, maxLength: 255 })],
      answers: { 200: 'ChargeLookup' },
      errors: ['invalid_request'],
    },
    post: {
      id: 'charge',
      summary: "Moves money from a user to a mini-app, at most once under the caller's reference",
      request: 'ChargeRequest',
      answers: { 201: 'Charge' },
      errors: [
        'invalid_request',
        'insufficient_funds',
        'payment_refused',
        'user_suspended',
        'user_pending',
        'user_not_found',
        'merchant_not_found',
        'duplicate_reference',
        'currency_mismatch',
        'amount_exceeds_limit',
        'daily_limit_exceeded',
      ],
      mutation: true,
    },
  },
  '/v1/charges/{txn}/refunds': {
    post: {
      id: 'refund',
      summary: 'Gives back a part or all of a charge; refunds of a charge never add up to more than it',
      parameters: [inPath('txn', 'txn_id of the charge')],
      request: 'RefundRequest',
      answers: { 201: 'Refund' },
      errors: ['invalid_request', 'charge_not_found', 'duplicate_reference', 'currency_mismatch', 'refund_exceeds_charge'],
      mutation: true,
    },
  },
};

/** The document as plain JSON: the same at every call. */
export function buildTweenPayOpenApi(): Record<string, unknown> {
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'TweenPay wallet',
      version: '1.0.0',
      description:
        'The outside wallet as the TMCP server calls it. Amounts are integer minor units beside an ISO 4217 code. Answers may gain members; requests with unknown members are refused.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:8090', description: 'sandbox' }],
    security: [{ serviceToken: [] }],
    paths: mapValues(paths, (operations) => mapValues(operations, operationOf)),
    components: {
      securitySchemes: { serviceToken: { type: 'http', scheme: 'bearer', description: 'A service token agreed out of band' } },
      parameters: {
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          required: true,
          description: 'The same at every try of one request. Kept at least 24 hours.',
          schema: { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' },
        },
      },
      schemas,
    },
  };
  // Drops what TypeBox keeps under symbols and the members that are undefined.
  return JSON.parse(JSON.stringify(document)) as Record<string, unknown>;
}

function operationOf(spec: OperationSpec): object {
  const key = spec.mutation ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : [];
  const parameters = [...(spec.parameters ?? []), ...key];
  const errors = spec.open ? spec.errors : [...spec.errors, ...(spec.mutation ? whenMutating : []), ...always];
  return {
    operationId: spec.id,
    summary: spec.summary,
    security: spec.open ? [] : undefined,
    parameters: parameters.length === 0 ? undefined : parameters,
    requestBody: spec.request === undefined ? undefined : { required: true, content: json(spec.request) },
    responses: {
      ...mapValues(spec.answers, (name, status) => ({ description: status === '201' ? 'Took effect' : 'OK', content: json(name) })),
      ...errorsByStatus(errors),
    },
  };
}

function errorsByStatus(codes: readonly WalletErrorCode[]): Record<string, object> {
  const byStatus: Record<string, WalletErrorCode[]> = {};
  for (const code of codes) {
    const status = String(walletErrors[code].status);
    byStatus[status] = [...(byStatus[status] ?? []), code];
  }
  return mapValues(byStatus, (list) => ({
    description: list.map((code) => `\`${code}\`: ${walletErrors[code].message}.`).join(' '),
    content: json('Error'),
  }));
}

function json(name: SchemaName): object {
  return { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } };
}

function mapValues<T, R>(record: Readonly<Record<string, T>>, map: (value: T, key: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value, key)]));
}
