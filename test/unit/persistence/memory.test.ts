import { describe, expect, it } from 'vitest';
import { ExpiringMap } from '../../../src/persistence/memory/expiring-map.ts';
import { createMemoryResumeStore } from '../../../src/persistence/memory/resume-store.ts';
import { createMemoryBuckets } from '../../../src/persistence/memory/shared-buckets.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function timeAt(at: number) {
  const time = { at, now: () => time.at, monotonic: () => time.at };
  return time;
}

describe('an expiring map', () => {
  it('has an entry until its last millisecond is over', () => {
    const clock = timeAt(0);
    const map = new ExpiringMap<string>({ clock, maxEntries: 9 });
    map.set('k', 'v', 10);
    clock.at = 9;
    expect(map.get('k')).toBe('v');
    clock.at = 10;
    expect(map.get('k')).toBeUndefined();
    expect(map.size).toBe(0);
  });

  it('drops the least recently written past its size', () => {
    const map = new ExpiringMap<number>({ clock: timeAt(0), maxEntries: 2 });
    map.set('a', 1, 10);
    map.set('b', 2, 10);
    expect(map.get('a')).toBe(1);
    map.set('a', 3, 10);
    map.set('c', 4, 10);
    expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([3, undefined, 4]);
  });

  it('drops the least recently written past its weight, replaced and deleted weights counted once', () => {
    const map = new ExpiringMap<number>({ clock: timeAt(0), maxEntries: 100, maxWeight: 10 });
    map.set('a', 1, 10, 4);
    map.set('b', 2, 10, 4);
    map.set('b', 2, 10, 6);
    expect(map.get('a')).toBe(1);
    map.set('c', 3, 10, 1);
    expect(map.get('a')).toBeUndefined();
    map.delete('b');
    map.set('d', 4, 10, 9);
    expect([map.get('c'), map.get('d')]).toEqual([3, 4]);
  });

  it('keeps nothing that is heavier than all of it', () => {
    const map = new ExpiringMap<number>({ clock: timeAt(0), maxEntries: 100, maxWeight: 10 });
    map.set('a', 1, 10, 11);
    expect(map.size).toBe(0);
  });
});

describe('memory buckets', () => {
  it('refill by time that passed, whatever becomes of the wall clock', async () => {
    const clock = new ManualClock();
    const buckets = createMemoryBuckets({ clock });
    const bucket = { capacity: 1, windowMs: 1_000 };
    expect((await buckets.take('k', bucket)).ok).toBe(true);
    clock.jump(3_600_000);
    expect(await buckets.take('k', bucket)).toEqual({ ok: false, retryAfterS: 1 });
    clock.jump(-2 * 3_600_000);
    clock.advance(1_000);
    expect((await buckets.take('k', bucket)).ok).toBe(true);
  });

  it('refill evenly, up to what they hold', async () => {
    const clock = timeAt(1_000_000);
    const buckets = createMemoryBuckets({ clock });
    const bucket = { capacity: 3, windowMs: 3_000 };
    const taken = async () => (await buckets.take('k', bucket)).ok;
    expect([await taken(), await taken(), await taken(), await taken()]).toEqual([true, true, true, false]);
    clock.at += 999;
    expect(await buckets.take('k', bucket)).toEqual({ ok: false, retryAfterS: 1 });
    clock.at += 1;
    expect([await taken(), await taken()]).toEqual([true, false]);
    clock.at += 1_000_000;
    expect([await taken(), await taken(), await taken(), await taken()]).toEqual([true, true, true, false]);
  });

  it('give a whole capacity although its share of the window is no whole number', async () => {
    const buckets = createMemoryBuckets({ clock: timeAt(1_700_000_000_000) });
    let granted = 0;
    while ((await buckets.take('k', { capacity: 1_000, windowMs: 7_777 })).ok) granted++;
    expect(granted).toBe(1_000);
  });

  it('are bounded', async () => {
    const buckets = createMemoryBuckets({ clock: timeAt(0), maxBuckets: 1 });
    const bucket = { capacity: 1, windowMs: 1_000 };
    expect((await buckets.take('a', bucket)).ok).toBe(true);
    expect((await buckets.take('a', bucket)).ok).toBe(false);
    expect((await buckets.take('b', bucket)).ok).toBe(true);
    expect((await buckets.take('a', bucket)).ok).toBe(true);
  });
});

describe('the memory resume store', () => {
  it('is bounded by records and by characters: the oldest goes', async () => {
    const record = (session: string) => ({
      session,
      secretHash: '',
      userId: '',
      appId: '',
      deviceId: '',
      generation: 0,
      seq: 0,
      events: [],
      gap: false,
    });
    const few = createMemoryResumeStore({ clock: timeAt(0), maxRecords: 2 });
    for (const session of ['a', 'b', 'c']) await few.put(record(session));
    expect([await few.take('a'), (await few.take('b'))?.session, (await few.take('c'))?.session]).toEqual([undefined, 'b', 'c']);
    const short = createMemoryResumeStore({ clock: timeAt(0), maxChars: JSON.stringify(record('a')).length * 2 });
    for (const session of ['a', 'b', 'c']) await short.put(record(session));
    expect(await short.take('a')).toBeUndefined();
    expect((await short.take('c'))?.session).toBe('c');
  });
});
