/**
 * The sandbox wallet's rules: what each request of the contract answers, and which ledger events it causes. Decides only;
 * the engine applies and writes. Rules in docs/tweenpay.md.
 */
import type { Clock } from '../actors/ports.ts';
import { newId } from '../ids.ts';
import { knownCurrencies } from '../protocol/money.ts';
import {
  walletErrors,
  type AccountAnswer,
  type ChargeAnswer,
  type ChargeBody,
  type LookupAnswer,
  type MerchantAnswer,
  type PolicyAnswer,
  type PolicyBody,
  type RefundAnswer,
  type RefundBody,
  type TransactionAnswer,
  type TransactionPageAnswer,
  type WalletErrorCode,
} from '../transport/tweenpay/contract.ts';
import {
  dailyLimitMajor,
  type Ledger,
  merchantKey,
  mfaAboveMajor,
  minorOf,
  transactionLimitMajor,
  userKey,
  walletIdOf,
  worldKey,
  type AccountStatus,
  type Charge,
  type LedgerEvent,
  type Transaction,
} from './ledger.ts';

/** An answer and what it changes. */
export interface Decision {
  readonly status: number;
  readonly body: unknown;
  readonly events: readonly LedgerEvent[];
}

const currencies: ReadonlySet<string> = new Set(knownCurrencies());
const rfc3339 = (at: number): string => new Date(at).toISOString();

/** An error answer of the contract. `note` replaces the table's message. */
export function refuse(code: WalletErrorCode, note?: string, events: readonly LedgerEvent[] = []): Decision {
  return { status: walletErrors[code].status, body: { error: { code, message: note ?? walletErrors[code].message } }, events };
}

function answer(status: number, body: unknown, events: readonly LedgerEvent[] = []): Decision {
  return { status, body, events };
}

export class Bank {
  readonly ledger: Ledger;
  readonly #clock: Clock;

  constructor(ledger: Ledger, clock: Clock) {
    this.ledger = ledger;
    this.#clock = clock;
  }

  account(userId: string): Decision {
    const account = this.#accountView(userId);
    return account === undefined ? refuse('user_not_found') : answer(200, account);
  }

