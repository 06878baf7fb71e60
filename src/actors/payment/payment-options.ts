/** What the payment actor needs from outside, and what it keeps in memory beside its machine. */
import { TmcpError } from '../../protocol/errors.ts';
import type { AppDirectory, Clock, UserDirectory, Wallet, WalletOutcome } from '../ports.ts';
import type { Message } from '../runtime/message.ts';
import type { MachineActor } from '../runtime/machine-behaviour.ts';
import type { PaymentContext } from './payment-types.ts';
import type { PaymentViewValue } from '../../protocol/operations/payment.ts';

export interface PaymentOptions {
  readonly wallet: Wallet;
  readonly apps: AppDirectory;
  readonly users: UserDirectory;
  readonly clock: Pick<Clock, 'now'>;
  /** A fresh `mfa_ch_…` id. */
  newChallengeId(): string;
  /** Currencies taken; all known ones when absent. */
  readonly currencies?: ReadonlySet<string>;
  /** Told of what a person must look at: a charge whose fate cannot be told, a wallet that contradicts itself. */
  readonly onAlarm?: (paymentId: string, what: string) => void;
}

/** A command, and how its success is shaped around the view. */
export interface Command {
  readonly message: Message;
  readonly shape: (view: PaymentViewValue) => unknown;
}

export interface Payment {
  readonly machine: MachineActor<PaymentContext>;
  /** Commands whose answer is the charge's outcome. */
  waiting: readonly Command[];
  /** One answer to a challenge is evaluated at a time; later ones wait here. */
  verifying: boolean;
  readonly queue: Message[];
}

/**
 * The value of a wallet's read. Errors: `SERVICE_UNAVAILABLE` with `retry_after` when the wallet is away or tells nothing;
 * what `refused` makes of a refusal.
 */
export function walletValue<T>(
  outcome: WalletOutcome<T>,
  refused: (refusal: Extract<WalletOutcome<T>, { kind: 'refused' }>) => TmcpError,
): T {
  if (outcome.kind === 'done') return outcome.value;
  if (outcome.kind === 'refused') throw refused(outcome);
  const retryAfter = outcome.kind === 'unavailable' ? Math.max(1, Math.ceil(outcome.retryAfterMs / 1_000)) : 1;
  throw new TmcpError('SERVICE_UNAVAILABLE', 'The wallet does not answer right now', { retryAfter });
}
