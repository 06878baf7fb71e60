/** The system's clock: what waits goes by time that passed, whatever becomes of the wall clock. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SystemClock } from '../../../src/clock.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('SystemClock', () => {
  it('delays nothing when the wall clock is set back', async () => {
    const clock = new SystemClock();
    const fired = new Promise<void>((resolve) => clock.after(5, resolve));
    const wall = Date.now.bind(Date);
    vi.spyOn(Date, 'now').mockImplementation(() => wall() - 3_600_000);
    await fired;
  }, 3_000);

  it('moved by the dev door, it fires what has become due, in order, and nothing else', () => {
    const clock = new SystemClock();
    const fired: string[] = [];
    clock.after(120_000, () => fired.push('second'));
    clock.after(60_000, () => fired.push('first'));
    const cancel = clock.after(600_000, () => fired.push('later'));
    clock.advance(120_001);
    expect(fired).toEqual(['first', 'second']);
    expect(clock.aheadMs).toBe(120_001);
    cancel();
    clock.advance(600_000);
    expect(fired).toEqual(['first', 'second']);
  });

  it('[CLU15] does not believe a step of the wall clock until it was confirmed', () => {
    const clock = new SystemClock();
    const wall = Date.now.bind(Date);
    const right = wall();
    vi.spyOn(Date, 'now').mockImplementation(() => wall() + 3_600_000);
    expect(Math.abs(clock.now() - right)).toBeLessThan(1_000);
    expect(Math.abs(clock.confirm(wall(), 5) - 3_600_000)).toBeLessThan(1_000);
    expect(Math.abs(clock.now() - right)).toBeLessThan(1_000);
  });

  it('[CLU15] goes by the shared clock when the machine was wrong all along, and by the machine once that is right', () => {
    const wall = Date.now.bind(Date);
    const spy = vi.spyOn(Date, 'now').mockImplementation(() => wall() - 3_600_000);
    const clock = new SystemClock();
    expect(wall() - clock.now()).toBeGreaterThan(3_500_000);
    clock.confirm(wall(), 5);
    expect(Math.abs(clock.now() - wall())).toBeLessThan(1_000);
    spy.mockRestore();
    expect(Math.abs(clock.confirm(Date.now(), 5))).toBeLessThan(100);
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(5);
  });

  it('[CLU15] believes a confirmed step, as after a machine was suspended', () => {
    const clock = new SystemClock();
    const wall = Date.now.bind(Date);
    vi.spyOn(Date, 'now').mockImplementation(() => wall() + 7_200_000);
    clock.confirm(Date.now(), 5);
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(5);
  });
});
