import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/protocol/limits.ts';
import { ReplayBuffer } from '../../../src/transport/live/replay-buffer.ts';

function filled(count: number, bytes = 1): ReplayBuffer {
  const buffer = new ReplayBuffer();
  for (let n = 1; n <= count; n++) buffer.append('m', { n }, bytes);
  buffer.markSent(count);
  return buffer;
}
const numbers = (events: readonly { seq: number }[] | undefined) => events?.map(({ seq }) => seq);

describe('the replay buffer', () => {
  it('[LIVE10] numbers from 1 and gives what comes after a number', () => {
    const buffer = filled(3);
    expect(numbers(buffer.after(0))).toEqual([1, 2, 3]);
    expect(numbers(buffer.after(2))).toEqual([3]);
    expect(numbers(buffer.after(3))).toEqual([]);
    expect(buffer.after(4)).toBeUndefined();
  });

  it('[LIVE11] an empty one can be resumed from 0', () => {
    expect(numbers(new ReplayBuffer().after(0))).toEqual([]);
  });

  it('[LIVE13] lets go of what was acknowledged, and of nothing else', () => {
    const buffer = filled(5, 10);
    expect(buffer.ack(3)).toBe(3);
    expect([buffer.size, buffer.bytes, numbers(buffer.after(3)), buffer.after(2)]).toEqual([2, 20, [4, 5], undefined]);
    expect(buffer.ack(1)).toBe(1);
    expect(buffer.size).toBe(2);
  });

  it('[LIVE13] an acknowledgement cannot reach past what was sent', () => {
    const buffer = filled(2);
    buffer.append('m', {}, 1);
    expect(buffer.ack(3)).toBe(2);
    expect(numbers(buffer.unsent())).toEqual([3]);
  });

  it.each([
    ['events', limits.replayEvents, 1],
    ['bytes', 4, limits.replayBytes / 4],
  ])('[LIVE14] holds exactly its bound of %s, one more drops all', (_what, count, bytes) => {
    const buffer = filled(count, bytes);
    expect(buffer.size).toBe(count);
    expect(buffer.append('m', {}, bytes)).toBe(false);
    expect([buffer.size, buffer.bytes, buffer.seq]).toEqual([0, 0, count + 1]);
    expect(buffer.after(count)).toBeUndefined();
    expect(buffer.append('m', {}, 1)).toBe(true);
    expect(numbers(buffer.after(count + 1))).toEqual([count + 2]);
  });

  it('[LIVE24] puts the newest in the place of one that nobody saw, and only there', () => {
    const buffer = new ReplayBuffer();
    buffer.append('m', { n: 1 }, 5, 'k');
    buffer.append('m', { n: 2 }, 5, 'other');
    expect(buffer.coalesce('m', { n: 3 }, 7, 'k')).toBe(true);
    expect(buffer.coalesce('other', { n: 4 }, 7, 'k')).toBe(false);
    expect(buffer.all().map(({ seq, params }) => [seq, params['n']])).toEqual([
      [1, 3],
      [2, 2],
    ]);
    expect(buffer.bytes).toBe(12);
    buffer.markSent(1);
    expect(buffer.coalesce('m', { n: 5 }, 7, 'k')).toBe(false);
    buffer.markSent(2);
    expect(buffer.coalesce('m', { n: 5 }, 7, 'other')).toBe(false);
  });

  it('[LIVE10] a rewound one sends again what the client has not seen', () => {
    const buffer = filled(5);
    buffer.rewind(2);
    expect(numbers(buffer.unsent())).toEqual([3, 4, 5]);
    expect(buffer.after(1)).toBeUndefined();
  });

  it('[LIVE19] goes on from a record', () => {
    const buffer = new ReplayBuffer(7, [
      { seq: 6, method: 'm', params: {}, bytes: 3 },
      { seq: 7, method: 'm', params: {}, bytes: 3 },
    ]);
    expect([numbers(buffer.after(5)), buffer.after(4), buffer.bytes]).toEqual([[6, 7], undefined, 6]);
    buffer.append('m', {}, 1);
    expect(numbers(buffer.after(6))).toEqual([7, 8]);
  });

  it.each([1, 2, 3])('[LIVE10] whatever happens, what it gives is a run without gaps up to the newest (seed %i)', (seed) => {
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const buffer = new ReplayBuffer();
    for (let step = 0; step < 20_000; step++) {
      const key = String(random(3));
      switch (random(5)) {
        case 0:
          buffer.ack(random(buffer.seq + 2));
          break;
        case 1:
          buffer.markSent(buffer.sent + random(buffer.seq - buffer.sent + 1));
          break;
        case 2:
          if (buffer.after(buffer.sent) !== undefined && random(20) === 0)
            buffer.rewind(buffer.floor + random(buffer.seq - buffer.floor + 1));
          break;
        default:
          if (!buffer.coalesce('m', { step }, random(2_000), key))
            buffer.append('m', { step }, random(2_000), random(2) === 0 ? key : undefined);
      }
      const kept = buffer.all();
      expect(kept.length).toBe(buffer.seq - buffer.floor);
      expect(kept[0]?.seq ?? buffer.floor + 1).toBe(buffer.floor + 1);
      expect(buffer.size <= limits.replayEvents && buffer.sent <= buffer.seq).toBe(true);
    }
    expect(buffer.bytes).toBe(buffer.all().reduce((sum, { bytes }) => sum + bytes, 0));
  });
});
