/** PINs and codes: forms, weakness, time steps. */
import { createHash } from 'node:crypto';
import { generateSync } from 'otplib';
import { describe, expect, it } from 'vitest';
import { checkNewPin, checkNewTotpSecret, pinForm, totpStep } from '../../../src/actors/user/credentials.ts';

const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const now = 1_767_225_610_000;
const stepNow = Math.floor(now / 30_000);
const codeAt = (steps: number) => generateSync({ secret, epoch: Math.floor(now / 1_000) + steps * 30 });

describe('PIN', () => {
  it('[MFA10] clear and hashed by the client are one', () => {
    expect(pinForm('493817')).toBe(pinForm(createHash('sha256').update('493817').digest('hex')));
  });

  it.each(['12345', '111111', '123456', '654321', '890123', '321098', '1234567890123', '12345a', ''])('[MFA11] %s is refused', (pin) => {
    expect(() => checkNewPin(pin)).toThrow(expect.objectContaining({ code: 'WEAK_PIN' }));
  });

  it.each(['493817', '112233', '135791', '493817493817'])('[MFA11] %s is taken', (pin) => {
    expect(() => checkNewPin(pin)).not.toThrow();
  });
});

describe('TOTP', () => {
  it.each([
    [-2, undefined],
    [-1, stepNow - 1],
    [0, stepNow],
    [1, stepNow + 1],
    [2, undefined],
  ])('[MFA12] a code %d steps away gives %s', (steps, expected) => {
    expect(totpStep(secret, codeAt(steps), now, null)).toBe(expected);
  });

  it.each([
    [stepNow - 1, stepNow],
    [stepNow, undefined],
    [stepNow + 1, undefined],
  ])('[MFA12] after step %d the present code gives %s', (lastStep, expected) => {
    expect(totpStep(secret, codeAt(0), now, lastStep)).toBe(expected);
  });

  it('[MFA13] a clock that went back an hour refuses, and does not throw', () => {
    const past = now - 3_600_000;
    const code = generateSync({ secret, epoch: Math.floor(past / 1_000) });
    expect(totpStep(secret, code, past, null)).toBeDefined();
    expect(totpStep(secret, code, past, stepNow)).toBeUndefined();
  });

  it('[MFA12] agrees with the vectors of RFC 6238', () => {
    // Appendix B, SHA-1: the last six of eight digits.
    const rfc = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
    for (const [seconds, code] of [
      [59, '287082'],
      [1_111_111_109, '081804'],
      [1_234_567_890, '005924'],
      [20_000_000_000, '353130'],
    ] as const) {
      expect(totpStep(rfc, code, seconds * 1_000, null)).toBe(Math.floor(seconds / 30));
    }
  });

  it('[MFA16] a secret is base 32 of at least 128 bits', () => {
    expect(() => checkNewTotpSecret('A'.repeat(26))).not.toThrow();
    for (const bad of ['A'.repeat(25), 'a'.repeat(32), '', `${'A'.repeat(31)}1`])
      expect(() => checkNewTotpSecret(bad)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });

  it('[MFA12] what is no code, or no secret, matches nothing', () => {
    for (const code of ['', '12345', '1234567', 'abcdef']) expect(totpStep(secret, code, now, null)).toBeUndefined();
    expect(totpStep('!', codeAt(0), now, null)).toBeUndefined();
  });
});
