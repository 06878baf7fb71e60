/** Snapshots and events of the payment machine, for tests of the machine alone. */
import type { AnyMachineSnapshot } from 'xstate';
import { paymentMachine } from '../../../src/actors/payment/payment.machine.ts';
import type {
  AuthorizeFacts,
  PaymentContext,
  PaymentEvent,
  PaymentInput,
  PaymentState,
} from '../../../src/actors/payment/payment-types.ts';
import { stateName } from '../../../src/actors/runtime/machine-behaviour.ts';
import { firstStep, restore, type Stepped, step } from '../../../src/actors/runtime/step.ts';

export const createdAt = Date.UTC(2026, 0, 1);

export const input: PaymentInput = {
  paymentId: 'pay_1',
  payerUserId: '@alice:tween.example',
  payerWalletId: 'wal_1',
  appId: 'ma_demo_shop',
  merchantName: 'Demo shop',
  merchantWalletId: 'wal_2',
  amountMinor: 7_500,
  currency: 'USD',
  description: 'Two tickets',
  merchantOrderId: 'order-1',
  items: [],
  callbackUrl: null,
  metadata: null,
  inputHash: 'hash',
  createdAt,
  expiresAt: createdAt + 300_000,
};

export const states: readonly PaymentState[] = [
  'pending_authorization',
  'mfa_required',
  'processing.charging',
  'processing.unknown',
  'processing.settling',
  'processing.unresolved',
  'completed',
  'failed',
  'cancelled',
  'expired',
];

/** Ids of the machine's timers, each the event that it fires. */
export const timers = {
  pending: 'xstate.after.authorizationLeft.payment.pending_authorization',
  mfa: 'xstate.after.authorizationLeft.payment.mfa_required',
  requery: 'xstate.after.requeryPause.payment.processing.unknown',
  unresolved: 'xstate.after.unresolvedPause.payment.processing.unresolved',
} as const;

export const totp = { type: 'totp', displayName: 'Authenticator app' };

export function factsOf(more: Partial<AuthorizeFacts> = {}): AuthorizeFacts {
  return { mfaRequired: true, methods: [totp], locked: false, lockedUntil: null, challengeId: 'mfa_ch_2', ...more };
}

/** The context that a payment has when it is in `state`. */
export function contextIn(state: PaymentState): PaymentContext {
  const fresh = firstStep(paymentMachine, input).snapshot.context as PaymentContext;
  if (state === 'pending_authorization') return fresh;
  const challenged = { ...fresh, deviceId: 'phone', challenge: { id: 'mfa_ch_1', methods: [totp], expiresAt: createdAt + 120_000 } };
  if (state === 'mfa_required' || state === 'cancelled' || state === 'expired') return challenged;
  const charging = { ...challenged, attempts: 1, passedChallengeId: 'mfa_ch_1', intentAt: createdAt + 1_000 };
  if (state === 'completed') return { ...charging, txnId: 'txn_1', completedAt: createdAt + 2_000 };
  if (state === 'failed') return { ...charging, error: { code: 'INSUFFICIENT_FUNDS', message: 'too little', details: null } };
  return { ...charging, queries: state === 'processing.charging' ? 0 : 1 };
}

export function snapshotIn(state: PaymentState, more: Partial<PaymentContext> = {}): AnyMachineSnapshot {
  const [outer = '', inner] = state.split('.');
  return restore(paymentMachine, { value: inner === undefined ? outer : { [outer]: inner }, context: { ...contextIn(state), ...more } });
}

/** One event of every name, such as it comes when all goes well, 3 s after the request. */
export const usual: { readonly [T in PaymentEvent['type']]: Extract<PaymentEvent, { type: T }> } = {
  'payment.authorize': {
    type: 'payment.authorize',
    at: createdAt + 3_000,
    deviceId: 'phone',
    facts: factsOf(),
    evidence: { timestamp: 't', signature: 's' },
  },
  'payment.cancel': { type: 'payment.cancel', at: createdAt + 3_000, reason: null },
  'mfa.attempt': { type: 'mfa.attempt', at: createdAt + 3_000, challengeId: 'mfa_ch_1', method: 'totp' },
  'mfa.passed': { type: 'mfa.passed', at: createdAt + 3_000, challengeId: 'mfa_ch_1', method: 'totp' },
  'mfa.failed': { type: 'mfa.failed', at: createdAt + 3_000, challengeId: 'mfa_ch_1', locked: false, lockedUntil: null },
  'wallet.charged': { type: 'wallet.charged', at: createdAt + 3_000, txnId: 'txn_1', bookedAt: createdAt + 2_000 },
  'wallet.refused': { type: 'wallet.refused', at: createdAt + 3_000, code: 'INSUFFICIENT_FUNDS', message: 'too little', details: null },
  'wallet.unknown': { type: 'wallet.unknown', at: createdAt + 3_000, reason: 'timeout' },
  'wallet.unavailable': { type: 'wallet.unavailable', at: createdAt + 3_000, reason: 'down' },
  'wallet.unresolved': { type: 'wallet.unresolved', at: createdAt + 3_000, reason: 'forgotten' },
};

/** What a step came to, on one line: `state: effect, effect(CODE)`; `–` when it meant nothing. */
export function told({ snapshot, effects, ignored }: Stepped): string {
  if (ignored) return '–';
  const names = effects.map(({ type, params }) => (type === 'reject' ? `reject(${params.code})` : type));
  return names.length === 0 ? stateName(snapshot.value) : `${stateName(snapshot.value)}: ${names.join(', ')}`;
}

export function stepIn(
  state: PaymentState,
  event: { readonly type: string; readonly [member: string]: unknown },
  more: Partial<PaymentContext> = {},
): Stepped {
  return step(paymentMachine, snapshotIn(state, more), event);
}
