/** Operation windows: which counters of a device were taken. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Device, DeviceChanges, loadDevices, maxDevices } from '../../../src/actors/vault/devices.ts';
import { copyWindow, decodeWindow, emptyWindow, encodeGaps, take, taken } from '../../../src/actors/vault/op-window.ts';

const dayMs = 86_400_000;

describe('operation window', () => {
  it('[STO14] takes each counter once, in any order', () => {
    const window = emptyWindow();
    for (const counter of [5, 3, 9, 0]) {
      expect(taken(window, counter)).toBe(false);
      take(window, counter);
      expect(taken(window, counter)).toBe(true);
    }
    expect([1, 2, 4, 6, 7, 8, 10].filter((counter) => taken(window, counter))).toEqual([]);
  });

  it('[STO15] a counter 9,999 below the highest is still told apart, one 10,000 below counts as taken', () => {
    const window = emptyWindow();
    take(window, 20_000);
    expect(taken(window, 10_001)).toBe(false);
    expect(taken(window, 10_000)).toBe(true);
    take(window, 20_001);
    expect(taken(window, 10_001)).toBe(true);
  });

  it('[STO15] a jump over the whole window forgets nothing it should know and knows nothing it should not', () => {
    const window = emptyWindow();
    for (let counter = 0; counter < 100; counter++) take(window, counter);
    take(window, 999_999_999_999_999);
    expect(taken(window, 50)).toBe(true);
    expect(taken(window, 999_999_999_999_998)).toBe(false);
    expect(taken(window, 999_999_999_990_000)).toBe(false);
    expect(taken(window, 999_999_999_989_999)).toBe(true);
  });

  it('[STO14] a copy is marked without the first', () => {
    const window = emptyWindow();
    take(window, 1);
    const copy = copyWindow(window);
    take(copy, 2);
    expect(taken(window, 2)).toBe(false);
    expect(taken(copy, 1)).toBe(true);
  });

  it('[STO14] agrees with a set of counters, and survives being stored (random orders)', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(25_000), { maxLength: 300 }), (counters) => {
        let window = emptyWindow();
        const seen = new Set<number>();
        let high = -1;
        for (const counter of counters) {
          expect(taken(window, counter)).toBe(seen.has(counter) || counter <= high - 10_000);
          take(window, Math.max(counter, high - 9_999));
          seen.add(Math.max(counter, high - 9_999));
          high = Math.max(high, counter);
          if (counter % 7 === 0) window = decodeWindow(window.high, encodeGaps(window));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('[STO14] in order it is stored in a few bytes, full of holes as a bitmap', () => {
    const inOrder = emptyWindow();
    for (let counter = 1; counter <= 30_000; counter++) take(inOrder, counter);
    expect(encodeGaps(inOrder)).toBe('');
    const holes = emptyWindow();
    for (let counter = 0; counter <= 20_000; counter += 2) take(holes, counter);
    const text = encodeGaps(holes);
    expect(text.startsWith('b:')).toBe(true);
    expect(text.length).toBeLessThan(1_700);
    const again = decodeWindow(holes.high, text);
    expect(taken(again, 19_998)).toBe(true);
    expect(taken(again, 19_999)).toBe(false);
  });

  it('[STO14] refuses a stored form that it did not write', () => {
    for (const [high, gaps] of [
      [10, 'x'],
      [10, '11'],
      [10, '5-3'],
      [20_000, '3'],
      [10, 'b:AAAA'],
      [-1, ''],
      [1.5, ''],
    ] as const) {
      expect(() => decodeWindow(high, gaps)).toThrow();
    }
  });
});

describe('devices of a vault', () => {
  it('[STO17] remembers 256 devices, and refuses one more while all of them are in use', () => {
    const now = 100 * dayMs;
    const devices = new Map<string, Device>();
    const put = (name: string, at: number): boolean => {
      const changes = new DeviceChanges(devices, at);
      if (!changes.hasRoom(name)) return false;
      changes.take({ device: name, counter: 1 });
      for (const gone of changes.forgotten) devices.delete(gone);
      for (const [key, device] of changes.changed) devices.set(key, device);
      return true;
    };
    for (let n = 0; n < maxDevices; n++) expect(put(`d${n}`, now + (n === 7 ? 0 : dayMs))).toBe(true);
    expect(put('one-more', now + dayMs)).toBe(false);
    expect(put('d3', now + dayMs)).toBe(true);
    expect(put('one-more', now + 30 * dayMs)).toBe(false);
    expect(put('one-more', now + 31 * dayMs)).toBe(true);
    expect(devices.has('d7')).toBe(false);
    expect(devices.size).toBe(maxDevices);
  });

  it('[STO14] several new devices of one change count, and the stored form brings all back', () => {
    const changes = new DeviceChanges(new Map(), 0);
    for (let n = 0; n < maxDevices; n++) changes.take({ device: `d${n}`, counter: n });
    expect(changes.hasRoom('more')).toBe(false);
    expect(changes.hasRoom('d5')).toBe(true);
    const again = loadDevices(JSON.parse(JSON.stringify(changes.stored())));
    expect(again.size).toBe(maxDevices);
    expect(new DeviceChanges(again, 0).taken({ device: 'd9', counter: 9 })).toBe(true);
    expect(new DeviceChanges(again, 0).taken({ device: 'd9', counter: 8 })).toBe(false);
  });
});
