/** How many sockets a node takes in a second, and when those it turns away are told to come back. */
import { describe, expect, it } from 'vitest';
import { AcceptBudget } from '../../../src/transport/live/accept-budget.ts';

describe('the accept budget', () => {
  it('[LIVE45] takes the burst at once, and then its rate', () => {
    const budget = new AcceptBudget(10, 5, 0);
    const taken = (now: number): number =>
      Array.from({ length: 20 }, () => budget.take(now, 0)).filter((wait) => wait === undefined).length;
    expect(taken(0)).toBe(5);
    expect(taken(99)).toBe(0);
    expect(taken(200)).toBe(2);
    expect(taken(10_000)).toBe(5);
  });

  it('[LIVE45] grants no more than rate and burst in any window', () => {
    const budget = new AcceptBudget(100, 50, 0);
    const granted: number[] = [];
    for (let now = 0; now < 10_000; now += 3) for (let i = 0; i < 5; i++) if (budget.take(now, 0.5) === undefined) granted.push(now);
    for (const windowMs of [100, 1_000, 5_000]) {
      for (let from = 0; from + windowMs <= 10_000; from += 50) {
        const inside = granted.filter((at) => at >= from && at < from + windowMs).length;
        expect(inside).toBeLessThanOrEqual(50 + (100 * windowMs) / 1_000 + 1);
      }
    }
    expect(granted.length).toBeGreaterThan(1_000);
  });

  it('[LIVE45] sends the many further away than the few, never past a minute', () => {
    const waits = (count: number): number[] => {
      const budget = new AcceptBudget(100, 1, 0);
      budget.take(0, 0);
      return Array.from({ length: count }, (_, i) => budget.take(0, (i % 100) / 100) as number);
    };
    expect(Math.max(...waits(100))).toBeLessThanOrEqual(5);
    const many = waits(2_000);
    expect(Math.max(...many)).toBeGreaterThan(15);
    expect(Math.min(...many)).toBe(1);
    expect(Math.max(...waits(100_000))).toBe(60);
  });

  it('[LIVE45] of a rate of 0 is none', () => {
    const budget = new AcceptBudget(0, 1, 0);
    expect(Array.from({ length: 1_000 }, () => budget.take(0, 0)).filter((wait) => wait !== undefined)).toEqual([]);
  });
});
