import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame, UndecodableFrame } from '../../../src/protocol/codec.ts';
import { jsonScan } from '../../../src/protocol/json-scan.ts';
import { limits } from '../../../src/protocol/limits.ts';
import { jsonValue, mulberry32, notPlain, prototypeKeys } from './frames.ts';

function reasonOf(text: string): string | undefined {
  return jsonScan(text)?.reason;
}

describe('jsonScan: accepted', () => {
  it.each([
    'null',
    '-0',
    '"a"',
    ' { "a" : [ 1 , 2 ] , "b" : { "a" : 1 } } ',
    '[{"a":1},{"a":1}]',
    '{"a":"a","b":"a"}',
    '{"a":{"a":{"a":1}}}',
    '{"a":[{"a":1},"a"],"b":1}',
    '["__proto__","constructor","prototype"]',
    '{"a\\"":1,"a":2,"a\\\\":3,"\\\\":4}',
    '"\\ud83d\\ude00"',
    '"\\\\ud83d"',
    '{"\\ud83d\\ude00":1}',
    '9007199254740991',
    '-9007199254740991',
    '0.1',
    '1e3',
    '75.00',
    '1.7976931348623157e308',
    '123456789.12345678901234567890',
  ])('%s', (text) => {
    expect(jsonScan(text)).toBeUndefined();
    expect(decodeFrame('json', text)).toStrictEqual(JSON.parse(text));
  });
});

describe('jsonScan: refused', () => {
  it.each<[text: string, reason: string, at: number]>([
    ['', 'empty', 0],
    ['{"a":1,"a":2}', 'duplicate-key', 7],
    ['{"a":1,"\\u0061":2}', 'duplicate-key', 7],
    ['{"a":{"a":1},"a":2}', 'duplicate-key', 13],
    ['[{"b":[1,{"c":1}],"b":2}]', 'duplicate-key', 18],
    ['{"":1,"":2}', 'duplicate-key', 6],
    ['{"__proto__":1}', 'forbidden-key', 1],
    ['{"prototype":1}', 'forbidden-key', 1],
    ['[[{"a":1,"constructor":1}]]', 'forbidden-key', 9],
    ['{"\\u005f_proto__":1}', 'forbidden-key', 1],
    ['9007199254740992', 'integer', 0],
    ['-9007199254740992', 'integer', 0],
    ['[1,9007199254740993]', 'integer', 3],
    ['123456789012345678901234567890', 'integer', 0],
    [`${'9'.repeat(400)}`, 'integer', 0],
    ['1e999', 'float', 0],
    ['[-1e999]', 'float', 1],
    ['"\\ud83d"', 'utf8', 0],
    ['"\\ude00\\ud83d"', 'utf8', 0],
    ['{"\\ud83d":1}', 'utf8', 1],
    ['"\ud83d"', 'utf8', 1],
    ['"a', 'truncated', 0],
    ['"a\\"', 'truncated', 0],
  ])('%s', (text, reason, at) => {
    expect(jsonScan(text)).toEqual({ reason, at });
  });

  it.each([
    '{',
    '[',
    '{"a"}',
    '{"a":}',
    '[1,]',
    '{} {}',
    '[1]x',
    '"\\x"',
    '"\\u12"',
    '{"\\u12":1}',
    "{'a':1}",
    'NaN',
    'Infinity',
    '-',
    '01',
    '1.',
    '0x10',
    ']',
    '}',
    '{]',
    'undefined',
    '"\n"',
  ])('what is no JSON is refused by the decoder: %s', (text) => {
    expect(() => decodeFrame('json', text)).toThrow(UndecodableFrame);
  });
});

describe('jsonScan: bounds', () => {
  const arrays = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
  const maps = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
  const flat = (values: number): string => `[${Array(values).fill('{}').join()}]`;
  const keys = (values: number): string => `{${Array.from({ length: values }, (_, i) => `"k${i}":1`).join()}}`;

  it('[S7] depth 15 and 16 are accepted, 17 refused', () => {
    for (const text of [arrays, maps]) {
      expect(reasonOf(text(limits.frameDepth - 1))).toBeUndefined();
      expect(reasonOf(text(limits.frameDepth))).toBeUndefined();
      expect(reasonOf(text(limits.frameDepth + 1))).toBe('depth');
    }
    expect(reasonOf('['.repeat(1_000_000))).toBe('depth');
  });

  it('[S8] 4,095 and 4,096 values are accepted, 4,097 refused; keys do not count', () => {
    for (const text of [flat, keys]) {
      expect(reasonOf(text(limits.frameNodes - 2))).toBeUndefined();
      expect(reasonOf(text(limits.frameNodes - 1))).toBeUndefined();
      expect(reasonOf(text(limits.frameNodes))).toBe('nodes');
    }
  });

  it('a string of a megabyte of escapes is walked once', () => {
    expect(reasonOf(`"${'\\\\'.repeat(1 << 19)}"`)).toBeUndefined();
    expect(reasonOf(`"${'\\"'.repeat(1 << 19)}"`)).toBeUndefined();
  });
});

describe('jsonScan: any text', () => {
  it('the text of any value is accepted, however it is spaced', () => {
    const property = fc.property(jsonValue, fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
      expect(jsonScan(JSON.stringify(value, undefined, indent))).toBeUndefined();
    });
    fc.assert(property, { numRuns: 500 });
  });

  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  it(`20,000 mutations of good texts: decoded to what the parser says, or UndecodableFrame (FUZZ_SEED=${seed})`, () => {
    const random = mulberry32(seed);
    const below = (n: number): number => Math.floor(random() * n);
    const good = [
      '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[1,2.5,-3],"b":{"c":null,"d":"x\\u00e4\\n"}}}',
      '[{"a":true},{"a":false},"\\ud83d\\ude00",[[],{}]]',
    ];
    const pieces = [
      ...'{}[],:"\\0123456789eE+-.truefalsn u',
      '"a":',
      '"__proto__":1,',
      '\\ud83d',
      '1e999',
      '9007199254740993',
      '[[[[[[[[',
      ',"a":1',
    ];
    const before = prototypeKeys();
    let decoded = 0;
    for (let i = 0; i < 20_000; i += 1) {
      let text = good[below(good.length)] as string;
      for (let n = 1 + below(3); n > 0; n -= 1) {
        const at = below(text.length);
        text = text.slice(0, at) + (pieces[below(pieces.length)] as string) + text.slice(at + below(3));
      }
      try {
        const value = decodeFrame('json', text);
        expect(value).toStrictEqual(JSON.parse(text));
        expect(notPlain(value)).toBeUndefined();
        expect(distinctKeys(text, value), text).toBe(true);
        decoded += 1;
      } catch (thrown) {
        if (!(thrown instanceof UndecodableFrame)) throw thrown;
      }
      if (prototypeKeys() !== before) expect.fail(`polluted by ${text}`);
    }
    expect(decoded).toBeGreaterThan(500);
  });
});

/** Whether no member was lost to a repeated key: then the parsed value has as many members as the text has colons outside strings. */
function distinctKeys(text: string, value: unknown): boolean {
  const colons = text.replace(/"(?:[^"\\]|\\.)*"/g, '').split(':').length - 1;
  const members = (inner: unknown): number =>
    typeof inner !== 'object' || inner === null
      ? 0
      : Object.values(inner).reduce<number>((sum, member) => sum + members(member), Array.isArray(inner) ? 0 : Object.keys(inner).length);
  return colons === members(value);
}
