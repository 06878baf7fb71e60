import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { open, seal, sealOverheadBytes } from '../../../src/persistence/crypto/sealed-box.ts';

const key = randomBytes(32);
const place = 'vault:@alice:x:ma_x/key';

describe('a sealed value', () => {
  it.each([0, 1, 64, 100_000])('of %i bytes opens to what it was', (length) => {
    const plain = new Uint8Array(randomBytes(length));
    const sealed = seal(key, plain, place);
    expect(sealed.length).toBe(length + sealOverheadBytes);
    expect(open(key, sealed, place)).toEqual(plain);
  });

  it('does not open when any one bit is changed', () => {
    const sealed = seal(key, new TextEncoder().encode('text'), place);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const altered = Uint8Array.from(sealed);
      altered[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => open(key, altered, place)).toThrow();
    }
  });

  it('does not open at another place, with another key, or cut short', () => {
    const sealed = seal(key, new Uint8Array(8), place);
    expect(() => open(key, sealed, `${place}2`)).toThrow(/does not open/);
    expect(() => open(randomBytes(32), sealed, place)).toThrow(/does not open/);
    for (let length = 0; length < sealed.length; length++) expect(() => open(key, sealed.subarray(0, length), place)).toThrow();
  });

  it('is never sealed twice alike', () => {
    const seen = new Set(Array.from({ length: 2_000 }, () => Buffer.from(seal(key, new Uint8Array(4), place)).toString('hex', 1, 13)));
    expect(seen.size).toBe(2_000);
  });
});
