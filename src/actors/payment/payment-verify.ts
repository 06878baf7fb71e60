/**
 * Answers to a payment's challenge: each is charged to the payment durably, then evaluated by the user's actor, which charges
 * it to the factor durably before it looks at it. One at a time for a payment. Credentials live in the message and in the
 * question to the user's actor, nowhere else. Rules PAY17 to PAY21 of docs/spec/payment.md.
 */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { resume } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { Command, Payment, PaymentOptions } from './payment-options.ts';
import { stepPayment } from './payment-step.ts';
import type { PaymentEvent } from './payment-types.ts';

/** Answers that may wait for the one being evaluated; one user has at most 64 requests in flight on a session. */
const maxQueued = 64;

/** Handles `tween.payment.verifyMfa` from its payer. Errors: `SERVICE_UNAVAILABLE` when too many wait. */
export function verifyMfa(options: PaymentOptions, payment: Payment, message: Message, host: ActorContext): void {
  if (payment.verifying) {
    if (payment.queue.length >= maxQueued) throw new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 });
    payment.queue.push(message);
    return;
  }
  const { machine } = payment;
  const { challenge_id: challengeId, method, credentials } = message.input as InputOf<'tween.payment.verifyMfa'>;
  const command = commandOf(message, challengeId);

  const next = (): void => {
    payment.verifying = false;
    const queued = payment.queue.shift();
    if (queued !== undefined) resume(machine, host, queued, () => verifyMfa(options, payment, queued, host));
  };
  const decided = (error: TmcpError | null): void => {
    resume(machine, host, message, () => {
      const event = eventOf(error, { at: host.now(), challengeId, method });
      // Not evaluated, as far as anyone knows; the try stays charged.
      if (event === undefined) throw new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: error?.retryAfter ?? 1, cause: error });
      stepPayment(options, payment, host, event, { command });
    });
    next();
  };
  const evaluate = (): void => host.ask(`user:${machine.context.payerUserId}`, 'mfa.check', { method, credentials, challengeId }, decided);

  let evaluating = false;
  try {
    const attempt: PaymentEvent = { type: 'mfa.attempt', at: host.now(), challengeId, method };
    // Only a charged try is evaluated, and only once it is flushed.
    const effects = stepPayment(options, payment, host, attempt, { command, onFlushed: () => (evaluating ? evaluate() : undefined) });
    evaluating = effects.some(({ type }) => type === 'mfa.evaluate');
  } finally {
    payment.verifying = evaluating;
    if (!evaluating) next();
  }
}

function commandOf(message: Message, challengeId: string): Command {
  return {
    message,
    shape: (view): OutputOf<'tween.payment.verifyMfa'> => ({
      payment_id: view.payment_id,
      challenge_id: challengeId,
      status: 'verified',
      proceed_to_processing: true,
      payment_status: view.status,
      payment: view,
    }),
  };
}

/** What the user's actor said, as an event; undefined when it did not get to a verdict. */
function eventOf(
  error: TmcpError | null,
  at: { readonly at: number; readonly challengeId: string; readonly method: string },
): PaymentEvent | undefined {
  if (error === null) return { type: 'mfa.passed', ...at };
  const failed = { type: 'mfa.failed', at: at.at, challengeId: at.challengeId } as const;
  if (error.code === 'INVALID_MFA_CREDENTIALS') return { ...failed, locked: false, lockedUntil: null };
  if (error.code !== 'MFA_LOCKED') return undefined;
  const until = error.details?.['locked_until'];
  return { ...failed, locked: true, lockedUntil: typeof until === 'string' ? Date.parse(until) : null };
}
