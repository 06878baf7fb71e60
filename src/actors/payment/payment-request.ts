/** A request for a payment: everything that must hold before there is one. Rules PAY1 to PAY8 of docs/spec/payment.md. */
import type { InputOf } from '../../protocol/catalogue.ts';
import { invalidRequest, TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { toMinor, toPositiveMinor } from '../../protocol/money.ts';
import type { AppRecord, Principal, UserProfile, WalletAccount } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { worked } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { type PaymentOptions, walletValue } from './payment-options.ts';
import type { PaymentInput } from './payment-types.ts';

type Asked = InputOf<'tween.wallet.pay'>;

/**
 * Checks a request and asks the directories and the wallet; `then` gets the new payment's input, or the refusal. Nothing is
 * kept of a refused request. Errors (to `then`): the codes of `tween.wallet.pay`.
 */
export function gatherRequest(
  options: PaymentOptions,
  host: ActorContext,
  message: Message,
  who: Principal,
  then: (found: () => PaymentInput) => void,
): void {
  const asked = message.input as Asked;
  if (options.currencies !== undefined && !options.currencies.has(asked.currency))
    throw new TmcpError('INVALID_CURRENCY', undefined, { details: { currency: asked.currency } });
  const amountMinor = toPositiveMinor(asked.amount, asked.currency);
  const items = itemsOf(asked, amountMinor);
  host.work(facts(options, who, asked, amountMinor), (error, found) =>
    then(() => {
      const { app, account, merchantWalletId } = worked(error, found);
      const now = host.now();
      return {
        paymentId: host.id,
        payerUserId: who.userId,
        payerWalletId: account.walletId,
        appId: who.appId,
        merchantName: app.name,
        merchantWalletId,
        amountMinor,
        currency: asked.currency,
        description: asked.description,
        merchantOrderId: asked.merchant_order_id,
        items,
        callbackUrl: asked.callback_url ?? null,
        metadata: asked.metadata ?? null,
        inputHash: message.idempotency?.inputHash ?? null,
        createdAt: now,
        expiresAt: now + limits.paymentTtlMs,
      };
    }),
  );
}

interface Facts {
  readonly app: AppRecord;
  readonly account: WalletAccount;
  readonly merchantWalletId: string;
}

async function facts(options: PaymentOptions, who: Principal, asked: Asked, amountMinor: number): Promise<Facts> {
  const app = await liveApp(options, who.appId);
  checkCallback(asked.callback_url, app);
  activeUser(await options.users.find(who.userId));
  const account = walletValue(await options.wallet.ensureAccount(who.userId, asked.currency), ({ code, message, details }) => {
    const told = code === 'CURRENCY_MISMATCH' || code === 'AMOUNT_EXCEEDS_LIMIT' ? code : 'USER_SUSPENDED';
    return new TmcpError(told, message, details === undefined ? {} : { details });
  });
  if (account.status === 'suspended') throw new TmcpError('USER_SUSPENDED');
  if (account.currency !== asked.currency) throw new TmcpError('CURRENCY_MISMATCH', undefined, { details: { currency: account.currency } });
  if (amountMinor > account.transactionLimitMinor) throw new TmcpError('AMOUNT_EXCEEDS_LIMIT');
  const merchant = walletValue(
    await options.wallet.ensureMerchant(app.appId, app.name),
    () => new TmcpError('MINIAPP_NOT_FOUND', 'The mini-app cannot receive payments'),
  );
  return { app, account, merchantWalletId: merchant.walletId };
}

/** The app, when it may trade. Errors: `MINIAPP_NOT_FOUND`. */
async function liveApp(options: PaymentOptions, appId: string): Promise<AppRecord> {
  const app = await options.apps.find(appId);
  if (app === undefined || app.status !== 'active') throw new TmcpError('MINIAPP_NOT_FOUND');
  return app;
}

function activeUser(user: UserProfile | undefined): void {
  if (user === undefined || user.status !== 'active') throw new TmcpError('USER_SUSPENDED');
}

/** A notice may only go where the app is at home: an https origin of one of its redirect URIs. */
function checkCallback(url: string | undefined, app: AppRecord): void {
  if (url === undefined) return;
  const target = URL.canParse(url) ? new URL(url) : undefined;
  const known = app.redirectUris.some((uri) => URL.canParse(uri) && new URL(uri).origin === target?.origin);
  if (target?.protocol !== 'https:' || target.username !== '' || target.password !== '' || !known) {
    throw invalidRequest([{ path: '/callback_url', message: 'is not on a registered https origin of the app' }]);
  }
}

/** The items in minor units. Their sum may leave room for shipping and tax, but never exceed the amount. */
function itemsOf(asked: Asked, amountMinor: number): PaymentInput['items'] {
  const items = (asked.items ?? []).map(({ item_id, name, quantity, unit_price }) => ({
    itemId: item_id,
    name,
    quantity,
    unitPriceMinor: toMinor(unit_price, asked.currency),
  }));
  // 100 items of 10^6 pieces: the sum of safe integers need not be one.
  const sum = items.reduce((total, { quantity, unitPriceMinor }) => total + BigInt(quantity) * BigInt(unitPriceMinor), 0n);
  if (sum > BigInt(amountMinor)) throw invalidRequest([{ path: '/items', message: 'cost more than the amount' }]);
  return items;
}
