/**
 * The `Wallet` port over TweenPay's REST contract (docs/tweenpay.md). Every call runs behind its operation's breaker, once:
 * what to do about `unknown` and `unavailable` is the payment actor's decision. Protocol sections 12, 14 and 18.
 */
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Static, TSchema } from '@sinclair/typebox';
import type { ChargeRequest, Clock, Wallet, WalletAccount, WalletCharge, WalletOutcome, WalletTransaction } from '../../actors/ports.ts';
import { SystemClock } from '../../clock.ts';
import { newId } from '../../ids.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import { classify, defaultRetryAfterMs, isBreakerFailure, refusalOf, type Call, type Exchange } from './classify.ts';
import {
  accountSchema,
  chargeSchema,
  idempotencyKeyPattern,
  isWalletErrorCode,
  lookupSchema,
  merchantSchema,
  policySchema,
  transactionPageSchema,
  type AccountAnswer,
  type ChargeAnswer,
  type LookupAnswer,
  type TransactionAnswer,
} from './contract.ts';
import { WalletConnections, type ExchangeRequest } from './exchange.ts';

export interface TweenPayOptions {
  /** Base URL of the wallet; a path prefix is kept. */
  readonly url: string;
  /** The service token. Never logged. */
  readonly token: string;
  /** Bound of a whole call, connecting included. Default 5,000. */
  readonly timeoutMs?: number;
  /** Most sockets to the wallet. Default 64. */
  readonly connections?: number;
  readonly clock?: Clock;
  /** Told of every call: the outcome's kind, and its duration in ms. */
  readonly observe?: (operation: WalletOperation, outcome: WalletOutcome<unknown>['kind'], ms: number) => void;
}

const operations = ['account', 'ensure_account', 'ensure_merchant', 'transactions', 'policy', 'charge', 'find_charge'] as const;

/** The names breakers and metrics go by. */
export type WalletOperation = (typeof operations)[number];

export interface TweenPayWallet extends Wallet {
  /** Every operation's breaker, for health and metrics. Of this process only. */
  breakerStates(): Readonly<Record<WalletOperation, BreakerState>>;
  /** Waits for calls in flight (at most the time limit) and drops the connections; later calls are `unavailable`. */
  close(): Promise<void>;
}

const checks = {
  account: checkOf(accountSchema),
  merchant: checkOf(merchantSchema),
  transactions: checkOf(transactionPageSchema),
  policy: checkOf(policySchema),
  charge: checkOf(chargeSchema),
  lookup: checkOf(lookupSchema),
};

/** The wallet at `options.url`. Opens no connection before the first call. Errors: `TypeError` for a bad URL. */
export function createTweenPayWallet(options: TweenPayOptions): TweenPayWallet {
  const clock = options.clock ?? new SystemClock();
  const connections = new WalletConnections({
    url: options.url,
    token: options.token,
    timeoutMs: options.timeoutMs ?? 5_000,
    connections: options.connections ?? 64,
    clock,
  });
  const breakers = byOperation(() => new Breaker<Exchange>(clock, isBreakerFailure));

  async function call<A, T>(operation: WalletOperation, request: ExchangeRequest, terms: Call<A, T>): Promise<WalletOutcome<T>> {
    const startedAt = clock.monotonic();
    const attempt = await breakers[operation].run(() => connections.send(request));
    const outcome: WalletOutcome<T> = attempt.ran
      ? classify(terms, attempt.result)
      : { kind: 'unavailable', reason: 'circuit open', retryAfterMs: attempt.retryAfterMs };
    options.observe?.(operation, outcome.kind, clock.monotonic() - startedAt);
    return outcome;
  }

  return {
    account: (userId) =>
      call(
        'account',
        { method: 'GET', path: `/v1/users/${encodeURIComponent(userId)}/account` },
        read(checks.account, (answer) => accountOf(answer, userId)),
      ),

    // PUT is idempotent by itself; a key of its own at each call keeps a stored answer from hiding today's balance.
    ensureAccount: (userId, currency) =>
      call(
        'ensure_account',
        { method: 'PUT', path: `/v1/users/${encodeURIComponent(userId)}/account`, body: { currency }, idempotencyKey: newId('idem') },
        mutation([200, 201], checks.account, (answer) => accountOf(answer, userId)),
      ),

    ensureMerchant: (appId, name) =>
      call(
        'ensure_merchant',
        { method: 'PUT', path: `/v1/merchants/${encodeURIComponent(appId)}/account`, body: { name }, idempotencyKey: newId('idem') },
        mutation([200, 201], checks.merchant, (answer) =>
          answer.merchant_app_id === appId ? done({ walletId: answer.wallet_id }) : undefined,
        ),
      ),

    transactions: (userId, page) =>
      call(
        'transactions',
        { method: 'GET', path: `/v1/users/${encodeURIComponent(userId)}/transactions?limit=${page.limit}&offset=${page.offset}` },
        read(checks.transactions, (answer) =>
          answer.transactions.length <= page.limit
            ? done({ transactions: answer.transactions.map(transactionOf), total: answer.total })
            : undefined,
        ),
      ),

    policy: (request) =>
      call(
        'policy',
        {
          method: 'POST',
          path: '/v1/policy',
          body: { user_id: request.userId, reference: request.reference, amount_minor: request.amountMinor, currency: request.currency },
        },
        read(checks.policy, (answer) =>
          answer.reference === request.reference ? done({ mfaRequired: answer.mfa_required, methods: answer.methods }) : undefined,
        ),
      ),

    charge: async (request) => {
      if (!idempotencyKeyPattern.test(request.idempotencyKey))
        throw new TypeError('an idempotency key is 1 to 255 visible ASCII characters');
      return call(
        'charge',
        { method: 'POST', path: '/v1/charges', body: chargeBodyOf(request), idempotencyKey: request.idempotencyKey },
        mutation([200, 201], checks.charge, (answer) => (answers(answer, request) ? done(chargeOf(answer)) : undefined)),
      );
    },

    findCharge: (reference) =>
      call(
        'find_charge',
        { method: 'GET', path: `/v1/charges?reference=${encodeURIComponent(reference)}` },
        {
          ...read(checks.lookup, (answer) => lookupOf(answer, reference)),
          refusable: false,
        },
      ),

    breakerStates: () => byOperation((operation) => breakers[operation].view),
    close: () => connections.close(),
  };
}

