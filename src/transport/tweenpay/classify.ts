/**
 * What a wallet call's answer, or its absence, means. Pure and total: every exchange has exactly one outcome, and `done`
 * is given only to an answer that fits its schema and this very request. Protocol section 18. Performs no I/O.
 *
 * The rule behind the table: a mutation whose bytes may have reached the wallet, and whose answer does not say plainly
 * what happened, is `unknown`. Only a call that certainly was not sent, or that the wallet plainly turned away unread,
 * is `unavailable`.
 */
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { WalletOutcome } from '../../actors/ports.ts';
import { errorSchema, isWalletErrorCode, walletErrors, type WalletErrorCode } from './contract.ts';

/** How an exchange ended on the wire. `sent`: bytes of the request may have reached the wallet. */
export type Exchange =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly contentType: string;
      readonly retryAfter: string;
      readonly body: Uint8Array;
    }
  | { readonly kind: 'failure'; readonly cause: 'timeout' | 'connection' | 'oversize'; readonly sent: boolean; readonly detail: string };

/** What the caller knows about its own request. */
export interface Call<A, T> {
  readonly mutation: boolean;
  /** The statuses that mean it worked. */
  readonly success: readonly number[];
  /** Whether a 4xx with a known code speaks about the payment. Not for a look-up: refusing to look is no news of the charge. */
  readonly refusable: boolean;
  /** The compiled schema of the answer. */
  readonly fits: (value: unknown) => value is A;
  /** The value of an answer that belongs to this request, an outcome it spells out, or undefined when it belongs to another. */
  readonly accept: (answer: A) => WalletOutcome<T> | undefined;
}

/** Ms after which to come again when the wallet does not say. */
export const defaultRetryAfterMs = 1_000;
/** The longest `Retry-After` that is believed. */
export const maxRetryAfterMs = 60_000;

const fitsError = TypeCompiler.Compile(errorSchema);

/** The outcome of an exchange. Errors: none; whatever arrives has an outcome. */
export function classify<A, T>(call: Call<A, T>, exchange: Exchange): WalletOutcome<T> {
  if (exchange.kind === 'failure') {
    return call.mutation && exchange.sent
      ? unknown(`${exchange.cause}: ${exchange.detail}`)
      : unavailable(`${exchange.cause}: ${exchange.detail}`);
  }
  const unclear = (reason: string): WalletOutcome<T> =>
    call.mutation ? unknown(reason) : unavailable(reason, retryAfterMsOf(exchange.retryAfter));
  if (exchange.status >= 500) return unclear(`status ${exchange.status}`);
  const json = parseJson(exchange.contentType, exchange.body);
  if (json === undefined) return unclear(`status ${exchange.status} without readable JSON`);
  if (call.success.includes(exchange.status)) {
    if (!call.fits(json)) return unclear('the answer does not fit its schema');
    return call.accept(json) ?? unclear('the answer belongs to another request');
  }
  if (exchange.status < 400 || !fitsError.Check(json)) return unclear(`unexpected status ${exchange.status}`);
  const { code, message, details } = json.error;
  if (turnedAway.has(code)) return unavailable(code, retryAfterMsOf(exchange.retryAfter));
  if (!call.refusable || !isWalletErrorCode(code)) return unclear(`status ${exchange.status} with code ${code}`);
  return refusalOf(code, message, details) ?? unclear(code);
}

/** What a wallet's error code means to the payer; undefined for a code that leaves the charge's fate open. */
export function refusalOf(
  code: WalletErrorCode,
  message: string,
  details?: Record<string, unknown>,
): Extract<WalletOutcome<never>, { kind: 'refused' }> | undefined {
  const { refusal } = walletErrors[code];
  if (refusal === null) return undefined;
  return { kind: 'refused', code: refusal, message, details: { ...details, wallet_code: code } };
}

/** Whether an exchange counts against the breaker: timeouts, connections and 5xx, never 4xx. Protocol section 18. */
export function isBreakerFailure(exchange: Exchange): boolean {
  return exchange.kind === 'failure' ? exchange.cause !== 'oversize' : exchange.status >= 500;
}

/** Codes the wallet gives before it reads a request: this call certainly booked nothing. */
const turnedAway: ReadonlySet<string> = new Set<WalletErrorCode>(['unauthorized', 'forbidden', 'rate_limited']);

function unknown(reason: string): WalletOutcome<never> {
  return { kind: 'unknown', reason };
}

function unavailable(reason: string, retryAfterMs = defaultRetryAfterMs): WalletOutcome<never> {
  return { kind: 'unavailable', reason, retryAfterMs };
}

/** `Retry-After` in whole seconds; dates and nonsense count as not said. */
function retryAfterMsOf(header: string): number {
  return /^\d{1,9}$/.test(header) ? Math.min(Number(header) * 1_000, maxRetryAfterMs) : defaultRetryAfterMs;
}

function parseJson(contentType: string, body: Uint8Array): unknown {
  if (!/^application\/json\s*(;|$)/i.test(contentType)) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    // Not JSON or not UTF-8: the caller decides what an unreadable answer means.
    return undefined;
  }
}
