/**
 * The wallet port over a double-entry ledger in memory: a real implementation, with faults at its door. Money is only ever
 * moved between accounts, so the sum over all of them is zero; an idempotency key gives its first answer again.
 */
import type { ChargeRequest, Wallet, WalletCharge, WalletOutcome, WalletRefusal } from '../../src/actors/ports.ts';

/**
 * What the next calls of an operation meet. `unknown_before`: lost on the way there. `unknown_after`: done, the answer lost.
 * `slow`: done and answered only when `release` is called. `wrong`: done, but told of another payment.
 */
export type Fault = 'unknown_before' | 'unknown_after' | 'refused' | 'unavailable' | 'slow' | 'wrong' | 'throws';
type Operation = keyof Wallet;

interface Account {
  readonly walletId: string;
  readonly currency: string;
  balanceMinor: number;
  status: 'active' | 'pending' | 'suspended';
}

export interface LedgerOptions {
  readonly now: () => number;
  /** A second factor is asked for above this. Default 50.00. */
  readonly mfaAboveMinor?: number;
  readonly transactionLimitMinor?: number;
}

export class LedgerWallet implements Wallet {
  readonly #options: LedgerOptions;
  readonly #accounts = new Map<string, Account>();
  readonly #charges = new Map<string, WalletCharge[]>();
  readonly #answers = new Map<string, WalletOutcome<WalletCharge>>();
  readonly #refusals = new Map<string, WalletOutcome<WalletCharge>>();
  readonly #faults = new Map<Operation, Fault[]>();
  #held: (() => void)[] = [];
  #txn = 0;
  mfaMethods: readonly string[] = ['transaction_pin', 'totp'];
  /** Calls that reached the door, by operation. */
  readonly calls: Record<Operation, number> = {
    account: 0,
    ensureAccount: 0,
    ensureMerchant: 0,
    transactions: 0,
    policy: 0,
    charge: 0,
    findCharge: 0,
  };

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#open('bank', 'USD');
  }

  /** Puts money into a user's account out of the bank's. */
  fund(userId: string, amountMinor: number): void {
    this.#open(`user:${userId}`, 'USD');
    this.#move('bank', `user:${userId}`, amountMinor);
  }

  suspend(userId: string): void {
    this.#account(`user:${userId}`).status = 'suspended';
  }

  balance(userId: string): number {
    return this.#account(`user:${userId}`).balanceMinor;
  }

  /** Sum over all accounts: zero, whatever happened. */
  sum(): number {
    return [...this.#accounts.values()].reduce((sum, { balanceMinor }) => sum + balanceMinor, 0);
  }

  /** Charges booked under a reference. */
  booked(reference: string): readonly WalletCharge[] {
    return this.#charges.get(reference) ?? [];
  }

  /** The next `count` calls of `operation` meet `fault`. */
  fault(operation: Operation, fault: Fault, count = 1): void {
    this.#faults.set(operation, [...(this.#faults.get(operation) ?? []), ...Array.from({ length: count }, () => fault)]);
  }

  /** No faults any more; what was held goes on. */
  heal(): void {
    this.#faults.clear();
    this.release();
  }

  /** Lets slow calls end. */
  release(): void {
    for (const go of this.#held.splice(0)) go();
  }

  /** The wallet forgets idempotency keys, as one does after its retention. */
  forgetKeys(): void {
    this.#answers.clear();
  }

  account(userId: string): ReturnType<Wallet['account']> {
    return this.#door('account', () => this.#accountOf(userId));
  }

  ensureAccount(userId: string, currency: string): ReturnType<Wallet['ensureAccount']> {
    return this.#door('ensureAccount', () => {
      this.#open(`user:${userId}`, currency);
      return this.#accountOf(userId);
    });
  }

  ensureMerchant(appId: string): ReturnType<Wallet['ensureMerchant']> {
    return this.#door('ensureMerchant', () => done({ walletId: this.#open(`app:${appId}`, 'USD').walletId }));
  }

  transactions(userId: string, page: { readonly limit: number; readonly offset: number }): ReturnType<Wallet['transactions']> {
    return this.#door('transactions', () => {
      const { walletId } = this.#account(`user:${userId}`);
      const mine = [...this.#charges.values()].flat().filter(({ payerWalletId }) => payerWalletId === walletId);
      const transactions = mine.reverse().slice(page.offset, page.offset + page.limit);
      return done({
        transactions: transactions.map(({ txnId, amountMinor, currency, bookedAt }) => ({
          txnId,
          type: 'payment',
          amountMinor,
          currency,
          from: { userId },
          status: 'completed',
          at: bookedAt,
        })),
        total: mine.length,
      });
    });
  }

  policy({ amountMinor }: Parameters<Wallet['policy']>[0]): ReturnType<Wallet['policy']> {
    const mfaRequired = amountMinor > (this.#options.mfaAboveMinor ?? 5_000);
    return this.#door('policy', () => done({ mfaRequired, methods: mfaRequired ? this.mfaMethods : [] }));
  }

  charge(request: ChargeRequest): ReturnType<Wallet['charge']> {
    return this.#door('charge', () => {
      const known = this.#answers.get(request.idempotencyKey);
      if (known !== undefined) return known;
      const answer = this.#book(request);
      this.#answers.set(request.idempotencyKey, answer);
      if (answer.kind === 'refused') this.#refusals.set(request.reference, answer);
      return answer;
    });
  }

  findCharge(reference: string): ReturnType<Wallet['findCharge']> {
    return this.#door('findCharge', () => {
      const [charge] = this.booked(reference);
      return charge === undefined ? (this.#refusals.get(reference) ?? done<WalletCharge | null>(null)) : done<WalletCharge | null>(charge);
    });
  }

  #book({ reference, payerUserId, merchantAppId, amountMinor, currency }: ChargeRequest): WalletOutcome<WalletCharge> {
    const payer = this.#accounts.get(`user:${payerUserId}`);
    const merchant = this.#accounts.get(`app:${merchantAppId}`);
    if (payer === undefined || merchant === undefined) return refused('USER_NOT_FOUND');
    if (payer.status !== 'active') return refused('USER_SUSPENDED');
    if (payer.currency !== currency) return refused('CURRENCY_MISMATCH');
    if (payer.balanceMinor < amountMinor) return refused('INSUFFICIENT_FUNDS');
    this.#move(`user:${payerUserId}`, `app:${merchantAppId}`, amountMinor);
    const charge: WalletCharge = {
      txnId: `txn_${++this.#txn}`,
      reference,
      status: 'completed',
      amountMinor,
      currency,
      payerWalletId: payer.walletId,
      merchantWalletId: merchant.walletId,
      bookedAt: this.#options.now(),
    };
    this.#charges.set(reference, [...this.booked(reference), charge]);
    return done(charge);
  }

  async #door<T>(operation: Operation, work: () => WalletOutcome<T>): Promise<WalletOutcome<T>> {
    this.calls[operation]++;
    const fault = this.#faults.get(operation)?.shift();
    switch (fault) {
      case 'unavailable':
        return { kind: 'unavailable', reason: 'down', retryAfterMs: 7_000 };
      case 'unknown_before':
        return { kind: 'unknown', reason: 'timeout' };
      case 'unknown_after':
        work();
        return { kind: 'unknown', reason: 'timeout' };
      case 'refused':
        return refused('PAYMENT_FAILED');
      case 'throws':
        work();
        throw new Error('the wallet adapter is broken');
      case 'wrong': {
        const outcome = work();
        return outcome.kind === 'done' ? done({ ...outcome.value, amountMinor: 1 }) : outcome;
      }
      case 'slow':
        await new Promise<void>((resolve) => this.#held.push(resolve));
        return work();
      default:
        return work();
    }
  }

  #accountOf(userId: string): WalletOutcome<{
    walletId: string;
    userId: string;
    currency: string;
    availableMinor: number;
    pendingMinor: number;
    dailyLimitMinor: number;
    dailyUsedMinor: number;
    transactionLimitMinor: number;
    status: 'active' | 'pending' | 'suspended';
  }> {
    const account = this.#accounts.get(`user:${userId}`);
    if (account === undefined) return refused('USER_NOT_FOUND');
    const { walletId, currency, balanceMinor, status } = account;
    const transactionLimitMinor = this.#options.transactionLimitMinor ?? 5_000_000;
    return done({
      walletId,
      userId,
      currency,
      availableMinor: balanceMinor,
      pendingMinor: 0,
      dailyLimitMinor: 10_000_000,
      dailyUsedMinor: 0,
      transactionLimitMinor,
      status,
    });
  }

  #open(name: string, currency: string): Account {
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    const account: Account = { walletId: `wal_${this.#accounts.size}`, currency, balanceMinor: 0, status: 'active' };
    this.#accounts.set(name, account);
    return account;
  }

  #account(name: string): Account {
    const account = this.#accounts.get(name);
    if (account === undefined) throw new Error(`no account ${name}`);
    return account;
  }

  #move(from: string, to: string, amountMinor: number): void {
    this.#account(from).balanceMinor -= amountMinor;
    this.#account(to).balanceMinor += amountMinor;
  }
}

function done<T>(value: T): WalletOutcome<T> {
  return { kind: 'done', value };
}

function refused(code: WalletRefusal): Extract<WalletOutcome<never>, { kind: 'refused' }> {
  return { kind: 'refused', code, message: `refused: ${code}` };
}
