/** Device keys and signatures: what is read, what is refused, however it is spelt. */
import { createSign, generateKeyPairSync, sign as signRaw } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyObjectOf, readDeviceKey, verifiesAny } from '../../../src/actors/user/device-key.ts';
import { derToRaw, inRange } from '../../../src/actors/user/ecdsa-signature.ts';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const spki = (key: typeof ec.publicKey) => key.export({ format: 'der', type: 'spki' });
const text = 'pay_1:75.00:USD:2026-01-01T00:00:00Z';
const der = createSign('sha256').update(text).sign(ec.privateKey);
const raw = signRaw('sha256', Buffer.from(text), { key: ec.privateKey, dsaEncoding: 'ieee-p1363' });
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const word = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');
const verifies = (signature: Buffer | string, key = ec.publicKey) =>
  verifiesAny(key, [text], typeof signature === 'string' ? signature : signature.toString('base64'));

describe('keys', () => {
  it('[MFA17] are told by the SHA-256 of their DER', () => {
    expect(readDeviceKey('ECDSA_P256', spki(ec.publicKey).toString('base64')).keyHash).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(readDeviceKey('RSA_2048', spki(rsa.publicKey).toString('base64')).keyHash).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it.each<[string, string, Buffer]>([
    ['on another curve', 'ECDSA_P256', spki(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)],
    ['on a curve of the same length', 'ECDSA_P256', spki(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey)],
    ['of another kind than told (RSA as EC)', 'ECDSA_P256', spki(rsa.publicKey)],
    ['of another kind than told (EC as RSA)', 'RSA_2048', spki(ec.publicKey)],
    ['of Ed25519', 'ECDSA_P256', spki(generateKeyPairSync('ed25519').publicKey)],
    ['of 1024 bits', 'RSA_2048', spki(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)],
    ['of 2047 bits', 'RSA_2048', spki(generateKeyPairSync('rsa', { modulusLength: 2047 }).publicKey)],
    ['with the exponent 3', 'RSA_2048', spki(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).publicKey)],
    ['with a byte after it', 'ECDSA_P256', Buffer.concat([spki(ec.publicKey), Buffer.from([0])])],
    ['that is cut', 'ECDSA_P256', spki(ec.publicKey).subarray(0, -1)],
    ['that is private', 'ECDSA_P256', ec.privateKey.export({ format: 'der', type: 'pkcs8' })],
    ['that is noise', 'ECDSA_P256', Buffer.alloc(91, 7)],
  ])('[MFA19] a key %s is refused', (_title, algorithm, bytes) => {
    expect(() => readDeviceKey(algorithm, bytes.toString('base64'))).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });

  it('[MFA19] a point off the curve is refused', () => {
    const bytes = Buffer.from(spki(ec.publicKey));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    expect(() => readDeviceKey('ECDSA_P256', bytes.toString('base64'))).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });
});

describe('signatures', () => {
  it('[MFA21] are taken as DER and raw, base64 and base64url, of both kinds of key', () => {
    expect([verifies(der), verifies(raw), verifies(der.toString('base64url')), verifies(raw.toString('base64url'))]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    const rs256 = createSign('sha256').update(text).sign(rsa.privateKey);
    expect(verifies(rs256, keyObjectOf(spki(rsa.publicKey).toString('base64')))).toBe(true);
    expect(verifies(rs256, ec.publicKey)).toBe(false);
  });

  it('[MFA21] hash the text once', () => {
    const { createHash } = process.getBuiltinModule('node:crypto');
    const twice = createSign('sha256').update(createHash('sha256').update(text).digest()).sign(ec.privateKey);
    expect(verifies(twice)).toBe(false);
  });

  it.each([
    ['r = 0', 0n, 1n],
    ['s = 0', 1n, 0n],
    ['r = n', n, 1n],
    ['s = n', 1n, n],
    ['r = 2^256 - 1', 2n ** 256n - 1n, 1n],
  ])('[MFA21] %s is out of range', (_title, r, s) => {
    expect(inRange(Buffer.concat([word(r), word(s)]))).toBe(false);
    expect(verifies(Buffer.concat([word(r), word(s)]))).toBe(false);
  });

  it('[MFA21] 1 and n - 1 are in range', () => {
    expect(inRange(Buffer.concat([word(1n), word(n - 1n)]))).toBe(true);
  });

  const [rLength = 0] = [der[3]];
  it.each<[string, Buffer]>([
    ['a byte after it', Buffer.concat([der, Buffer.from([0])])],
    ['a byte after it that the length counts', Buffer.concat([Buffer.from([0x30, der.length - 1]), der.subarray(2), Buffer.from([0])])],
    ['a long-form length', Buffer.concat([Buffer.from([0x30, 0x81, der.length - 2]), der.subarray(2)])],
    ['a needless leading zero', Buffer.concat([Buffer.from([0x30, der.length - 2 + 1, 0x02, rLength + 1, 0]), der.subarray(4)])],
    ['another tag', Buffer.concat([Buffer.from([0x31]), der.subarray(1)])],
    ['nothing', Buffer.alloc(0)],
    ['raw bytes and one more', Buffer.concat([raw, Buffer.from([0])])],
    ['raw bytes and one less', raw.subarray(1)],
    ['zeros', Buffer.alloc(64)],
  ])('[MFA21] %s is not read', (_title, bytes) => {
    expect(verifies(bytes)).toBe(false);
  });

  it('[MFA21] a negative integer is not read', () => {
    expect(derToRaw(Buffer.from([0x30, 6, 2, 1, 0x80, 2, 1, 1]))).toBeUndefined();
    expect(derToRaw(Buffer.from([0x30, 6, 2, 1, 1, 2, 1, 1]))).toEqual(Buffer.concat([word(1n), word(1n)]));
  });

  it('[MFA21] nothing but the signature verifies: every changed byte and bit is refused', () => {
    fc.assert(
      fc.property(fc.nat(raw.length * 8 - 1), fc.nat(der.length * 8 - 1), (rawBit, derBit) => {
        const flip = (bytes: Buffer, bit: number) => {
          const copy = Buffer.from(bytes);
          copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          return copy;
        };
        expect(verifies(flip(raw, rawBit))).toBe(false);
        expect(verifies(flip(der, derBit))).toBe(false);
      }),
      { numRuns: 1_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(verifies(Buffer.from(bytes))).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  it('[MFA21] base64 has one spelling', () => {
    const spelt = der.toString('base64');
    expect(verifies(`${spelt.replace(/=+$/, '')}`)).toBe(true);
    expect(verifies(`${spelt.replace(/=+$/, '')}A`)).toBe(false);
  });
});
