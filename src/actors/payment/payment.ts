/**
 * The payment actor: commands become machine events, effects become answers, rows and events. Facts are gathered first and
 * the machine decides in one step; intent is committed before the wallet is called, the result before anyone is answered.
 * Never holds credentials longer than their evaluation. Protocol sections 14 and 15; rules of docs/spec/payment.md.
 */
import type { InputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import type { Principal } from '../ports.ts';
import type { ActorContext, Behaviour } from '../runtime/behaviour.ts';
import { abandon, type MachineDefinition, receiveInto, resume, reviveMachine, settleLater } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { paymentMachine, paymentMachineVersion } from './payment.machine.ts';
import { gatherFacts } from './payment-authorize.ts';
import type { Command, Payment, PaymentOptions } from './payment-options.ts';
import { gatherRequest } from './payment-request.ts';
import { walletEvent } from './payment-rules.ts';
import { stepPayment, stepTimer } from './payment-step.ts';
import type { PaymentContext, PaymentEvent } from './payment-types.ts';
import { verifyMfa } from './payment-verify.ts';
import { viewOf } from './payment-view.ts';

/** Every member of a context, so that a stored one that lacks some is told from a whole one. */
const members: Readonly<Record<keyof PaymentContext, true>> = {
  paymentId: true,
  payerUserId: true,
  payerWalletId: true,
  appId: true,
  merchantName: true,
  merchantWalletId: true,
  amountMinor: true,
  currency: true,
  description: true,
  merchantOrderId: true,
  items: true,
  callbackUrl: true,
  metadata: true,
  inputHash: true,
  createdAt: true,
  expiresAt: true,
  challenge: true,
  attempts: true,
  passedChallengeId: true,
  deviceId: true,
  intentAt: true,
  queries: true,
  txnId: true,
  completedAt: true,
  error: true,
};

/** The payment machine as its host sees it. */
export const paymentDefinition: MachineDefinition = {
  machine: paymentMachine,
  version: paymentMachineVersion,
  upcasts: {},
  fits: (context) => typeof context === 'object' && context !== null && Object.keys(members).every((member) => member in context),
  outbox: new Set(['wallet.charge', 'wallet.settle']),
};

/** The behaviour of `payment:{payment_id}`. */
export function createPaymentBehaviour(options: PaymentOptions): Behaviour<Payment> {
  return {
    kind: 'payment',
    machineVersion: paymentMachineVersion,
    load: (_id, stored) => ({
      machine: reviveMachine<PaymentContext>(paymentDefinition, stored),
      waiting: [],
      verifying: false,
      queue: [],
    }),
    receive: (payment, message, host) => receiveInto(payment.machine, message, () => receive(options, payment, message, host)),
    busy: ({ machine }) => machine.owed.size > 0,
    abandoned: ({ machine }) => abandon(machine),
  };
}

type Handler = (options: PaymentOptions, payment: Payment, message: Message, host: ActorContext) => void;

/** For the payer alone. */
const owned =
  (handler: Handler): Handler =>
  (options, payment, message, host) => {
    own(payment, message.who);
    handler(options, payment, message, host);
  };

const handlers: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['tween.wallet.pay', request],
  [
    'tween.payment.get',
    owned((_options, { machine }, message, host) =>
      settleLater(machine, host, { message, result: viewOf(machine.state, machine.context) }),
    ),
  ],
  ['tween.payment.authorize', owned(authorize)],
  ['tween.payment.verifyMfa', owned(verifyMfa)],
  ['tween.payment.cancel', owned(cancel)],
  ['outbox.done', outboxDone],
  ['timer.fired', timer],
]);

function receive(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  const handler = handlers.get(message.type);
  if (handler === undefined) throw new Error(`a payment does not take ${message.type}`);
  handler(options, payment, message, host);
}

function cancel(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  const { reason } = message.input as InputOf<'tween.payment.cancel'>;
  stepPayment(
    options,
    payment,
    host,
    { type: 'payment.cancel', at: host.now(), reason: reason ?? null },
    { command: viewCommand(message) },
  );
}

function outboxDone(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  const { machine } = payment;
  const { id, outcome } = message.input as { readonly id: string; readonly outcome: unknown };
  stepPayment(options, payment, host, walletEvent(machine.context, outcome, host.now()), { done: { outboxDone: [id] } });
  settleLater(machine, host, { message, result: {} });
}

function timer(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  stepTimer(options, payment, host, message);
  settleLater(payment.machine, host, { message, result: {} });
}

/** Errors: `PAYMENT_NOT_FOUND` for everyone but the payer in the app that asked; also when there is no such payment. */
function own({ machine }: Payment, who: Principal | null): void {
  if (machine.snapshot === undefined || who === null || who.userId !== machine.context.payerUserId || who.appId !== machine.context.appId) {
    throw new TmcpError('PAYMENT_NOT_FOUND');
  }
}

function viewCommand(message: Message): Command {
  return { message, shape: (view) => view };
}

function request(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  const { machine } = payment;
  const { who } = message;
  if (who === null) throw new Error('a payment needs a caller');
  /** The first answer under the key may be forgotten by now; the payment is not. */
  const answeredFromHistory = (): boolean => {
    if (machine.snapshot === undefined) return false;
    own(payment, who);
    if (machine.context.inputHash !== (message.idempotency?.inputHash ?? null)) throw new TmcpError('DUPLICATE_TRANSACTION');
    settleLater(machine, host, { message, result: viewOf(machine.state, machine.context) });
    return true;
  };
  if (answeredFromHistory()) return;
  gatherRequest(options, host, message, who, (found) =>
    resume(machine, host, message, () => {
      const input = found();
      if (answeredFromHistory()) return;
      stepPayment(options, payment, host, { type: 'payment.requested', at: input.createdAt, input }, { command: viewCommand(message) });
    }),
  );
}

function authorize(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  const { machine } = payment;
  const { device_id: deviceId, timestamp, signature } = message.input as InputOf<'tween.payment.authorize'>;
  const command = viewCommand(message);
  if (machine.state !== 'pending_authorization' && machine.state !== 'mfa_required') {
    // Nothing is granted any more: the same signature again is told how it went, however old it is.
    stepPayment(options, payment, host, { type: 'payment.authorize', at: host.now(), deviceId, facts: null, evidence: null }, { command });
    return;
  }
  gatherFacts(options, payment, host, message, (facts) => {
    const event: PaymentEvent = { type: 'payment.authorize', at: host.now(), deviceId, facts, evidence: { timestamp, signature } };
    stepPayment(options, payment, host, event, { command });
  });
}
