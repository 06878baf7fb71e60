import { describe, expect, it } from 'vitest';
import { ArrayWriter } from '../../../src/persistence/journal/array-writer.ts';
import { oid } from '../../../src/persistence/postgres/value-parsers.ts';

const hex = (buffer: Buffer): string => buffer.toString('hex');

describe('a binary array', () => {
  it('without elements has no dimensions', () => {
    expect(hex(new ArrayWriter(oid.text).take())).toBe(['00000000', '00000000', '00000019'].join(''));
  });

  it('has a header, then each element behind its length', () => {
    const writer = new ArrayWriter(oid.text);
    writer.text('a');
    writer.text('ü');
    writer.text('');
    expect(hex(writer.take())).toBe(
      ['00000001', '00000000', '00000019', '00000003', '00000001', '0000000161', '00000002c3bc', '00000000'].join(''),
    );
    expect(writer.length).toBe(3);
  });

  it('marks nulls', () => {
    const writer = new ArrayWriter(oid.bytea);
    writer.bytes(null);
    writer.bytes(new Uint8Array([1, 2]));
    expect(hex(writer.take())).toBe(['00000001', '00000001', '00000011', '00000002', '00000001', 'ffffffff', '000000020102'].join(''));
  });

  it('writes integers of both widths, negative ones too', () => {
    const eight = new ArrayWriter(oid.int8);
    for (const value of [0, 1, -1, 2 ** 32, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) eight.int8(value);
    const bytes = eight.take();
    expect([0, 1, 2, 3, 4, 5].map((index) => bytes.readBigInt64BE(20 + index * 12 + 4))).toEqual([
      0n,
      1n,
      -1n,
      2n ** 32n,
      BigInt(Number.MAX_SAFE_INTEGER),
      BigInt(Number.MIN_SAFE_INTEGER),
    ]);
    const four = new ArrayWriter(oid.int4);
    for (const value of [-(2 ** 31), 2 ** 31 - 1]) four.int4(value);
    expect([four.take().readInt32BE(24), four.take().readInt32BE(32)]).toEqual([-(2 ** 31), 2 ** 31 - 1]);
  });

  it('refuses a number that its column cannot hold', () => {
    const writer = new ArrayWriter(oid.int8);
    for (const value of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) expect(() => writer.int8(value)).toThrow(RangeError);
    for (const value of [1.5, Number.NaN, 2 ** 31, -(2 ** 31) - 1]) expect(() => writer.int4(value)).toThrow(RangeError);
  });

  it('puts the version byte before jsonb', () => {
    const writer = new ArrayWriter(oid.jsonb);
    writer.json('{}');
    expect(hex(writer.take()).slice(40)).toBe('00000003017b7d');
  });

  it('keeps texts of every length whole while its buffer grows', () => {
    const writer = new ArrayWriter(oid.text);
    const texts = Array.from({ length: 300 }, (_, index) => (index % 2 === 0 ? 'x' : '字').repeat(index));
    for (const text of texts) writer.text(text);
    const bytes = writer.take();
    let offset = 20;
    const read = texts.map(() => {
      const length = bytes.readInt32BE(offset);
      const text = bytes.toString('utf8', offset + 4, offset + 4 + length);
      offset += 4 + length;
      return text;
    });
    expect(read).toEqual(texts);
    expect(offset).toBe(bytes.length);
  });

  it('starts anew after a reset, also when it had grown large', () => {
    const writer = new ArrayWriter(oid.bytea);
    writer.bytes(new Uint8Array(3_000_000));
    writer.bytes(null);
    expect(writer.take().length).toBe(20 + 4 + 3_000_000 + 4);
    writer.reset();
    writer.bytes(new Uint8Array([5]));
    expect(hex(writer.take())).toBe(['00000001', '00000000', '00000011', '00000001', '00000001', '0000000105'].join(''));
  });
});
