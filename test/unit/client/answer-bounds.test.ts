/** What a client takes in one frame of its server: more values than a request may hold, and a bound all the same. */
import { describe, expect, it } from 'vitest';
import { decodeAnswer, decodeFrame, encodeMsgpack, UndecodableFrame } from '../../../src/protocol/codec.ts';
import { limits } from '../../../src/protocol/limits.ts';

function reasonOf(decode: () => unknown): string | undefined {
  try {
    decode();
    return undefined;
  } catch (error) {
    if (error instanceof UndecodableFrame) return error.reason;
    throw error;
  }
}

const values = (count: number): Uint8Array => encodeMsgpack(Array(count).fill(0)).slice();
const members = (count: number): Uint8Array =>
  encodeMsgpack(Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 0]))).slice();

describe('an answer', () => {
  it('may hold what a request may not', () => {
    expect(reasonOf(() => decodeFrame('msgpack', values(limits.frameNodes)))).toBe('nodes');
    expect(decodeAnswer(values(limits.frameNodes))).toHaveLength(limits.frameNodes);
  });

  it.each([
    [limits.answerNodes - 2, undefined],
    [limits.answerNodes - 1, undefined],
    [limits.answerNodes, 'nodes'],
  ])('of %i values in an array: %s', (count, reason) => {
    expect(reasonOf(() => decodeAnswer(values(count)))).toBe(reason);
  });

  it.each([
    [limits.frameNodes - 1, undefined],
    [limits.frameNodes, undefined],
    [limits.frameNodes + 1, 'nodes'],
  ])('of %i members in one map: %s', (count, reason) => {
    expect(reasonOf(() => decodeAnswer(members(count)))).toBe(reason);
  });

  it('with a member twice is refused among the last as among the first', () => {
    const frame = members(limits.frameNodes);
    const text = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    text.write('k4094', text.lastIndexOf('k4095'));
    expect(reasonOf(() => decodeAnswer(frame))).toBe('duplicate-key');
  });
});
