/**
 * One step of a payment with all that follows from it: who is answered by which effect, who is told. An answer leaves with
 * the commit of the step it belongs to. Rules PAY22 to PAY32 of docs/spec/payment.md.
 */
import type { UserEvent } from '../ports.ts';
import type { ActorContext, Settlement, Write } from '../runtime/behaviour.ts';
import { type Advanced, advance, type Conclusion, type MachineEvent, timerFired } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { Effect } from '../runtime/step.ts';
import type { Command, Payment, PaymentOptions } from './payment-options.ts';
import type { PaymentContext } from './payment-types.ts';
import { challengeError, rejectionError, updateOf, viewOf, waitedError } from './payment-view.ts';

export interface StepOptions {
  /** The command that the machine's answer is for. */
  readonly command?: Command;
  readonly done?: Pick<Write, 'outboxDone'>;
  /** Runs when the step is flushed, in the actor's turn. */
  readonly onFlushed?: () => void;
}

/** Steps the machine by one event. Gives the step's effects. Errors: as `advance`; nothing is kept then. */
export function stepPayment(
  options: PaymentOptions,
  payment: Payment,
  host: ActorContext,
  event: MachineEvent,
  extra: StepOptions = {},
): readonly Effect[] {
  let effects: readonly Effect[] = [];
  const follow = following(options, payment, host, extra);
  advance(
    payment.machine,
    host,
    [event],
    (advanced) => {
      effects = advanced.effects;
      return follow.conclude(advanced);
    },
    extra.done,
  );
  follow.apply();
  return effects;
}

/** Steps the machine by a timer. */
export function stepTimer(options: PaymentOptions, payment: Payment, host: ActorContext, message: Message): void {
  const follow = following(options, payment, host, {});
  timerFired(payment.machine, host, message, follow.conclude);
  follow.apply();
}

/** `conclude` only reads; `apply` changes what is waited for, once the commit is taken. */
function following(options: PaymentOptions, payment: Payment, host: ActorContext, { command, onFlushed }: StepOptions) {
  let { waiting } = payment;
  return {
    conclude(advanced: Advanced<PaymentContext>): Conclusion {
      const settle: Settlement[] = [];
      const answer = command === undefined ? 'later' : answerOf(command, advanced, host.now());
      if (answer === 'wait' && command !== undefined) waiting = [...waiting, command];
      else if (typeof answer === 'object') settle.push(answer);
      // The outcome is known, or known to be unknown: nobody waits any longer.
      if (advanced.state !== 'processing.charging') {
        settle.push(...waiting.map((one) => outcomeOf(one, advanced, host.now())));
        waiting = [];
      }
      const after = (): void => {
        tell(options, host, advanced);
        onFlushed?.();
      };
      return { settle, after };
    },
    apply(): void {
      payment.waiting = waiting;
    },
  };
}

/** What a command gets by the machine's own answer; `wait`: the charge's outcome; `later`: a step still to come answers it. */
function answerOf(
  { message, shape }: Command,
  { effects, state, context }: Advanced<PaymentContext>,
  now: number,
): Settlement | 'wait' | 'later' {
  for (const { type, params } of effects) {
    if (type === 'reject') return { message, error: rejectionError(params, state, context, now) };
    if (type === 'show') return { message, result: shape(viewOf(state, context)) };
    if (type === 'challenge') return { message, error: challengeError(context) };
    if (type === 'wait') return 'wait';
    if (type === 'mfa.evaluate') return 'later';
  }
  throw new Error(`nothing answers ${message.type} in ${state}`);
}

function outcomeOf({ message, shape }: Command, { state, context }: Advanced<PaymentContext>, now: number): Settlement {
  const error = waitedError(state, context, now);
  return error === undefined ? { message, result: shape(viewOf(state, context)) } : { message, error };
}

function tell(options: PaymentOptions, host: ActorContext, { effects, state, context }: Advanced<PaymentContext>): void {
  const to: Pick<UserEvent, 'userId' | 'appId'> = { userId: context.payerUserId, appId: context.appId };
  if (effects.some(({ type }) => type === 'announce')) {
    host.publish({
      ...to,
      scopes: ['wallet:pay'],
      method: 'tween.payment.updated',
      params: updateOf(state, context),
      key: context.paymentId,
    });
  }
  for (const { type, params } of effects) {
    if (type === 'announce.wallet')
      host.publish({
        userId: to.userId,
        scopes: ['wallet:balance', 'wallet:history'],
        method: 'tween.wallet.updated',
        params: { wallet_id: context.payerWalletId },
        key: context.payerWalletId,
      });
    else if (type === 'alarm') options.onAlarm?.(context.paymentId, params.what);
  }
}
