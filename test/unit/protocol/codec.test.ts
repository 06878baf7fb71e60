import { decode as otherDecode, encode as otherEncode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encode, encodeJson, encodeMsgpack, UndecodableFrame } from '../../../src/protocol/codec.ts';
import { decodeScanned } from '../../../src/protocol/decode-scanned.ts';
import { prescan } from '../../../src/protocol/prescan.ts';
import { concat, hex, jsonValue, notPlain, plainValue, prototypeKeys, str, toHex } from './frames.ts';

function refusalOf(format: 'msgpack' | 'json', frame: Uint8Array | string): UndecodableFrame {
  try {
    decodeFrame(format, frame);
  } catch (thrown) {
    if (thrown instanceof UndecodableFrame) return thrown;
    throw thrown;
  }
  return expect.fail('the frame was decoded');
}

describe('codec: round trips', () => {
  it('any plain value survives MessagePack', () => {
    const property = fc.property(plainValue, (value) => {
      const back = decodeFrame('msgpack', encodeMsgpack(value));
      expect(back).toStrictEqual(value);
      expect(notPlain(back)).toBeUndefined();
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('any JSON value survives JSON', () => {
    const property = fc.property(jsonValue, (value) => {
      expect(decodeFrame('json', encodeJson(value))).toStrictEqual(value);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('another implementation reads what is written here, and the other way round', () => {
    const property = fc.property(plainValue, (value) => {
      expect(otherDecode(Uint8Array.from(encodeMsgpack(value)))).toStrictEqual(value);
      expect(decodeFrame('msgpack', otherEncode(value))).toStrictEqual(value);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('the decoder for long strings with U+FEFF reads any scanned frame as msgpackr does', () => {
    const property = fc.property(plainValue, (value) => {
      expect(decodeScanned(encodeMsgpack(value))).toStrictEqual(value);
      expect(decodeScanned(otherEncode(value))).toStrictEqual(value);
    });
    fc.assert(property, { numRuns: 500 });
    const everyHeader = hex(
      '9e cc01 cd0102 ce01020304 cf0000000100000000 d0ff d1ff00 d2ff000000 d3ffffffff00000000 ca3fc00000 c5000101 c60000000101 da000161 dc0000 de0000',
    );
    expect(decodeScanned(everyHeader)).toStrictEqual(decodeFrame('msgpack', everyHeader));
  });
});

describe('codec: decoding', () => {
  it('integers of 64 bits within the safe range are numbers', () => {
    expect(decodeFrame('msgpack', hex('cf001fffffffffffff'))).toBe(Number.MAX_SAFE_INTEGER);
    expect(decodeFrame('msgpack', hex('d3ffe0000000000001'))).toBe(Number.MIN_SAFE_INTEGER);
    expect(decodeFrame('msgpack', hex('d3ffffffffffffffff'))).toBe(-1);
  });

  it('nothing of the value aliases the frame, whatever holds the frame', () => {
    for (const frame of [
      Uint8Array.from(encodeMsgpack({ b: new Uint8Array([1, 2, 3]), s: 'text' })),
      Buffer.from(encodeMsgpack({ b: new Uint8Array([1, 2, 3]), s: 'text' })),
    ]) {
      const value = decodeFrame('msgpack', frame);
      frame.fill(0xff);
      expect(value).toStrictEqual({ b: new Uint8Array([1, 2, 3]), s: 'text' });
    }
  });

  it('bytes are a Uint8Array of their own also out of a Buffer and a frame with a long U+FEFF string', () => {
    for (const more of [{}, { t: `\ufeff${'x'.repeat(100)}` }]) {
      const value = decodeFrame('msgpack', Buffer.from(encodeMsgpack({ b: new Uint8Array([1]), ...more }))) as { b: Uint8Array };
      expect(value.b.constructor).toBe(Uint8Array);
      expect(value.b.buffer.byteLength).toBe(1);
    }
  });

  it('[S13] U+FEFF at the start of a string is kept at every length', () => {
    for (const length of [0, 1, 15, 60, 61, 62, 63, 64, 65, 200, 5_000]) {
      const text = `\ufeff${'x'.repeat(length)}`;
      expect(decodeFrame('msgpack', encodeMsgpack({ [text]: text, other: [text] }))).toStrictEqual({ [text]: text, other: [text] });
      expect(decodeFrame('json', encodeJson([text]))).toStrictEqual([text]);
    }
  });

  it('two keys that differ by a leading U+FEFF stay two', () => {
    const key = 'k'.repeat(80);
    expect(Object.keys(decodeFrame('msgpack', encodeMsgpack({ [key]: 1, [`\ufeff${key}`]: 2 })) as object)).toHaveLength(2);
  });

  it('text on the binary subprotocol is refused; bytes on the text one are read as UTF-8', () => {
    expect(refusalOf('msgpack', '{}').reason).toBe('frame-kind');
    expect(decodeFrame('json', new TextEncoder().encode('{"a":"ä"}'))).toStrictEqual({ a: 'ä' });
    expect(refusalOf('json', hex('22ff22')).reason).toBe('utf8');
    expect(refusalOf('json', new TextEncoder().encode('\ufeff{}')).reason).toBe('syntax');
  });

  it('a refusal says what is wrong and where, and nothing of the frame', () => {
    const refusal = refusalOf('msgpack', concat([0x82], str('pin'), str('482913'), str('pin'), str('482913')));
    expect(refusal).toMatchObject({ name: 'UndecodableFrame', reason: 'duplicate-key', at: 13 });
    expect(refusal.message).not.toContain('482913');
  });

  it('[S9] a record definition never reaches msgpackr: no code is generated', () => {
    const original = globalThis.Function;
    let generated = 0;
    globalThis.Function = new Proxy(original, {
      construct() {
        generated += 1;
        throw new EvalError('blocked');
      },
    });
    try {
      // fixext 1, type 0x72: defines a record of one member, then four uses of it.
      expect(refusalOf('msgpack', hex('95 d47240 91a161 01 4001 4002 4003 4004')).reason).toBe('extension');
      for (let i = 0; i < 50; i += 1) decodeFrame('msgpack', encodeMsgpack([{ a: i }, { a: i }, 0x40, 0x41]));
    } finally {
      globalThis.Function = original;
    }
    expect(generated).toBe(0);
  });

  it('[S11] hostile frames leave Object.prototype as it is', () => {
    const before = prototypeKeys();
    const frames = ['81 a95f5f70726f746f5f5f 81 a561646d696e c3', '81 ab636f6e7374727563746f72 81 a970726f746f74797065 81 a178 01'];
    for (const frame of frames) expect(refusalOf('msgpack', hex(frame)).reason).toBe('forbidden-key');
    for (const frame of ['{"__proto__":{"admin":true}}', '{"constructor":{"prototype":{"x":1}}}', '{"__proto\\u005f_":{}}']) {
      expect(refusalOf('json', frame).reason).toBe('forbidden-key');
    }
    expect(prototypeKeys()).toBe(before);
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });
});

describe('codec: encoding', () => {
  it('undefined members are left out and undefined elements are null, in both formats', () => {
    const value = { a: undefined, b: 1, c: { d: undefined }, e: [undefined, { f: undefined }] };
    const expected = { b: 1, c: {}, e: [null, {}] };
    expect(decodeFrame('msgpack', encodeMsgpack(value))).toStrictEqual(expected);
    expect(decodeFrame('json', encodeJson(value))).toStrictEqual(expected);
  });

  it('a lone surrogate is sent as U+FFFD, in both formats, in keys and values of every length', () => {
    for (const lone of ['\ud83d', '\ude00', 'a\ud83d', '\ude00\ud83d', `${'x'.repeat(70)}\ud83d`, `${'x'.repeat(70)}\ud83dy`]) {
      const sent = { [lone]: lone };
      const text = lone.replaceAll('\ud83d', '\ufffd').replaceAll('\ude00', '\ufffd');
      expect(decodeFrame('msgpack', encodeMsgpack(sent))).toStrictEqual({ [text]: text });
      expect(decodeFrame('json', encodeJson(sent))).toStrictEqual({ [text]: text });
    }
  });

  it('text that only looks like an escaped surrogate, and bytes that only look like a marker, are left alone', () => {
    const looks = { a: '\\ud83d', b: '힣한국어', c: '😀', d: 'Ԁ' };
    expect(decodeFrame('json', encodeJson(looks))).toStrictEqual(looks);
    const bytes = { ...looks, e: new Uint8Array([0xd4, 0, 0, 0xed, 0xa0, 0x80]) };
    expect(decodeFrame('msgpack', encodeMsgpack(bytes))).toStrictEqual(bytes);
  });

  it('the shortest headers are used, and no extension', () => {
    expect(toHex(encodeMsgpack({ a: 1, b: [true, null], c: -1, d: 200, e: 70_000 }))).toBe(
      '85a16101a16292c3c0a163ffa164ccc8a165ce00011170',
    );
  });

  it('a safe integer is written as an integer, whatever its size; a fraction as a float', () => {
    const wide = [2 ** 32, 1_767_225_600_123, Number.MAX_SAFE_INTEGER, -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER];
    for (const n of wide) {
      expect(encodeMsgpack({ n })[3], `${n}`).toBe(0xd3);
      expect(decodeFrame('msgpack', encodeMsgpack({ n }))).toStrictEqual({ n });
      expect(decodeFrame('json', encodeJson({ n, lone: '\ud83d' }))).toStrictEqual({ n, lone: '\ufffd' });
    }
    for (const n of [0.5, 75.25, 2 ** 31 + 0.5, 2 ** 60, -1e300]) expect(encodeMsgpack({ n })[3], `${n}`).toBe(0xcb);
    expect([2 ** 31, 2 ** 32 - 1, -(2 ** 31)].map((n) => encodeMsgpack([n])[1])).toEqual([0xce, 0xce, 0xd2]);
  });

  it('a result is never written to again, by thousands of later ones of any size', () => {
    const kept = Array.from({ length: 3_000 }, (_, i) => {
      const value = { i, text: 'y'.repeat(i % 97 === 0 ? 40_000 : i % 50) };
      const bytes = encodeMsgpack(value);
      return { value, bytes, copy: Uint8Array.from(bytes) };
    });
    for (const { value, bytes, copy } of kept) {
      expect(Buffer.compare(bytes, copy)).toBe(0);
      expect(decodeFrame('msgpack', bytes)).toStrictEqual(value);
    }
  });

  it('a large value does not make later small ones pin large memory', () => {
    const large = encodeMsgpack({ value: 'x'.repeat(1 << 20) });
    expect(large.buffer.byteLength).toBe(large.byteLength);
    for (let i = 0; i < 100; i += 1) expect(encodeMsgpack({ i }).buffer.byteLength).toBeLessThanOrEqual(64 * 1024);
    expect(decodeFrame('msgpack', encodeMsgpack({ long: 'ä'.repeat(100) }))).toStrictEqual({ long: 'ä'.repeat(100) });
  });

  it('what is written passes the scan, up to four thousand members', () => {
    const value = { members: Object.fromEntries(Array.from({ length: 4_094 }, (_, i) => [`k${i}`, i])) };
    expect(prescan(encodeMsgpack(value))).toBeUndefined();
    expect(decodeFrame('json', encodeJson(value))).toStrictEqual(value);
  });

  it('encode gives bytes for one format and text for the other', () => {
    expect(encode('msgpack', [1])).toEqual(encodeMsgpack([1]));
    expect(encode('json', [1])).toBe('[1]');
  });
});
