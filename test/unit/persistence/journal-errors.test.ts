import { describe, expect, it } from 'vitest';
import { classify, fencedPairsOf, sqlStateOf } from '../../../src/persistence/journal/errors.ts';

const sent = (code: string) => Object.assign(new Error(code), { code, severity: 'ERROR' });

describe('a failed commit', () => {
  it.each([
    ['57P01', 'unknown'],
    ['57P02', 'unknown'],
    ['08006', 'unknown'],
    ['57P03', 'later'],
    ['57014', 'later'],
    ['53100', 'later'],
    ['53300', 'later'],
    ['58030', 'later'],
    ['25006', 'later'],
    ['55P03', 'later'],
    ['40001', 'again'],
    ['40P01', 'again'],
    ['TM001', 'fenced'],
    ['TM002', 'refused'],
    ['TM003', 'refused'],
    ['22021', 'refused'],
    ['23505', 'refused'],
    ['42883', 'refused'],
  ])('with SQLSTATE %s is %s', (code, failure) => {
    expect(classify(sent(code))).toBe(failure);
  });

  it.each(['ECONNRESET', 'EPIPE', 'ETIMEDOUT'])('with the network code %s has an unknown outcome', (code) => {
    expect(classify(Object.assign(new Error(code), { code }))).toBe('unknown');
    expect(sqlStateOf(Object.assign(new Error(code), { code }))).toBeUndefined();
  });

  it('without any code has an unknown outcome', () => {
    expect(classify(new Error('Connection terminated unexpectedly'))).toBe('unknown');
    expect(classify(undefined)).toBe('unknown');
  });

  it('by a fence names the slots that are lost', () => {
    expect(fencedPairsOf({ detail: '3:1,700:25' })).toEqual(new Set(['3:1', '700:25']));
    expect(fencedPairsOf(new Error('no detail'))).toEqual(new Set());
  });
});
