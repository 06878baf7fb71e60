/**
 * What a PIN and a TOTP code must look like and how they are compared. PINs are compared by slow hash, off the loop; codes
 * by RFC 6238 with at most one step of drift and no step twice. Holds nothing. Rules MFA10 to MFA16 of docs/spec/mfa.md.
 */
import { createHash } from 'node:crypto';
import { verifySync } from 'otplib';
import { TmcpError } from '../../protocol/errors.ts';

/** RFC 6238: one step either side of the server's. */
const stepS = 30;

/** The form in which PINs meet the hasher: SHA-256 in hex, so that a clear PIN and one hashed by the client are one. */
export function pinForm(pin: string): string {
  return /^[0-9a-f]{64}$/.test(pin) ? pin : createHash('sha256').update(pin).digest('hex');
}

/** Refuses a PIN that is easy to guess. Errors: `WEAK_PIN`: not 6 to 12 digits, one digit throughout, or a run up or down. */
export function checkNewPin(pin: string): void {
  if (!/^[0-9]{6,12}$/.test(pin)) throw new TmcpError('WEAK_PIN', 'A PIN has 6 to 12 digits');
  const digits = [...pin].map(Number);
  const steps = new Set(digits.slice(1).map((digit, index) => (digit - (digits[index] ?? 0) + 10) % 10));
  // One step throughout: 0 repeats a digit, 1 and 9 run up and down, over the end as well.
  const [only] = steps;
  if (steps.size === 1 && (only === 0 || only === 1 || only === 9)) throw new TmcpError('WEAK_PIN');
}

/**
 * The time step whose code this is; undefined when it is none, or one not after `lastStep`. Never throws: a clock that went back behind
 * the last step, and a secret that cannot be read, match nothing.
 */
export function totpStep(secret: string, code: string, now: number, lastStep: number | null): number | undefined {
  try {
    const result = verifySync({
      secret,
      token: code,
      epoch: Math.floor(now / 1_000),
      epochTolerance: stepS,
      ...(lastStep === null ? {} : { afterTimeStep: lastStep }),
    });
    return result.valid && 'timeStep' in result ? result.timeStep : undefined;
  } catch {
    // otplib throws when the clock is behind the last step taken: refused, as the step may have been used.
    return undefined;
  }
}

/** Refuses a secret that no authenticator could hold. Errors: `INVALID_REQUEST`: not base 32 of at least 128 bits (RFC 4226). */
export function checkNewTotpSecret(secret: string): void {
  if (!/^[A-Z2-7]{26,128}$/.test(secret)) throw new TmcpError('INVALID_REQUEST', 'totpSecret: is not base 32 of at least 128 bits');
}
