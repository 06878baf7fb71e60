import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { exponentOf, knownCurrencies, toFixedMajor, toMajor, toMinor, toPositiveMinor } from '../../../src/protocol/money.ts';

function codeOf(fn: () => unknown): string {
  try {
    fn();
  } catch (thrown) {
    if (thrown instanceof TmcpError) return thrown.code;
    throw thrown;
  }
  return expect.fail('nothing was thrown');
}

const currency = fc.constantFrom(...knownCurrencies());
/** Up to here every amount has a decimal text of at most 15 digits, which a double always gives back. */
const exactAsNumber = 999_999_999_999_999;

describe('money', () => {
  it('toMinor undoes toMajor', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: exactAsNumber }), currency, (minor, code) => {
        expect(toMinor(toMajor(minor, code), code)).toBe(minor);
      }),
      { numRuns: 2_000 },
    );
  });

  it('toMinor undoes toFixedMajor, for every safe amount', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), currency, (minor, code) => {
        const text = toFixedMajor(minor, code);
        expect(toMinor(text, code)).toBe(minor);
        expect(text).toMatch(exponentOf(code) === 0 ? /^\d+$/ : new RegExp(`^\\d+\\.\\d{${exponentOf(code)}}$`));
      }),
      { numRuns: 2_000 },
    );
  });

  it('toMajor undoes toMinor for numbers with two decimals', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 12 }), (cents) => {
        const amount = cents / 100;
        expect(toMajor(toMinor(amount, 'USD'), 'USD')).toBe(amount);
      }),
    );
  });

  it.each<[number | string, string, number]>([
    [75, 'USD', 7_500],
    [75.0, 'USD', 7_500],
    ['75.00', 'USD', 7_500],
    ['75.5', 'USD', 7_550],
    [0.1, 'USD', 10],
    [0.29, 'USD', 29],
    [1.1, 'USD', 110],
    [4.35, 'USD', 435],
    [0, 'USD', 0],
    ['0.00', 'USD', 0],
    ['1.10000', 'USD', 110],
    [100, 'JPY', 100],
    ['100.0', 'JPY', 100],
    [1.234, 'BHD', 1_234],
    ['90071992547409.91', 'USD', Number.MAX_SAFE_INTEGER],
  ])('%j %s is %i minor units', (amount, code, minor) => {
    expect(toMinor(amount, code)).toBe(minor);
  });

  it.each<[string, number | string, string]>([
    ['negative', -1, 'USD'],
    ['negative text', '-1', 'USD'],
    ['with a plus sign', '+1', 'USD'],
    ['too many decimals', 0.001, 'USD'],
    ['too many decimals in text', '1.001', 'USD'],
    ['a sum that is no two-decimal number', 0.1 + 0.2, 'USD'],
    ['decimals of a currency without', 1.5, 'JPY'],
    ['four decimals of a currency with three', '1.2345', 'BHD'],
    ['NaN', Number.NaN, 'USD'],
    ['infinity', Number.POSITIVE_INFINITY, 'USD'],
    ['exponent form', 1e21, 'USD'],
    ['a tiny exponent form', 1e-7, 'USD'],
    ['exponent text', '1e2', 'USD'],
    ['past 2^53 - 1 minor units', '90071992547409.92', 'USD'],
    ['past it as a number', 90_071_992_547_410, 'USD'],
    ['a leading zero', '01', 'USD'],
    ['no digit before the point', '.5', 'USD'],
    ['no digit behind the point', '5.', 'USD'],
    ['a space', ' 1', 'USD'],
    ['a newline behind', '1\n', 'USD'],
    ['a thousands separator', '1,000', 'USD'],
    ['hexadecimal', '0x10', 'USD'],
    ['digits of another script', '١', 'USD'],
    ['no text', '', 'USD'],
    ['more than 32 characters', `1.${'0'.repeat(31)}`, 'USD'],
  ])('an amount is refused: %s', (_, amount, code) => {
    expect(codeOf(() => toMinor(amount, code))).toBe('INVALID_AMOUNT');
  });

  it('an unknown currency is refused before the amount is looked at', () => {
    for (const code of ['XXX', 'usd', '', 'toString', '__proto__']) {
      expect(codeOf(() => toMinor(Number.NaN, code))).toBe('INVALID_CURRENCY');
      expect(codeOf(() => toMajor(1, code))).toBe('INVALID_CURRENCY');
    }
  });

  it('an amount that moves is not zero', () => {
    expect(toPositiveMinor(0.01, 'USD')).toBe(1);
    for (const zero of [0, -0, '0', '0.00']) expect(codeOf(() => toPositiveMinor(zero, 'USD'))).toBe('INVALID_AMOUNT');
  });

  it('the signed form has the decimals of its currency', () => {
    expect([
      toFixedMajor(7_500, 'USD'),
      toFixedMajor(5, 'USD'),
      toFixedMajor(0, 'USD'),
      toFixedMajor(75, 'JPY'),
      toFixedMajor(1, 'BHD'),
    ]).toEqual(['75.00', '0.05', '0.00', '75', '0.001']);
    expect(toFixedMajor(-7_505, 'USD')).toBe('-75.05');
  });

  it('a refused amount is told back shortened', () => {
    try {
      toMinor('9'.repeat(500), 'USD');
      expect.fail('accepted');
    } catch (thrown) {
      expect((thrown as TmcpError).details).toEqual({ amount: '9'.repeat(40) });
    }
  });
});
