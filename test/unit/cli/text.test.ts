/** Tables and durations as commands show them. */
import { describe, expect, it } from 'vitest';
import { duration, table } from '../../../src/cli/text.ts';

describe('duration', () => {
  it.each([
    [-5, '0s'],
    [999, '0s'],
    [1_000, '1s'],
    [59_999, '59s'],
    [60_000, '1m 0s'],
    [3_599_999, '59m 59s'],
    [3_600_000, '1h 0m'],
    [86_399_999, '23h 59m'],
    [86_400_000, '1d 0h'],
    [100 * 86_400_000 + 3_600_000, '100d 1h'],
  ])('%i ms is %s', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });
});

describe('table', () => {
  it('makes each column as wide as its widest cell, and no line longer than it must be', () => {
    expect(table(['A', 'LONG'], [['wide', 'x'], ['y']])).toBe('A     LONG\nwide  x\ny\n');
  });
});
