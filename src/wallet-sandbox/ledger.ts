/**
 * The sandbox's double-entry ledger: append-only transactions whose entries add up to zero, balances kept as running sums,
 * and a recount that trusts none of them. Every change is an event applied here, live and at replay alike, so a
 * restarted sandbox is the one that was killed. No I/O, no clock.
 */
import { createHash } from 'node:crypto';
import { base32 } from '../ids.ts';
import { exponentOf } from '../protocol/money.ts';

export type AccountStatus = 'active' | 'pending' | 'suspended';

/** One movement: `minor` is added to `account`'s balance. */
export type Entry = readonly [account: string, minor: number];

interface Booking {
  readonly id: string;
  readonly currency: string;
  readonly amountMinor: number;
  readonly entries: readonly Entry[];
  readonly at: number;
  readonly note: string;
}

export type Transaction =
  | (Booking & { readonly type: 'charge'; readonly reference: string; readonly payer: string; readonly merchant: string })
  | (Booking & {
      readonly type: 'refund';
      readonly reference: string;
      readonly payer: string;
      readonly merchant: string;
      readonly chargeId: string;
    })
  | (Booking & { readonly type: 'funding'; readonly owner: string });

export type Charge = Extract<Transaction, { type: 'charge' }>;

export type LedgerEvent =
  | { readonly t: 'account'; readonly userId: string; readonly currency: string; readonly status: AccountStatus }
  | { readonly t: 'merchant'; readonly appId: string; readonly name: string }
  | { readonly t: 'txn'; readonly txn: Transaction }
  | { readonly t: 'refusal'; readonly reference: string; readonly code: string; readonly message: string };

interface UserAccount {
  readonly userId: string;
  readonly currency: string;
  status: AccountStatus;
  day: number;
  dayUsedMinor: number;
  readonly history: Transaction[];
}

/** What a recount found; `sum` and `mismatches` are 0 in a sound ledger. */
export interface Recount {
  /** Of the absolute sums of all currencies. */
  readonly sum: number;
  readonly accounts: number;
  readonly transactions: number;
  /** Most charges that are booked under one reference. */
  readonly charges_by_reference_max: number;
  /** References under which more than one charge is booked. */
  readonly double_charges: number;
  readonly charges: number;
  readonly charged_minor: number;
  readonly refunded_minor: number;
  /** Accounts whose running balance is not what their entries add up to. */
  readonly mismatches: number;
  /** Charges of which more was refunded than was paid. */
  readonly over_refunded: number;
}

const dayMs = 86_400_000;

/** Limits in major units, as the protocol's samples have them; minor units by the currency's exponent. */
export const transactionLimitMajor = 50_000;
export const dailyLimitMajor = 100_000;
export const mfaAboveMajor = 50;

/** Minor units of a whole number of major units. */
export function minorOf(major: number, currency: string): number {
  return major * 10 ** exponentOf(currency);
}

export const userKey = (userId: string): string => `user:${userId}`;
export const merchantKey = (appId: string, currency: string): string => `merchant:${appId}:${currency}`;
export const worldKey = (currency: string): string => `world:${currency}`;

/** The wallet id of an owner: the same before and after a reset. */
export function walletIdOf(kind: 'user' | 'merchant', owner: string): string {
  return `wal_${base32(createHash('sha256').update(`${kind}:${owner}`).digest().subarray(0, 16))}`;
}

export class Ledger {
  readonly users = new Map<string, UserAccount>();
  readonly merchants = new Map<string, string>();
  readonly transactions: Transaction[] = [];
  readonly charges = new Map<string, Charge>();
  readonly chargesByReference = new Map<string, Charge>();
  readonly refundReferences = new Set<string>();
  readonly refundedByCharge = new Map<string, number>();
  readonly refusals = new Map<string, { readonly code: string; readonly message: string }>();
  readonly #balances = new Map<string, number>();

