/** The pure conflict rules of a vault. */
import { describe, expect, it } from 'vitest';
import { clampClientAt, judge, lastWriterIsIncoming, policyOf, type Incoming, type Stored } from '../../../src/actors/vault/conflict.ts';
import { mergeValues } from '../../../src/actors/vault/merge.ts';
import { compareOpIds, parseOpId } from '../../../src/actors/vault/op-id.ts';

const now = Date.UTC(2026, 0, 1);
const stored = (over: Partial<Stored> = {}): Stored => ({ version: 7, clientAt: now, opId: 'dev-a:3', live: true, ...over });
const incoming = (over: Partial<Incoming> = {}): Incoming => ({
  kind: 'set',
  clientAt: now + 1,
  opId: 'dev-b:1',
  baseVersion: undefined,
  ...over,
});

describe('clock of the writer', () => {
  it('[STO21] up to five minutes ahead counts as told, a millisecond more as now', () => {
    expect(clampClientAt((now + 300_000) / 1000, now)).toBe(now + 300_000);
    expect(clampClientAt((now + 300_001) / 1000, now)).toBe(now);
    expect(clampClientAt(4_070_908_800, now)).toBe(now);
    expect(clampClientAt(0, now)).toBe(0);
    expect(clampClientAt(1.2345, now)).toBe(1235);
  });
});

describe('last writer', () => {
  it('[STO22] is the later one, and at the same instant the one of the higher operation id', () => {
    expect(lastWriterIsIncoming({ clientAt: 2, opId: null }, { clientAt: 1, opId: null })).toBe(true);
    expect(lastWriterIsIncoming({ clientAt: 1, opId: null }, { clientAt: 2, opId: null })).toBe(false);
    expect(lastWriterIsIncoming({ clientAt: 1, opId: 'b:1' }, { clientAt: 1, opId: 'a:9' })).toBe(true);
    expect(lastWriterIsIncoming({ clientAt: 1, opId: 'a:9' }, { clientAt: 1, opId: 'b:1' })).toBe(false);
    expect(lastWriterIsIncoming({ clientAt: 1, opId: 'a:10' }, { clientAt: 1, opId: 'a:9' })).toBe(true);
  });

  it('[STO22] is the incoming one when the instants are equal and one of them has no operation id', () => {
    expect(lastWriterIsIncoming({ clientAt: 1, opId: null }, { clientAt: 1, opId: 'z:9' })).toBe(true);
    expect(lastWriterIsIncoming({ clientAt: 1, opId: 'a:1' }, { clientAt: 1, opId: null })).toBe(true);
  });

  it('[STO22] operation ids are ordered by device, then by number', () => {
    expect(compareOpIds('a:2', 'a:10')).toBeLessThan(0);
    expect(compareOpIds('a:b:2', 'a:b:1')).toBeGreaterThan(0);
    expect(compareOpIds('a:999', 'b:1')).toBeLessThan(0);
    expect(compareOpIds('a:007', 'a:7')).toBe(0);
  });
});

describe('operation ids', () => {
  it('[STO17] the device may hold colons and is at most 128 characters', () => {
    expect(parseOpId('a:b:12')).toEqual({ device: 'a:b', counter: 12 });
    expect(parseOpId(`${'d'.repeat(128)}:1`)?.device).toHaveLength(128);
    expect(parseOpId(`${'d'.repeat(129)}:1`)).toBeUndefined();
    expect(parseOpId('__proto__:5')).toEqual({ device: '__proto__', counter: 5 });
    expect(parseOpId('d:999999999999999')?.counter).toBe(999_999_999_999_999);
  });
});

describe('verdict', () => {
  it('[STO23] applies to a key that is not there, and to one that has not moved on', () => {
    expect(judge(incoming(), undefined, 'lww')).toEqual({ kind: 'apply', loser: false });
    expect(judge(incoming({ baseVersion: 7 }), stored(), 'lww')).toEqual({ kind: 'apply', loser: false });
    expect(judge(incoming(), stored(), 'lww')).toEqual({ kind: 'apply', loser: false });
  });

  it('[STO23] a newer write over a key that moved on wins and the stored value is the loser', () => {
    expect(judge(incoming({ baseVersion: 6 }), stored(), 'lww')).toEqual({ kind: 'apply', loser: true });
    expect(judge(incoming({ baseVersion: 6 }), stored({ live: false }), 'lww')).toEqual({ kind: 'apply', loser: false });
  });

  it('[STO23] an earlier write of the same device is no conflict', () => {
    expect(judge(incoming({ baseVersion: 6, opId: 'dev-a:4' }), stored(), 'lww')).toEqual({ kind: 'apply', loser: false });
  });

  it('[STO23] an older write loses, whatever it saw', () => {
    const older = incoming({ clientAt: now - 1 });
    expect(judge(older, stored(), 'lww')).toEqual({ kind: 'refuse', resolution: 'server_wins' });
    expect(judge({ ...older, baseVersion: 7 }, stored(), 'lww')).toEqual({ kind: 'refuse', resolution: 'server_wins' });
    expect(judge({ ...older, kind: 'remove' }, stored(), 'lww')).toEqual({ kind: 'refuse', resolution: 'server_wins' });
  });

  it('[STO26] server_wins and manual refuse every conflict and nothing else', () => {
    for (const policy of ['server_wins', 'manual'] as const) {
      expect(judge(incoming({ baseVersion: 6 }), stored(), policy)).toEqual({ kind: 'refuse', resolution: policy });
      expect(judge(incoming({ clientAt: 1 }), stored(), policy)).toEqual({ kind: 'refuse', resolution: policy });
      expect(judge(incoming({ baseVersion: 7 }), stored(), policy)).toEqual({ kind: 'apply', loser: false });
    }
  });

  it('[STO26] merge joins two values, and is lww for a removal or over a tombstone', () => {
    expect(judge(incoming({ baseVersion: 6 }), stored(), 'merge')).toEqual({ kind: 'merge', incomingWins: true });
    expect(judge(incoming({ clientAt: 1 }), stored(), 'merge')).toEqual({ kind: 'merge', incomingWins: false });
    expect(judge(incoming({ kind: 'remove', clientAt: 1 }), stored(), 'merge')).toEqual({ kind: 'refuse', resolution: 'server_wins' });
    expect(judge(incoming({ clientAt: 1 }), stored({ live: false }), 'merge')).toEqual({ kind: 'refuse', resolution: 'server_wins' });
  });

  it('[STO26] the longest prefix decides the policy', () => {
    const policies = [
      { prefix: 'a/', policy: 'manual' },
      { prefix: 'a/b/', policy: 'merge' },
    ] as const;
    expect(policyOf('a/x', policies)).toBe('manual');
    expect(policyOf('a/b/x', policies)).toBe('merge');
    expect(policyOf('c', policies)).toBe('lww');
  });
});

describe('merge', () => {
  it('[STO26] takes the fields of both, and the winner where both have one', () => {
    expect(JSON.parse(mergeValues('{"a":1,"b":2}', '{"b":9,"c":3}') as string)).toEqual({ a: 1, b: 2, c: 3 });
  });

  it('[STO26] a field named __proto__ is a field', () => {
    const merged = mergeValues('{"__proto__":{"x":1}}', '{"y":2}') as string;
    expect(merged).toContain('"__proto__"');
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it('[STO26] says no when one of them is no JSON object', () => {
    for (const text of ['[1]', '1', 'null', 'not json', '']) {
      expect(mergeValues(text, '{}')).toBeUndefined();
      expect(mergeValues('{}', text)).toBeUndefined();
    }
  });
});
