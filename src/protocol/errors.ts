/**
 * The one table of TMCP error codes, and the error every refusal is made of.
 * Both bindings, the OpenAPI document and the SDK read this table; adding a row is the only way to add a code.
 * Imports nothing and does no I/O: it ships inside the SDK.
 */

/** What a code means on the wire. `status` is the HTTP status; the live binding answers `-32000 - status`. */
interface ErrorRow {
  readonly status: number;
  /** Whether the same request may succeed later without being changed. */
  readonly retryable: boolean;
  readonly message: string;
}

const table = {
  INVALID_REQUEST: { status: 400, retryable: false, message: 'The request is not well formed' },
  INVALID_TOKEN: { status: 401, retryable: false, message: 'The access token is missing, invalid, expired or revoked' },
  INSUFFICIENT_PERMISSIONS: { status: 403, retryable: false, message: 'The token lacks the scope this operation needs' },
  FORBIDDEN: { status: 403, retryable: false, message: 'This is not allowed' },
  ACCOUNT_SUSPENDED: { status: 403, retryable: false, message: 'The account is suspended' },
  USER_SUSPENDED: { status: 403, retryable: false, message: 'The user is suspended' },
  CONSENT_REQUIRED: { status: 403, retryable: false, message: 'The user has not consented to this' },
  INVALID_SCOPE: { status: 400, retryable: false, message: 'A requested scope is unknown or not registered' },
  RATE_LIMIT_EXCEEDED: { status: 429, retryable: true, message: 'Too many requests; try again later' },
  TOO_MANY_IN_FLIGHT: { status: 429, retryable: true, message: 'Too many requests of this session are running' },
  NOT_FOUND: { status: 404, retryable: false, message: 'Not found' },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false, message: 'The path exists, the method does not' },
  PAYLOAD_TOO_LARGE: { status: 413, retryable: false, message: 'The body is larger than this operation takes' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false, message: 'The content type is not one this operation takes' },
  INTERNAL_ERROR: { status: 500, retryable: true, message: 'Something went wrong on our side' },
  SERVICE_UNAVAILABLE: { status: 503, retryable: true, message: 'The service cannot do this right now' },
  CONFLICT: { status: 409, retryable: false, message: 'The request conflicts with what is there' },
  INVALID_STATE: { status: 409, retryable: false, message: 'The object is in a state that does not allow this' },
  DUPLICATE_TRANSACTION: { status: 409, retryable: false, message: 'The idempotency key was used with another request' },
  INVALID_AMOUNT: { status: 400, retryable: false, message: 'The amount is not valid for its currency' },
  INVALID_CURRENCY: { status: 400, retryable: false, message: 'The currency is not known' },
  CURRENCY_MISMATCH: { status: 400, retryable: false, message: 'The wallet has another currency' },
  AMOUNT_EXCEEDS_LIMIT: { status: 400, retryable: false, message: 'The amount is over the limit' },
  DAILY_LIMIT_EXCEEDED: { status: 429, retryable: false, message: 'The daily limit is used up' },
  INSUFFICIENT_FUNDS: { status: 402, retryable: false, message: 'The wallet does not hold enough' },
  MINIAPP_NOT_FOUND: { status: 404, retryable: false, message: 'No such mini-app' },
  APP_NOT_FOUND: { status: 404, retryable: false, message: 'No such app' },
  USER_NOT_FOUND: { status: 404, retryable: false, message: 'No such user' },
  PAYMENT_NOT_FOUND: { status: 404, retryable: false, message: 'No such payment' },
  PAYMENT_EXPIRED: { status: 400, retryable: false, message: 'The payment has expired' },
  PAYMENT_FAILED: { status: 400, retryable: true, message: 'The payment failed' },
  INVALID_SIGNATURE: { status: 401, retryable: false, message: 'The signature is not valid' },
  DEVICE_NOT_REGISTERED: { status: 400, retryable: false, message: 'The device is not registered' },
  DEVICE_NOT_FOUND: { status: 404, retryable: false, message: 'No such device' },
  MFA_REQUIRED: { status: 402, retryable: false, message: 'A second factor is required' },
  MFA_LOCKED: { status: 429, retryable: false, message: 'Too many failed attempts; the factor is locked' },
  INVALID_MFA_CREDENTIALS: { status: 401, retryable: true, message: 'The credentials do not match' },
  MFA_CHALLENGE_EXPIRED: { status: 400, retryable: false, message: 'The challenge has expired or is not known' },
  WEAK_PIN: { status: 400, retryable: false, message: 'The PIN is too easy to guess' },
  KEY_NOT_FOUND: { status: 404, retryable: false, message: 'No such key' },
  STORAGE_QUOTA_EXCEEDED: { status: 413, retryable: false, message: 'The storage quota is used up' },
} as const satisfies Record<string, ErrorRow>;

/** Every code a TMCP answer can carry. */
export type ErrorCode = keyof typeof table;

/** The rows by code, for documents and clients. */
export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = table;

/** JSON-RPC codes that do not come from a TMCP code. */
export const rpcCodes = { undecodable: -32700, notARequest: -32600, unknownMethod: -32601, badParams: -32602, internal: -32603 } as const;

/** The JSON-RPC code of a TMCP code (live binding, section 2). */
export function rpcCodeOf(code: ErrorCode): number {
  if (code === 'INVALID_REQUEST') return rpcCodes.badParams;
  if (code === 'INTERNAL_ERROR') return rpcCodes.internal;
  return -32000 - table[code].status;
}

/** One thing wrong with an input. `path` is a JSON pointer into it. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

/** What may stand beside the code of a refusal. */
export interface ErrorExtras {
  /** Members for the peer; never internals. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Seconds after which a retry makes sense. */
  readonly retryAfter?: number;
  readonly cause?: unknown;
}

/**
 * A refusal: the peer gets its code. Anything thrown that is not one of these is a fault of ours and is answered
 * `INTERNAL_ERROR` with a request id and nothing else.
 */
export class TmcpError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: ErrorCode, message?: string, extras: ErrorExtras = {}) {
    super(message ?? table[code].message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = 'TmcpError';
    this.code = code;
    this.details = extras.details;
    this.retryAfter = extras.retryAfter;
  }

  get status(): number {
    return table[this.code].status;
  }

  get retryable(): boolean {
    return table[this.code].retryable;
  }
}

/** An `INVALID_REQUEST` that says what is wrong with the input. */
export function invalidRequest(issues: readonly Issue[]): TmcpError {
  const first = issues[0];
  const message = first === undefined ? undefined : `${first.path === '' ? 'params' : first.path}: ${first.message}`;
  return new TmcpError('INVALID_REQUEST', message, { details: { issues } });
}

/** Any thrown value as a refusal; a fault of ours becomes `INTERNAL_ERROR` with the fault as its cause. */
export function asTmcpError(thrown: unknown): TmcpError {
  return thrown instanceof TmcpError ? thrown : new TmcpError('INTERNAL_ERROR', undefined, { cause: thrown });
}