  ensureAccount(userId: string, currency: string): Decision {
    const present = this.#accountView(userId);
    if (present !== undefined) return answer(200, present);
    if (!currencies.has(currency)) return refuse('invalid_request', `unknown currency ${currency}`);
    return answer(201, this.#newAccountView(userId, currency, 'active'), [{ t: 'account', userId, currency, status: 'active' }]);
  }

  ensureMerchant(appId: string, name: string): Decision {
    const body: MerchantAnswer = { wallet_id: walletIdOf('merchant', appId), merchant_app_id: appId };
    if (this.ledger.merchants.has(appId)) return answer(200, body);
    return answer(201, body, [{ t: 'merchant', appId, name }]);
  }

  transactions(userId: string, limit: number, offset: number): Decision {
    const user = this.ledger.users.get(userId);
    if (user === undefined) return refuse('user_not_found');
    const newestFirst = user.history
      .slice(Math.max(0, user.history.length - offset - limit), Math.max(0, user.history.length - offset))
      .reverse();
    const body: TransactionPageAnswer = { transactions: newestFirst.map(transactionView), total: user.history.length };
    return answer(200, body);
  }

  policy(body: PolicyBody): Decision {
    const user = this.ledger.users.get(body.user_id);
    if (user === undefined) return refuse('user_not_found');
    if (user.status !== 'active') return refuse(user.status === 'suspended' ? 'user_suspended' : 'user_pending');
    if (body.currency !== user.currency) return refuse('currency_mismatch');
    const required = body.amount_minor > minorOf(mfaAboveMajor, body.currency);
    const policy: PolicyAnswer = {
      reference: body.reference,
      mfa_required: required,
      methods: required ? ['transaction_pin', 'totp'] : [],
    };
    return answer(200, policy);
  }

  charge(body: ChargeBody): Decision {
    const refusal = this.#chargeRefusal(body);
    if (refusal !== undefined) return this.refuseCharge(body.reference, refusal);
    const at = this.#clock.now();
    const txn: Charge = {
      type: 'charge',
      id: newId('txn'),
      reference: body.reference,
      currency: body.currency,
      amountMinor: body.amount_minor,
      payer: body.payer_user_id,
      merchant: body.merchant_app_id,
      note: body.description,
      at,
      entries: [
        [userKey(body.payer_user_id), -body.amount_minor],
        [merchantKey(body.merchant_app_id, body.currency), body.amount_minor],
      ],
    };
    return answer(201, chargeView(txn), [{ t: 'txn', txn }]);
  }

  /** A refusal that the wallet remembers under the reference, unless a charge is booked there already. */
  refuseCharge(reference: string, code: WalletErrorCode): Decision {
    if (this.ledger.chargesByReference.has(reference)) return refuse('duplicate_reference');
    return refuse(code, undefined, [{ t: 'refusal', reference, code, message: walletErrors[code].message }]);
  }

  find(reference: string, inProgress: boolean): Decision {
    const charge = this.ledger.chargesByReference.get(reference);
    const refusal = this.ledger.refusals.get(reference);
    let body: LookupAnswer = { reference, state: 'none' };
    if (charge !== undefined) body = { reference, state: 'booked', charge: chargeView(charge) };
    else if (inProgress) body = { reference, state: 'in_progress' };
    else if (refusal !== undefined) body = { reference, state: 'refused', refusal };
    return answer(200, body);
  }

  refund(chargeId: string, body: RefundBody): Decision {
    const charge = this.ledger.charges.get(chargeId);
    if (charge === undefined) return refuse('charge_not_found');
    if (this.ledger.refundReferences.has(body.reference)) return refuse('duplicate_reference');
    if (body.currency !== charge.currency) return refuse('currency_mismatch');
    const total = (this.ledger.refundedByCharge.get(chargeId) ?? 0) + body.amount_minor;
    if (total > charge.amountMinor) return refuse('refund_exceeds_charge');
    const txn: Transaction = {
      type: 'refund',
      id: newId('ref'),
      reference: body.reference,
      chargeId,
      currency: charge.currency,
      amountMinor: body.amount_minor,
      payer: charge.payer,
      merchant: charge.merchant,
      note: body.reason ?? '',
      at: this.#clock.now(),
      entries: [
        [merchantKey(charge.merchant, charge.currency), -body.amount_minor],
        [userKey(charge.payer), body.amount_minor],
      ],
    };
    const view: RefundAnswer = {
      refund_id: txn.id,
      txn_id: chargeId,
      reference: body.reference,
      status: 'completed',
      amount_minor: body.amount_minor,
      currency: charge.currency,
      refunded_total_minor: total,
      refundable_minor: charge.amountMinor - total,
      booked_at: rfc3339(txn.at),
    };
    return answer(201, view, [{ t: 'txn', txn }]);
  }

  /** Sets up a user's account: its status, and its balance by a booking against the world. */
  setUser(userId: string, currency: string, balanceMinor: number | undefined, status: AccountStatus | undefined): Decision {
    const user = this.ledger.users.get(userId);
    if (user !== undefined && user.currency !== currency) return refuse('currency_mismatch');
    const next = status ?? user?.status ?? 'active';
    const events: LedgerEvent[] = [{ t: 'account', userId, currency, status: next }];
    events.push(...this.#funding(userId, userKey(userId), currency, balanceMinor));
    const view = this.#accountView(userId) ?? this.#newAccountView(userId, currency, next);
    return answer(200, { ...view, status: next, available_minor: balanceMinor ?? view.available_minor }, events);
  }

  /** Sets up a mini-app's account in one currency. */
  setMerchant(appId: string, currency: string, balanceMinor: number | undefined): Decision {
    const key = merchantKey(appId, currency);
    const events: LedgerEvent[] = [{ t: 'merchant', appId, name: this.ledger.merchants.get(appId) ?? appId }];
    events.push(...this.#funding(appId, key, currency, balanceMinor));
    return answer(
      200,
      {
        wallet_id: walletIdOf('merchant', appId),
        merchant_app_id: appId,
        currency,
        available_minor: balanceMinor ?? this.ledger.balance(key),
      },
      events,
    );
  }

  #funding(owner: string, account: string, currency: string, balanceMinor: number | undefined): LedgerEvent[] {
    const change = balanceMinor === undefined ? 0 : balanceMinor - this.ledger.balance(account);
    if (change === 0) return [];
    const entries = [
      [worldKey(currency), -change],
      [account, change],
    ] as const;
    const txn: Transaction = {
      type: 'funding',
      id: newId('txn'),
      owner,
      currency,
      amountMinor: Math.abs(change),
      note: 'Set up',
      at: this.#clock.now(),
      entries,
    };
    return [{ t: 'txn', txn }];
  }

  #chargeRefusal(body: ChargeBody): WalletErrorCode | undefined {
    if (this.ledger.chargesByReference.has(body.reference)) return 'duplicate_reference';
    const user = this.ledger.users.get(body.payer_user_id);
    if (user === undefined) return 'user_not_found';
    if (!this.ledger.merchants.has(body.merchant_app_id)) return 'merchant_not_found';
    if (user.status === 'suspended') return 'user_suspended';
    if (user.status === 'pending') return 'user_pending';
    if (user.currency !== body.currency) return 'currency_mismatch';
    if (body.amount_minor > minorOf(transactionLimitMajor, body.currency)) return 'amount_exceeds_limit';
    if (this.ledger.usedMinor(user.userId, this.#clock.now()) + body.amount_minor > minorOf(dailyLimitMajor, body.currency))
      return 'daily_limit_exceeded';
    if (body.amount_minor > this.ledger.balance(userKey(user.userId))) return 'insufficient_funds';
    return undefined;
  }

  #accountView(userId: string): AccountAnswer | undefined {
    const user = this.ledger.users.get(userId);
    if (user === undefined) return undefined;
    return {
      ...this.#newAccountView(userId, user.currency, user.status),
      available_minor: this.ledger.balance(userKey(userId)),
      daily_used_minor: this.ledger.usedMinor(userId, this.#clock.now()),
    };
  }

  #newAccountView(userId: string, currency: string, status: AccountStatus): AccountAnswer {
    return {
      wallet_id: walletIdOf('user', userId),
      user_id: userId,
      currency,
      available_minor: 0,
      pending_minor: 0,
      daily_limit_minor: minorOf(dailyLimitMajor, currency),
      daily_used_minor: 0,
      transaction_limit_minor: minorOf(transactionLimitMajor, currency),
      status,
    };
  }
}

/** A charge as the contract shows it. */
export function chargeView(charge: Charge): ChargeAnswer {
  return {
    txn_id: charge.id,
    reference: charge.reference,
    status: 'completed',
    amount_minor: charge.amountMinor,
    currency: charge.currency,
    payer_user_id: charge.payer,
    payer_wallet_id: walletIdOf('user', charge.payer),
    merchant_app_id: charge.merchant,
    merchant_wallet_id: walletIdOf('merchant', charge.merchant),
    booked_at: rfc3339(charge.at),
  };
}

function transactionView(txn: Transaction): TransactionAnswer {
  const shared = {
    txn_id: txn.id,
    amount_minor: txn.amountMinor,
    currency: txn.currency,
    status: 'completed',
    note: txn.note,
    timestamp: rfc3339(txn.at),
  };
  switch (txn.type) {
    case 'charge':
      return { ...shared, type: 'payment', from: { user_id: txn.payer } };
    case 'refund':
      return { ...shared, type: 'refund', to: { user_id: txn.payer } };
    case 'funding':
      return { ...shared, type: 'adjustment', to: { user_id: txn.owner } };
  }
}
