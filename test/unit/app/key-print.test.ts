import { describe, expect, it } from 'vitest';
import { keyConflict, keyPrints } from '../../../src/app/key-print.ts';

const pepper = Buffer.alloc(32, 1);
const secrets = (signing: readonly string[], cookieKeys: readonly string[] = ['c'], master: readonly string[] = ['m']) => ({
  signingKeys: JSON.stringify({ keys: signing.map((kid) => ({ kid, n: kid })) }),
  cookieKeys,
  masterKeys: master.map((id) => ({ id, key: Buffer.from(id.padEnd(32)) })),
  pepper,
  walletUrl: '',
  walletToken: '',
});
const conflict = (mine: readonly string[], theirs: readonly string[]) => keyConflict(keyPrints(secrets(mine)), keyPrints(secrets(theirs)));

describe('nodes with keys', () => {
  it('[CLU12] get along while each knows the other’s current one, so that a key is changed node by node', () => {
    expect(conflict(['a'], ['a'])).toBeUndefined();
    expect(conflict(['a', 'b'], ['a'])).toBeUndefined();
    expect(conflict(['b', 'a'], ['a', 'b'])).toBeUndefined();
    expect(conflict(['b'], ['b', 'a'])).toBeUndefined();
  });

  it('[CLU12] [C7] do not get along when one signs with what the other does not know', () => {
    expect(conflict(['b', 'a'], ['a'])).toBe('signing');
    expect(conflict(['a'], ['b', 'a'])).toBe('signing');
    expect(keyConflict(keyPrints(secrets(['a'], ['x'])), keyPrints(secrets(['a'], ['y'])))).toBe('cookies');
    expect(keyConflict(keyPrints(secrets(['a'], ['c'], ['m'])), keyPrints(secrets(['a'], ['c'], ['n'])))).toBe('master');
  });

  it('tell nothing of the keys themselves, and take what says nothing for no objection', () => {
    const told = JSON.stringify(keyPrints(secrets(['a-very-long-modulus'], ['a-cookie-secret'])));
    expect(told).not.toContain('modulus');
    expect(told).not.toContain('cookie-secret');
    for (const nothing of [undefined, null, {}, { signing: 'x' }, 7])
      expect(keyConflict(keyPrints(secrets(['a'])), nothing)).toBeUndefined();
  });
});
