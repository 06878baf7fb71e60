/** Refusals that are answered later: in order, after their delay, no more than may wait. */
import { expect, it } from 'vitest';
import { LateAnswers } from '../../../src/transport/live/late-answers.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function setUp(most: number) {
  const clock = new ManualClock();
  const answered: number[] = [];
  const late = new LateAnswers<number>(clock, most, (n) => answered.push(n));
  return { clock, answered, late };
}

it('[LIVE48] are answered in their order after their delay, and the clock is left alone when none waits', () => {
  const { clock, answered, late } = setUp(10);
  expect(clock.pending).toBe(0);
  late.add(1, 1_000);
  clock.advance(500);
  late.add(2, 1_000);
  late.add(3, 1_000);
  clock.advance(450);
  expect(answered).toEqual([]);
  clock.advance(50);
  expect(answered).toEqual([1]);
  clock.advance(550);
  expect(answered).toEqual([1, 2, 3]);
  expect(clock.pending).toBe(0);
  late.add(4, 1_000);
  clock.advance(1_050);
  expect(answered).toEqual([1, 2, 3, 4]);
});

it('[LIVE48] past their number are not taken', () => {
  const { clock, late } = setUp(2);
  expect([late.add(1, 1_000), late.add(2, 1_000), late.add(3, 1_000)]).toEqual([true, true, false]);
  clock.advance(2_000);
  expect(late.add(4, 1_000)).toBe(true);
});

it('[LIVE48] each waits for its own time', () => {
  const { clock, answered, late } = setUp(10);
  late.add(1, 5_000);
  late.add(2, 1_000);
  late.add(3, 5_000);
  clock.advance(1_050);
  expect(answered).toEqual([2]);
  clock.advance(4_000);
  expect(answered).toEqual([2, 1, 3]);
  expect(clock.pending).toBe(0);
});
