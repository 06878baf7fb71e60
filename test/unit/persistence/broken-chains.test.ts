import { describe, expect, it } from 'vitest';
import { BrokenChains } from '../../../src/persistence/journal/broken-chains.ts';

const entry = (address: string, baseSeq: number) => ({ address, kind: 'vault', baseSeq, seq: baseSeq + 1, machineVersion: 1 });

describe('broken chains', () => {
  it('refuse what goes on where they ended, for as long as it does', () => {
    const chains = new BrokenChains();
    chains.remember({ address: 'a', tail: 5, waiting: 0, broken: new Error('why') });
    expect(chains.refusalOf(entry('a', 5))?.cause).toEqual(new Error('why'));
    expect(chains.refusalOf(entry('a', 6))).toBeDefined();
    expect(chains.refusalOf(entry('b', 6))).toBeUndefined();
  });

  it('end with the first entry of an actor that was loaded anew', () => {
    const chains = new BrokenChains();
    chains.remember({ address: 'a', tail: 5, waiting: 0, broken: new Error('why') });
    expect(chains.refusalOf(entry('a', 2))).toBeUndefined();
    expect(chains.refusalOf(entry('a', 5))).toBeUndefined();
  });

  it('are bounded: the oldest is forgotten', () => {
    const chains = new BrokenChains();
    for (let index = 0; index <= 10_000; index++) chains.remember({ address: `a${index}`, tail: 1, waiting: 0, broken: new Error('why') });
    expect(chains.refusalOf(entry('a0', 1))).toBeUndefined();
    expect(chains.refusalOf(entry('a1', 1))).toBeDefined();
  });
});
