/**
 * Carries a payment's charge to the wallet, outside the actor: the runners of the outbox rows `wallet.charge` and
 * `wallet.settle`. Both may run more than once for one payment; the key is the same every time, and whoever may not be the
 * first asks before he posts. Rules PAY22 to PAY27 of docs/spec/payment.md.
 */
import type { ChargeRequest, Clock, OutboxRow, Wallet } from '../ports.ts';
import type { EffectRunner } from '../runtime/outbox.ts';
import { type ChargeOutcome, repostHorizonMs } from './payment-rules.ts';

/**
 * The runners. `wallet.charge`: posts when this process wrote the row, asks first when another may have tried.
 * `wallet.settle`: asks by reference, and posts again, with the same key, only when the wallet says that it never booked
 * one and the intent is younger than `repostHorizonMs`. Errors: none; a wallet that throws has left the outcome unknown.
 */
export function createChargeRunner(wallet: Wallet, clock: Pick<Clock, 'now'>): Record<'wallet.charge' | 'wallet.settle', EffectRunner> {
  const post = async (row: OutboxRow): Promise<ChargeOutcome> => {
    // The journal may have been slow: the same horizon holds for a first try that starts late.
    if (clock.now() - intentOf(row) >= repostHorizonMs)
      return { kind: 'unresolved', reason: 'the wallet knows of no charge, and may have forgotten the key' };
    return wallet.charge(requestOf(row));
  };
  const settle = async (row: OutboxRow): Promise<ChargeOutcome> => {
    const found = await wallet.findCharge(requestOf(row).reference);
    if (found.kind !== 'done') return found;
    return found.value === null ? post(row) : { kind: 'done', value: found.value };
  };
  return {
    'wallet.charge': (row, { recovered }) => told(recovered ? settle(row) : post(row)),
    'wallet.settle': (row) => told(settle(row)),
  };
}

async function told(outcome: Promise<ChargeOutcome>): Promise<ChargeOutcome> {
  try {
    return await outcome;
  } catch (error) {
    return { kind: 'unknown', reason: error instanceof Error ? error.message : 'the wallet failed' };
  }
}

function intentOf(row: OutboxRow): number {
  return Number(row.payload['intent_at']);
}

function requestOf({ payload }: OutboxRow): ChargeRequest {
  return {
    reference: String(payload['reference']),
    idempotencyKey: String(payload['idempotency_key']),
    payerUserId: String(payload['payer_user_id']),
    merchantAppId: String(payload['merchant_app_id']),
    amountMinor: Number(payload['amount_minor']),
    currency: String(payload['currency']),
    description: String(payload['description']),
  };
}
