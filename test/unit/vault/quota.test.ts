/** Pure bounds of a vault: quota, conflict history, cursors. */
import { describe, expect, it } from 'vitest';
import { cursorMark, decodeCursor, encodeCursor } from '../../../src/actors/vault/cursor.ts';
import { addHistory, historyHasRoom } from '../../../src/actors/vault/history.ts';
import { exceeded, quotaError } from '../../../src/actors/vault/quota.ts';

const total = 10_485_760;
const dayMs = 86_400_000;

describe('quota', () => {
  it('[STO8] the total may be reached and not passed', () => {
    expect(exceeded(total - 10, 5, undefined, 9)).toBeUndefined();
    expect(exceeded(total - 10, 5, undefined, 10)).toBeUndefined();
    expect(exceeded(total - 10, 5, undefined, 11)).toBe('total');
  });

  it('[STO9] a value may be 1 MiB, keys may be 1,000', () => {
    expect(exceeded(0, 0, undefined, 1_048_576)).toBeUndefined();
    expect(exceeded(0, 0, undefined, 1_048_577)).toBe('value');
    expect(exceeded(0, 999, undefined, 1)).toBeUndefined();
    expect(exceeded(0, 1_000, undefined, 1)).toBe('keys');
    expect(exceeded(0, 1_000, 1, 1)).toBeUndefined();
  });

  it('[STO10] what is replaced makes room', () => {
    expect(exceeded(total, 1_000, 100, 100)).toBeUndefined();
    expect(exceeded(total, 1_000, 100, 101)).toBe('total');
  });

  it('[STO11] the refusal says what is used, what there is, and which bound', () => {
    expect(quotaError({ bytes: 5, keys: 1 }, 'total').details).toEqual({ current_usage_bytes: 5, quota_bytes: total, limit: 'total' });
  });
});

describe('conflict history', () => {
  it('[STO25] keeps as many bytes as the quota within 30 days', () => {
    let history = addHistory(new Map(), 0, total - 1);
    expect(historyHasRoom(history, 0, 1)).toBe(true);
    expect(historyHasRoom(history, 0, 2)).toBe(false);
    expect(historyHasRoom(history, 30 * dayMs, 2)).toBe(false);
    expect(historyHasRoom(history, 31 * dayMs, 2)).toBe(true);
    history = addHistory(history, 31 * dayMs, 5);
    expect([...history]).toEqual([[31, 5]]);
  });
});

describe('cursor', () => {
  const mark = cursorMark('vault:@a:b:ma_x', 'e1');
  const cursor = { version: 12, since: 10, sinceAt: Date.UTC(2026, 0, 1) };

  it('[STO30] comes back as it was and is short', () => {
    const text = encodeCursor(cursor, mark);
    expect(text.length).toBeLessThanOrEqual(128);
    expect(decodeCursor(text, mark, 12)).toEqual(cursor);
    const large = { version: Number.MAX_SAFE_INTEGER, since: Number.MAX_SAFE_INTEGER, sinceAt: Number.MAX_SAFE_INTEGER };
    expect(encodeCursor(large, mark).length).toBeLessThanOrEqual(128);
    expect(decodeCursor(encodeCursor(large, mark), mark, Number.MAX_SAFE_INTEGER)).toEqual(large);
  });

  it('[STO32] of another namespace, from the future, or unreadable it is refused', () => {
    const other = encodeCursor(cursor, cursorMark('vault:@a:b:ma_y', 'e1'));
    const texts = [
      other,
      encodeCursor({ ...cursor, version: 13 }, mark),
      encodeCursor({ ...cursor, since: 13 }, mark),
      '',
      'x',
      '!!!!',
      'MQ',
    ];
    for (const text of texts) expect(() => decodeCursor(text, mark, 12)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });

  it('[STO33] of another life of the database it is stale', () => {
    expect(decodeCursor(encodeCursor(cursor, cursorMark('vault:@a:b:ma_x', 'e0')), mark, 1)).toBe('stale');
  });
});