  /** Takes one event. Errors: `Error` for a transaction that does not add up; nothing is changed then. */
  apply(event: LedgerEvent): void {
    switch (event.t) {
      case 'account': {
        const user = this.users.get(event.userId);
        if (user === undefined) {
          this.users.set(event.userId, {
            userId: event.userId,
            currency: event.currency,
            status: event.status,
            day: 0,
            dayUsedMinor: 0,
            history: [],
          });
        } else user.status = event.status;
        return;
      }
      case 'merchant':
        this.merchants.set(event.appId, event.name);
        return;
      case 'refusal':
        this.refusals.set(event.reference, { code: event.code, message: event.message });
        return;
      case 'txn':
        this.#book(event.txn);
    }
  }

  balance(account: string): number {
    return this.#balances.get(account) ?? 0;
  }

  /** Spent in the UTC day of `at`. A refund does not give allowance back. */
  usedMinor(userId: string, at: number): number {
    const user = this.users.get(userId);
    return user !== undefined && user.day === Math.floor(at / dayMs) ? user.dayUsedMinor : 0;
  }

  /** Adds everything up again from the entries alone. */
  recount(): Recount {
    const balances = new Map<string, number>();
    const sums = new Map<string, number>();
    const byReference = new Map<string, number>();
    const refunded = new Map<string, number>();
    let charged = 0;
    let refundedTotal = 0;
    for (const txn of this.transactions) {
      for (const [account, minor] of txn.entries) {
        balances.set(account, (balances.get(account) ?? 0) + minor);
        sums.set(txn.currency, (sums.get(txn.currency) ?? 0) + minor);
      }
      if (txn.type === 'charge') {
        byReference.set(txn.reference, (byReference.get(txn.reference) ?? 0) + 1);
        charged += txn.amountMinor;
      }
      if (txn.type === 'refund') {
        refunded.set(txn.chargeId, (refunded.get(txn.chargeId) ?? 0) + txn.amountMinor);
        refundedTotal += txn.amountMinor;
      }
    }
    let most = 0;
    let doubles = 0;
    let charges = 0;
    for (const count of byReference.values()) {
      charges += count;
      if (count > most) most = count;
      if (count > 1) doubles += 1;
    }
    return {
      sum: [...sums.values()].reduce((total, sum) => total + Math.abs(sum), 0),
      accounts: this.users.size + this.merchants.size,
      transactions: this.transactions.length,
      charges_by_reference_max: most,
      double_charges: doubles,
      charges,
      charged_minor: charged,
      refunded_minor: refundedTotal,
      mismatches: [...new Set([...balances.keys(), ...this.#balances.keys()])].filter(
        (account) => (balances.get(account) ?? 0) !== this.balance(account),
      ).length,
      over_refunded: [...refunded].filter(([chargeId, minor]) => minor > (this.charges.get(chargeId)?.amountMinor ?? 0)).length,
    };
  }

  #book(txn: Transaction): void {
    const sum = txn.entries.reduce((total, [, minor]) => total + minor, 0);
    if (sum !== 0) throw new Error(`transaction ${txn.id} does not add up to zero`);
    const after = txn.entries.map(([account, minor]) => [account, this.balance(account) + minor] as const);
    if (after.some(([, balance]) => !Number.isSafeInteger(balance))) throw new Error(`transaction ${txn.id} leaves the exact range`);
    for (const [account, balance] of after) this.#balances.set(account, balance);
    this.transactions.push(txn);
    const owner = txn.type === 'funding' ? txn.owner : txn.payer;
    const user = this.users.get(owner);
    user?.history.push(txn);
    if (txn.type === 'charge') {
      this.charges.set(txn.id, txn);
      this.chargesByReference.set(txn.reference, txn);
      if (user !== undefined) {
        const day = Math.floor(txn.at / dayMs);
        user.dayUsedMinor = (user.day === day ? user.dayUsedMinor : 0) + txn.amountMinor;
        user.day = day;
      }
    }
    if (txn.type === 'refund') {
      this.refundReferences.add(txn.reference);
      this.refundedByCharge.set(txn.chargeId, (this.refundedByCharge.get(txn.chargeId) ?? 0) + txn.amountMinor);
    }
  }
}
