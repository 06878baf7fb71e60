/** `tween.wallet.getBalance` and `.getTransactions`: reads through the wallet. The same read asked twice at once goes out once. */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { toMajor } from '../../protocol/money.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { WalletAccount, WalletOutcome, WalletTransaction } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { resume, settleLater, worked } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { User, UserOptions } from './user-options.ts';

/** As the catalogue says (protocol section 3). */
const page = { limit: 50, offset: 0 };

/** Answers with the balance and limits. Errors: `USER_NOT_FOUND`, `SERVICE_UNAVAILABLE` with `retry_after` when the wallet is away. */
export function getBalance(options: UserOptions, user: User, message: Message, host: ActorContext): void {
  joined(user, host, message, 'balance', () => options.wallet.account(host.id), balanceOf);
}

/** Answers with one page of transactions. Errors: as `getBalance`. */
export function getTransactions(options: UserOptions, user: User, message: Message, host: ActorContext): void {
  const { limit = page.limit, offset = page.offset } = message.input as InputOf<'tween.wallet.getTransactions'>;
  joined(
    user,
    host,
    message,
    `transactions ${limit} ${offset}`,
    () => options.wallet.transactions(host.id, { limit, offset }),
    ({ transactions, total }): OutputOf<'tween.wallet.getTransactions'> => ({
      transactions: transactions.map(transactionOf),
      pagination: { total, limit, offset, has_more: offset + transactions.length < total },
    }),
  );
}

function joined<T>(
  user: User,
  host: ActorContext,
  message: Message,
  read: string,
  start: () => Promise<WalletOutcome<T>>,
  shape: (value: T) => unknown,
): void {
  const running = user.reads.get(read);
  if (running !== undefined) {
    running.push(message);
    return;
  }
  user.reads.set(read, [message]);
  host.work(start(), (error, outcome) => {
    const askers = user.reads.get(read) ?? [];
    user.reads.delete(read);
    for (const asker of askers)
      resume(user.machine, host, asker, () =>
        settleLater(user.machine, host, { message: asker, result: shape(walletValue(worked(error, outcome))) }),
      );
  });
}

function walletValue<T>(outcome: WalletOutcome<T>): T {
  if (outcome.kind === 'done') return outcome.value;
  if (outcome.kind === 'refused' && (outcome.code === 'USER_NOT_FOUND' || outcome.code === 'USER_SUSPENDED'))
    throw new TmcpError(outcome.code, outcome.message);
  const retryAfter = outcome.kind === 'unavailable' ? Math.max(1, Math.ceil(outcome.retryAfterMs / 1_000)) : 1;
  // The breaker's word, so that a client can tell "open" from "slow" (protocol section 18).
  const open = outcome.kind === 'unavailable' && outcome.reason === 'circuit open';
  throw new TmcpError('SERVICE_UNAVAILABLE', 'The wallet does not answer right now', {
    retryAfter,
    ...(open ? { details: { circuit_state: 'OPEN' } } : {}),
  });
}

function balanceOf(account: WalletAccount): OutputOf<'tween.wallet.getBalance'> {
  const { currency } = account;
  return {
    wallet_id: account.walletId,
    user_id: account.userId,
    balance: { available: toMajor(account.availableMinor, currency), pending: toMajor(account.pendingMinor, currency), currency },
    limits: {
      daily_limit: toMajor(account.dailyLimitMinor, currency),
      daily_used: toMajor(account.dailyUsedMinor, currency),
      transaction_limit: toMajor(account.transactionLimitMinor, currency),
    },
    status: account.status,
  };
}

function transactionOf(transaction: WalletTransaction): OutputOf<'tween.wallet.getTransactions'>['transactions'][number] {
  const { txnId, type, amountMinor, currency, from, to, status, note, at } = transaction;
  return {
    txn_id: txnId,
    type,
    amount: toMajor(amountMinor, currency),
    currency,
    ...(from === undefined ? {} : { from: { user_id: from.userId } }),
    ...(to === undefined ? {} : { to: { user_id: to.userId } }),
    status,
    ...(note === undefined ? {} : { note }),
    timestamp: toIso(at),
  };
}
