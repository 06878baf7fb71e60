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
});
