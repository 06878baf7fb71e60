import { describe, expect, it } from 'vitest';
import type { JournalEntry } from '../../../src/actors/ports.ts';
import { type Chain, prepare } from '../../../src/persistence/journal/pending.ts';
import { idempotencyOf, snapshotOf, storageOf, timersOf, worksOf } from '../../../src/persistence/journal/work.ts';

function chainOf(address: string): Chain {
  return { address, tail: 0, waiting: 0, broken: undefined };
}

function pending(chain: Chain, baseSeq: number, more: Partial<JournalEntry> = {}) {
  return prepare({ address: chain.address, kind: 'vault', baseSeq, seq: baseSeq + 1, machineVersion: 1, ...more }, () => {}, chain, 1, 1);
}

function row(key: string, version: number, size = 1) {
  const value = new Uint8Array(size);
  return {
    key,
    version,
    value,
    sizeBytes: size,
    contentType: null,
    createdAt: 0,
    updatedAt: 0,
    clientAt: 0,
    opId: null,
    expiresAt: null,
    deleted: false,
  };
}

describe('the works of a group', () => {
  it('are one an actor, ordered by address, entries in order of append', () => {
    const [b, a] = [chainOf('b'), chainOf('a')];
    const works = worksOf([pending(b, 0), pending(a, 0), pending(b, 1)]);
    expect(works.map(({ chain, items }) => [chain.address, items.map(({ entry }) => entry.baseSeq)])).toEqual([
      ['a', [0]],
      ['b', [0, 1]],
    ]);
  });

  it('have the last snapshot there is', () => {
    const chain = chainOf('a');
    const [work] = worksOf([pending(chain, 0, { snapshot: 1 }), pending(chain, 1, { snapshot: null }), pending(chain, 2)]);
    expect(snapshotOf(work!)).toBe('null');
    expect(snapshotOf(worksOf([pending(chain, 0)])[0]!)).toBeNull();
  });

  it('have each key once, the highest version; of equal versions the later', () => {
    const chain = chainOf('a');
    const last = row('x', 3);
    const [work] = worksOf([
      pending(chain, 0, { storage: [row('x', 3), row('y', 1)] }),
      pending(chain, 1, { storage: [row('x', 2), last] }),
    ]);
    const rows = [...storageOf(work!)];
    expect(rows.map(({ key, version }) => [key, version])).toEqual([
      ['x', 3],
      ['y', 1],
    ]);
    expect(rows[0]).toBe(last);
  });

  it('collapse a key that one entry writes twice', () => {
    const [work] = worksOf([pending(chainOf('a'), 0, { storage: [row('x', 1), row('x', 2)] })]);
    expect([...storageOf(work!)].map(({ version }) => version)).toEqual([2]);
  });

  it('have the last word on each timer; within an entry setting comes after taking away', () => {
    const chain = chainOf('a');
    const [work] = worksOf([
      pending(chain, 0, {
        timers: [
          { id: 'gone', dueAt: 1 },
          { id: 'kept', dueAt: 1 },
        ],
      }),
      pending(chain, 1, {
        timersDone: ['gone', 'kept', 'same'],
        timers: [
          { id: 'kept', dueAt: 2 },
          { id: 'same', dueAt: 3 },
        ],
      }),
    ]);
    expect([...timersOf(work!)].sort()).toEqual([
      ['gone', null],
      ['kept', 2],
      ['same', 3],
    ]);
  });

  it('have each idempotency scope once', () => {
    const chain = chainOf('a');
    const answer = (inputHash: string) => ({ scope: 's', inputHash, result: new Uint8Array(), expiresAt: 1 });
    const [work] = worksOf([pending(chain, 0, { idempotency: [answer('1')] }), pending(chain, 1, { idempotency: [answer('2')] })]);
    expect([...idempotencyOf(work!)].map(({ inputHash }) => inputHash)).toEqual(['2']);
  });
});

describe('an entry that waits', () => {
  it('counts its bytes', () => {
    const chain = chainOf('a');
    const small = pending(chain, 0).bytes;
    expect(pending(chain, 0, { storage: [row('k', 1, 5_000)] }).bytes - small).toBeGreaterThanOrEqual(5_001);
    expect(pending(chain, 0, { snapshot: 'x'.repeat(1_000) }).bytes - small).toBe(1_002);
    expect(
      pending(chain, 0, { records: [{ seq: 1, machineVersion: 1, event: { type: 'x'.repeat(500) }, at: 0, stateAfter: '' }] }).bytes -
        small,
    ).toBeGreaterThan(500);
    expect(pending(chain, 0, { outbox: [{ id: 'o', type: 't', payload: { text: 'x'.repeat(500) } }] }).bytes - small).toBeGreaterThan(500);
  });

  it('does not change with the objects it was made of', () => {
    const snapshot = { n: 1 };
    const item = pending(chainOf('a'), 0, { snapshot });
    snapshot.n = 2;
    expect(item.snapshotJson).toBe('{"n":1}');
  });

  it('has no JSON for a function', () => {
    expect(() => pending(chainOf('a'), 0, { snapshot: () => {} })).toThrow(TypeError);
  });
});