function byOperation<T>(make: (operation: WalletOperation) => T): Record<WalletOperation, T> {
  return Object.fromEntries(operations.map((operation) => [operation, make(operation)])) as Record<WalletOperation, T>;
}

function checkOf<S extends TSchema>(schema: S): (value: unknown) => value is Static<S> {
  const compiled = TypeCompiler.Compile(schema);
  return (value): value is Static<S> => compiled.Check(value);
}

function read<A, T>(fits: (value: unknown) => value is A, accept: (answer: A) => WalletOutcome<T> | undefined): Call<A, T> {
  return { mutation: false, success: [200], refusable: true, fits, accept };
}

function mutation<A, T>(
  success: readonly number[],
  fits: (value: unknown) => value is A,
  accept: (answer: A) => WalletOutcome<T> | undefined,
): Call<A, T> {
  return { mutation: true, success, refusable: true, fits, accept };
}

function done<T>(value: T): WalletOutcome<T> {
  return { kind: 'done', value };
}

function accountOf(answer: AccountAnswer, userId: string): WalletOutcome<WalletAccount> | undefined {
  if (answer.user_id !== userId) return undefined;
  return done({
    walletId: answer.wallet_id,
    userId: answer.user_id,
    currency: answer.currency,
    availableMinor: answer.available_minor,
    pendingMinor: answer.pending_minor,
    dailyLimitMinor: answer.daily_limit_minor,
    dailyUsedMinor: answer.daily_used_minor,
    transactionLimitMinor: answer.transaction_limit_minor,
    status: answer.status,
  });
}

function transactionOf(answer: TransactionAnswer): WalletTransaction {
  return {
    txnId: answer.txn_id,
    type: answer.type,
    amountMinor: answer.amount_minor,
    currency: answer.currency,
    ...(answer.from === undefined ? {} : { from: { userId: answer.from.user_id } }),
    ...(answer.to === undefined ? {} : { to: { userId: answer.to.user_id } }),
    status: answer.status,
    ...(answer.note === undefined ? {} : { note: answer.note }),
    at: Date.parse(answer.timestamp),
  };
}

function chargeBodyOf(request: ChargeRequest): Record<string, unknown> {
  return {
    reference: request.reference,
    payer_user_id: request.payerUserId,
    merchant_app_id: request.merchantAppId,
    amount_minor: request.amountMinor,
    currency: request.currency,
    description: request.description,
  };
}

/** Whether a charge is the one that was asked for; money of another payment must never complete this one. */
function answers(answer: ChargeAnswer, request: ChargeRequest): boolean {
  return (
    answer.reference === request.reference &&
    answer.amount_minor === request.amountMinor &&
    answer.currency === request.currency &&
    answer.payer_user_id === request.payerUserId &&
    answer.merchant_app_id === request.merchantAppId
  );
}

function chargeOf(answer: ChargeAnswer): WalletCharge {
  return {
    txnId: answer.txn_id,
    reference: answer.reference,
    status: answer.status,
    amountMinor: answer.amount_minor,
    currency: answer.currency,
    payerWalletId: answer.payer_wallet_id,
    merchantWalletId: answer.merchant_wallet_id,
    bookedAt: Date.parse(answer.booked_at),
  };
}

function lookupOf(answer: LookupAnswer, reference: string): WalletOutcome<WalletCharge | null> | undefined {
  if (answer.reference !== reference) return undefined;
  switch (answer.state) {
    case 'none':
      return done(null);
    case 'in_progress':
      return { kind: 'unavailable', reason: 'the charge is still being decided', retryAfterMs: defaultRetryAfterMs };
    case 'booked':
      return answer.charge.reference === reference ? done(chargeOf(answer.charge)) : undefined;
    case 'refused': {
      const { code, message } = answer.refusal;
      // A refusal we have no word for is a refusal all the same: the wallet says that nothing was booked.
      return (
        (isWalletErrorCode(code) ? refusalOf(code, message) : undefined) ?? {
          kind: 'refused',
          code: 'PAYMENT_FAILED',
          message,
          details: { wallet_code: code },
        }
      );
    }
  }
}
