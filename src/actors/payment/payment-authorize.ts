/**
 * Gathers what an authorization is decided by: that the app may still trade, the signature over the stored amount, the wallet's policy,
 * the payer's factors. Decides nothing itself: the machine does, in one step. Rules PAY9 to PAY16 of docs/spec/payment.md.
 */
import type { InputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { toFixedMajor, toMajor } from '../../protocol/money.ts';
import type { WalletPolicy } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { resume, worked } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { type Payment, type PaymentOptions, walletValue } from './payment-options.ts';
import { refusalCode } from './payment-rules.ts';
import type { AuthorizeFacts, PaymentContext } from './payment-types.ts';

/** A factor as the user's actor tells it. */
interface Enrolled {
  readonly type: string;
  readonly enabled: boolean;
  readonly display_name: string;
  readonly locked_until?: string;
}

/** The signed text in the forms that are taken: fixed decimals (`75.00`), and the shortest (`75`), since clients differ. */
export function signedTexts(context: Pick<PaymentContext, 'paymentId' | 'amountMinor' | 'currency'>, timestamp: string): string[] {
  const { paymentId, amountMinor, currency } = context;
  const amounts = new Set([toFixedMajor(amountMinor, currency), String(toMajor(amountMinor, currency))]);
  return [...amounts].map((amount) => `${paymentId}:${amount}:${currency}:${timestamp}`);
}

/** Gathers the facts; `decide` runs in the actor's turn. A refusal on the way answers the message. Order: cheap and local first, the wallet after a good signature. */
export function gatherFacts(
  options: PaymentOptions,
  payment: Payment,
  host: ActorContext,
  message: Message,
  decide: (facts: AuthorizeFacts) => void,
): void {
  const { machine } = payment;
  const { context } = machine;
  const asked = message.input as InputOf<'tween.payment.authorize'>;
  const payer = `user:${context.payerUserId}`;
  const then =
    <T>(part: (value: T) => void) =>
    (error: unknown, value: T | undefined) =>
      resume(machine, host, message, () => part(worked(error, value)));

  const signedAt = Date.parse(asked.timestamp);
  if (!(Math.abs(host.now() - signedAt) <= limits.signatureSkewMs))
    throw new TmcpError('INVALID_SIGNATURE', 'The signature is too old or its time is wrong');
  host.work(
    stillTrading(options, context),
    then(() => {
      const request = { deviceId: asked.device_id, texts: signedTexts(context, asked.timestamp), signature: asked.signature };
      host.ask(payer, 'device.verify', request, (refusal) =>
        resume(machine, host, message, () => {
          if (refusal !== null) throw refusal;
          host.work(
            options.wallet.policy({
              userId: context.payerUserId,
              reference: context.paymentId,
              amountMinor: context.amountMinor,
              currency: context.currency,
            }),
            then(judge),
          );
        }),
      );
    }),
  );

  const judge = (outcome: Parameters<typeof walletValue<WalletPolicy>>[0]): void => {
    const policy = walletValue(
      outcome,
      ({ code, message: text, details }) => new TmcpError(refusalCode(code), text, details === undefined ? {} : { details }),
    );
    const challengeId = options.newChallengeId();
    // Once a factor is asked for, a later and milder policy does not take it back.
    if (!policy.mfaRequired && machine.state !== 'mfa_required') {
      decide({ mfaRequired: false, methods: [], locked: false, lockedUntil: null, challengeId });
      return;
    }
    host.ask(payer, 'mfa.methods', {}, (refusal, enrolled) =>
      resume(machine, host, message, () => {
        if (refusal !== null) throw refusal;
        decide({ mfaRequired: true, challengeId, ...offered(enrolled as readonly Enrolled[], policy.methods) });
      }),
    );
  };
}

async function stillTrading(options: PaymentOptions, context: PaymentContext): Promise<void> {
  const app = await options.apps.find(context.appId);
  if (app?.status !== 'active') throw new TmcpError('FORBIDDEN', 'The mini-app may not receive payments');
  const user = await options.users.find(context.payerUserId);
  if (user?.status !== 'active') throw new TmcpError('USER_SUSPENDED');
}

/** The user's factors that the wallet takes: those free now, or until when they are all locked. An empty list of the wallet means any. */
function offered(enrolled: readonly Enrolled[], accepted: readonly string[]): Pick<AuthorizeFacts, 'methods' | 'locked' | 'lockedUntil'> {
  const usable = enrolled.filter(({ type }) => accepted.length === 0 || accepted.includes(type));
  const methods = usable.filter(({ enabled }) => enabled).map(({ type, display_name }) => ({ type, displayName: display_name }));
  const until = usable.flatMap(({ locked_until }) => (locked_until === undefined ? [] : [Date.parse(locked_until)]));
  return { methods, locked: methods.length === 0 && usable.length > 0, lockedUntil: until.length > 0 ? Math.min(...until) : null };
}
