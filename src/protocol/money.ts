/**
 * Money: integer minor units inside, decimal major units on the wire, exact both ways. No floating-point arithmetic:
 * a JSON number is read through its shortest decimal text. Protocol section 4. Imports nothing of ours but errors.
 */
import { TmcpError } from './errors.ts';

/** Minor-unit exponent by ISO 4217 code; a code that is not here is `INVALID_CURRENCY`. */
const exponents: ReadonlyMap<string, number> = new Map([
  ['USD', 2],
  ['EUR', 2],
  ['GBP', 2],
  ['NGN', 2],
  ['CHF', 2],
  ['CAD', 2],
  ['AUD', 2],
  ['KES', 2],
  ['GHS', 2],
  ['ZAR', 2],
  ['INR', 2],
  ['JPY', 0],
  ['BHD', 3],
]);

/** Currency codes this server knows. */
export function knownCurrencies(): string[] {
  return [...exponents.keys()];
}

/** Digits after the decimal point of `currency`. Errors: `INVALID_CURRENCY`. */
export function exponentOf(currency: string): number {
  const exponent = exponents.get(currency);
  if (exponent === undefined) throw new TmcpError('INVALID_CURRENCY', undefined, { details: { currency } });
  return exponent;
}

const decimal = /^(0|[1-9]\d*)(?:\.(\d+))?$/;

/**
 * Minor units of an amount in major units, as a JSON number or a decimal string.
 * Shape: a safe integer ≥ 0. Errors: `INVALID_AMOUNT` for sign, exponent form, NaN, too many decimals or a value past
 * 2^53 - 1 minor units; `INVALID_CURRENCY`.
 */
export function toMinor(amount: number | string, currency: string): number {
  const exponent = exponentOf(currency);
  const match = decimal.exec(String(amount));
  if (match === null || (typeof amount === 'string' && amount.length > 32)) throw invalidAmount(amount);
  const whole = match[1] ?? '0';
  const fraction = (match[2] ?? '').replace(/0+$/, '');
  if (fraction.length > exponent) throw invalidAmount(amount);
  const minor = Number(whole + fraction.padEnd(exponent, '0'));
  if (!Number.isSafeInteger(minor)) throw invalidAmount(amount);
  return minor;
}

/** As `toMinor`, and zero is refused too: for amounts that move. */
export function toPositiveMinor(amount: number | string, currency: string): number {
  const minor = toMinor(amount, currency);
  if (minor === 0) throw invalidAmount(amount);
  return minor;
}

/** Major units for the wire: the JSON number whose shortest text is exact. */
export function toMajor(amountMinor: number, currency: string): number {
  return Number(toFixedMajor(amountMinor, currency));
}

/** Major units with the currency's fixed number of decimals (`75.00`): the form that is signed. */
export function toFixedMajor(amountMinor: number, currency: string): string {
  const exponent = exponentOf(currency);
  const negative = amountMinor < 0 ? '-' : '';
  const digits = String(Math.abs(amountMinor)).padStart(exponent + 1, '0');
  if (exponent === 0) return negative + digits;
  return `${negative}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

function invalidAmount(amount: number | string): TmcpError {
  return new TmcpError('INVALID_AMOUNT', undefined, { details: { amount: String(amount).slice(0, 40) } });
}
