/**
 * Checks of a second factor: charged durably first, looked at second, and the verdict durable before it is told. What is
 * charged and never looked at (a crash between the two) stays charged. Credentials live in the message only.
 * Rules MFA1 to MFA16 of docs/spec/mfa.md.
 */
import { TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { UserCipher } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { resume, settleLater, worked } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { checkNewPin, checkNewTotpSecret, pinForm, totpStep } from './credentials.ts';
import { counts, hasProof, isBlocked, isLocked } from './factor-rules.ts';
import type { User, UserOptions } from './user-options.ts';
import { stepUser } from './user-step.ts';
import { type Method, methods, type UserContext, type UserEvent } from './user-types.ts';

const displayNames: Readonly<Record<Method, string>> = { transaction_pin: 'Transaction PIN', totp: 'Authenticator app' };

/** A factor as `tween.mfa.getMethods` shows it. */
export interface MethodView {
  readonly type: Method;
  readonly enabled: boolean;
  readonly display_name: string;
  readonly locked_until?: string;
}

/** A question to a factor. `challengeId`: a proof for it is remembered, so that its owner may ask again after a crash. */
export interface FactorCheck {
  readonly method: string;
  readonly credentials: { readonly pin?: string; readonly code?: string };
  readonly challengeId?: string;
}

/** The factors that are enrolled; one that is locked now is not `enabled`. */
export function enrolledMethods(context: UserContext, now: number): MethodView[] {
  return methods
    .filter((method) => context.factors[method].sealed !== null)
    .map((method) => {
      const factor = context.factors[method];
      const until = !isBlocked(factor) && isLocked(factor, now) ? factor.lockedUntil : null;
      return {
        type: method,
        enabled: !isBlocked(factor) && until === null,
        display_name: displayNames[method],
        ...(until === null ? {} : { locked_until: toIso(until) }),
      };
    });
}

/**
 * Checks credentials. Answers `{ok: true}`, or with what `success` makes of a pass: its events are committed with the pass.
 * Errors: `INVALID_MFA_CREDENTIALS`; `MFA_LOCKED` with `locked_until`, also for right credentials; `SERVICE_UNAVAILABLE`
 * when it was not looked at (the try stays charged).
 */
export function checkFactor(
  options: UserOptions,
  user: User,
  message: Message,
  host: ActorContext,
  check: FactorCheck,
  success: { readonly events: () => readonly UserEvent[]; readonly result: (context: UserContext) => unknown } = {
    events: () => [],
    result: () => ({ ok: true }),
  },
): void {
  const { machine } = user;
  const method = methods.find((known) => known === check.method);
  if (method === undefined) throw new TmcpError('INVALID_MFA_CREDENTIALS');
  const challengeId = check.challengeId ?? null;
  if (challengeId !== null && hasProof(machine.context.factors[method], challengeId, host.now())) {
    // Proven already; the asker did not live to hear it. The proof opens this challenge and nothing else.
    settleLater(machine, host, { message, result: { ok: true } });
    return;
  }
  const conclude = (tried: number, matched: boolean, step: number | null): void => {
    const at = host.now();
    const events: UserEvent[] = matched
      ? [{ type: 'mfa.passed', at, method, try: tried, step, challengeId }]
      : [{ type: 'mfa.failed', at, method, try: tried }];
    // A step that another try has used meanwhile is no pass, and then nothing may follow from it.
    const used = matched && !counts(machine.context.factors[method], { try: tried, step });
    stepUser(user, host, matched && !used ? [...events, ...success.events()] : events, { message, method, result: success.result });
  };
  const charge = (evaluate: (tried: number) => void): void =>
    stepUser(user, host, [{ type: 'mfa.charge', at: host.now(), method }], {
      message,
      method,
      result: () => undefined,
      onFlushed: (effects) =>
        resume(machine, host, message, () => evaluate(Number(effects.find(({ type }) => type === 'mfa.evaluate')?.params.try))),
    });
  if (method === 'totp') {
    // A key that cannot be had is no try of the user's: it is fetched before anything is charged.
    withCipher(options, user, message, host, (cipher) =>
      charge((tried) =>
        evaluateTotp(user, host, cipher, check.credentials.code ?? '', (step) => conclude(tried, step !== undefined, step ?? null)),
      ),
    );
    return;
  }
  charge((tried) => evaluatePin(options, user, message, host, check.credentials.pin ?? '', (matched) => conclude(tried, matched, null)));
}

function evaluatePin(
  options: UserOptions,
  { machine }: User,
  message: Message,
  host: ActorContext,
  pin: string,
  then: (matched: boolean) => void,
): void {
  const { sealed } = machine.context.factors.transaction_pin;
  if (sealed === null) throw new TmcpError('INVALID_MFA_CREDENTIALS');
  host.work(options.hasher.verify(sealed, pinForm(pin)), (error, matched) =>
    resume(machine, host, message, () => then(worked(error, matched))),
  );
}

function evaluateTotp(
  { machine }: User,
  host: ActorContext,
  cipher: UserCipher,
  code: string,
  then: (step: number | undefined) => void,
): void {
  const { sealed, lastStep } = machine.context.factors.totp;
  then(sealed === null ? undefined : totpStep(openSecret(cipher, host.id, sealed), code, host.now(), lastStep));
}

/** What a factor is enrolled with. Exactly one of both is given. */
export interface Enrolment {
  readonly pin?: string;
  readonly totpSecret?: string;
}

/** Enrols a factor; the very same one again changes nothing. Errors: `WEAK_PIN`, `INVALID_REQUEST`. */
export function enrolFactor(options: UserOptions, user: User, message: Message, host: ActorContext, { pin, totpSecret }: Enrolment): void {
  const { machine } = user;
  const enrolled = (method: Method, sealed: string): void =>
    stepUser(user, host, [{ type: 'mfa.enrolled', at: host.now(), method, sealed }], { message, result: () => ({ ok: true }) });
  const unchanged = (): void => settleLater(machine, host, { message, result: { ok: true } });
  if (pin !== undefined) {
    checkNewPin(pin);
    const { sealed } = machine.context.factors.transaction_pin;
    const form = pinForm(pin);
    const work = async (): Promise<string | undefined> =>
      sealed !== null && (await options.hasher.verify(sealed, form)) ? undefined : options.hasher.hash(form);
    host.work(work(), (error, hash) =>
      resume(machine, host, message, () => {
        const fresh = worked(error, hash);
        if (fresh === undefined) unchanged();
        else enrolled('transaction_pin', fresh);
      }),
    );
    return;
  }
  if (totpSecret === undefined) throw new TmcpError('INVALID_REQUEST', 'neither a PIN nor a TOTP secret');
  checkNewTotpSecret(totpSecret);
  withCipher(options, user, message, host, (cipher) => {
    const { sealed } = machine.context.factors.totp;
    if (sealed !== null && openSecret(cipher, host.id, sealed) === totpSecret) unchanged();
    else enrolled('totp', Buffer.from(cipher.encrypt(Buffer.from(totpSecret), placeOf(host.id))).toString('base64'));
  });
}

function withCipher(options: UserOptions, user: User, message: Message, host: ActorContext, then: (cipher: UserCipher) => void): void {
  if (user.cipher !== undefined) {
    then(user.cipher);
    return;
  }
  host.work(options.keys.forUser(host.id), (error, cipher) =>
    resume(user.machine, host, message, () => {
      user.cipher = worked(error, cipher);
      then(user.cipher);
    }),
  );
}

function openSecret(cipher: UserCipher, userId: string, sealed: string): string {
  return Buffer.from(cipher.decrypt(Buffer.from(sealed, 'base64'), placeOf(userId))).toString();
}

/** Binds the ciphertext to its place: it opens nowhere else. */
function placeOf(userId: string): string {
  return `user:${userId}|totp`;
}
