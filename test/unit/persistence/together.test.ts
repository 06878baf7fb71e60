import { describe, expect, it } from 'vitest';
import { together } from '../../../src/persistence/oauth/together.ts';

/** Statements that the test answers. */
function statements() {
  const asked: { readonly keys: string[]; answer(found: Record<string, number>): void; fail(error: Error): void }[] = [];
  const read = together<number>(
    (keys) =>
      new Promise((resolve, reject) => {
        asked.push({ keys, answer: (found) => resolve(new Map(Object.entries(found))), fail: reject });
      }),
  );
  return { asked, read };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('look-ups together', () => {
  it('ask at once when nothing is under way, and gather meanwhile', async () => {
    const { asked, read } = statements();
    const first = read('a');
    const others = Promise.all([read('b'), read('c'), read('b')]);
    expect(asked.map(({ keys }) => keys)).toEqual([['a']]);
    asked[0]?.answer({ a: 1 });
    expect(await first).toBe(1);
    await turn();
    expect(asked.map(({ keys }) => keys)).toEqual([['a'], ['b', 'c']]);
    asked[1]?.answer({ b: 2 });
    expect(await others).toEqual([2, undefined, 2]);
  });

  it('never give what was read before it was asked for', async () => {
    const { asked, read } = statements();
    const old = read('a');
    const fresh = read('a');
    asked[0]?.answer({ a: 1 });
    await turn();
    asked[1]?.answer({ a: 2 });
    expect([await old, await fresh]).toEqual([1, 2]);
  });

  it('fail for those in the statement alone, and go on', async () => {
    const { asked, read } = statements();
    const failing = read('a');
    const next = read('b');
    asked[0]?.fail(new Error('gone'));
    await expect(failing).rejects.toThrow('gone');
    await turn();
    asked[1]?.answer({ b: 2 });
    expect(await next).toBe(2);
    const last = read('c');
    asked[2]?.answer({ c: 3 });
    expect(await last).toBe(3);
  });
});
