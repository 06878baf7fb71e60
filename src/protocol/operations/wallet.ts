/** `tween.wallet.*` reads: balance and history, as the wallet answers them. Protocol section 12. */
import { Type } from '@sinclair/typebox';
import { defineOperation, strictObject } from '../operation.ts';
import { Iso, Limit, MoneyOut, Offset, Pagination } from '../schemas.ts';

const user = (_input: unknown, who: { readonly userId: string }): string => `user:${who.userId}`;

export const getBalance = defineOperation({
  name: 'tween.wallet.getBalance',
  summary: "The balance and limits of the user's wallet",
  http: { method: 'GET', path: '/wallet/v1/balance' },
  scopes: ['wallet:balance'],
  limit: 'balance',
  input: strictObject({}),
  output: Type.Object({
    wallet_id: Type.String(),
    user_id: Type.String(),
    balance: Type.Object({ available: MoneyOut, pending: MoneyOut, currency: Type.String() }),
    limits: Type.Object({ daily_limit: MoneyOut, daily_used: MoneyOut, transaction_limit: MoneyOut }),
    status: Type.String(),
  }),
  errors: ['USER_NOT_FOUND', 'USER_SUSPENDED'],
  perCaller: true,
  actor: user,
});

export const getTransactions = defineOperation({
  name: 'tween.wallet.getTransactions',
  summary: "The user's transactions, newest first",
  http: { method: 'GET', path: '/wallet/v1/transactions', query: ['limit', 'offset'] },
  scopes: ['wallet:history'],
  limit: 'transactions',
  input: strictObject({ limit: Limit(100, 50), offset: Offset }),
  output: Type.Object({
    transactions: Type.Array(
      Type.Object({
        txn_id: Type.String(),
        type: Type.String(),
        amount: MoneyOut,
        currency: Type.String(),
        from: Type.Optional(Type.Object({ user_id: Type.String() })),
        to: Type.Optional(Type.Object({ user_id: Type.String() })),
        status: Type.String(),
        note: Type.Optional(Type.String()),
        timestamp: Iso,
      }),
    ),
    pagination: Pagination,
  }),
  errors: ['USER_NOT_FOUND', 'USER_SUSPENDED'],
  perCaller: true,
  actor: user,
});

export const walletOperations = [getBalance, getTransactions] as const;
