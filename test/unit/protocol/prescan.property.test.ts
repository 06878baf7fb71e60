import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encodeMsgpack, UndecodableFrame } from '../../../src/protocol/codec.ts';
import { prescan } from '../../../src/protocol/prescan.ts';
import { concat, hex, mulberry32, notPlain, plainValue, prototypeKeys, str, toHex } from './frames.ts';
import { Refused, referenceDecode } from './reference-scan.ts';

/** What the reference says of a frame: its value, or that it is refused. */
function referenceOf(frame: Uint8Array): { value: unknown } | 'refused' {
  try {
    return { value: referenceDecode(frame) };
  } catch (thrown) {
    if (thrown instanceof Refused) return 'refused';
    throw thrown;
  }
}

function decodedOf(frame: Uint8Array): { value: unknown } | 'refused' {
  try {
    return { value: decodeFrame('msgpack', frame) };
  } catch (thrown) {
    if (thrown instanceof UndecodableFrame) return 'refused';
    throw thrown;
  }
}

/** Whether the decoder agrees with the reference about one frame, value included; fails with the frame when not. */
function checkAgainstReference(frame: Uint8Array): 'accepted' | 'refused' {
  const expected = referenceOf(frame);
  const actual = decodedOf(frame);
  const fault = prescan(frame);
  if ((fault === undefined) !== (expected !== 'refused') || (actual === 'refused') !== (expected === 'refused')) {
    expect.fail(`${toHex(frame)}: reference ${JSON.stringify(expected)}, decoder ${JSON.stringify(actual)}, scan ${JSON.stringify(fault)}`);
  }
  if (expected === 'refused' || actual === 'refused') return 'refused';
  expect(actual.value, toHex(frame)).toStrictEqual(expected.value);
  expect(notPlain(actual.value), toHex(frame)).toBeUndefined();
  return 'accepted';
}

describe('pre-scan and decoder against the reference', () => {
  it('random bytes: never anything but UndecodableFrame, never a polluted prototype', () => {
    const before = prototypeKeys();
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      checkAgainstReference(bytes);
      expect(prototypeKeys()).toBe(before);
    });
    fc.assert(property, { numRuns: 5_000 });
  });

  it('random items of the format: headers that mean something', () => {
    const item = fc.oneof(
      fc.constantFrom(
        'c0',
        'c2',
        'c3',
        '00',
        '7f',
        'ff',
        '80',
        '81',
        '82',
        '83',
        '90',
        '91',
        '92',
        '93',
        'dc0002',
        'de0002',
        'dd00000001',
        'df00000001',
      ),
      fc.constantFrom(
        'a0',
        'a161',
        'a162',
        'd90161',
        'da000161',
        'db0000000161',
        'a2c3a4',
        'a1ff',
        'a95f5f70726f746f5f5f',
        'ab636f6e7374727563746f72',
      ),
      fc.constantFrom(
        'c400',
        'c40101',
        'c5000101',
        'c60000000101',
        'ccff',
        'cd0100',
        'ce01000000',
        'd0ff',
        'd18000',
        'd280000000',
        'c1',
        'd40000',
      ),
      fc.constantFrom(
        'cf001fffffffffffff',
        'cf0020000000000000',
        'd3ffe0000000000001',
        'd3ffe0000000000000',
        'ca3fc00000',
        'ca7f800000',
        'cb7ff8000000000000',
      ),
    );
    const frame = fc.array(item, { minLength: 1, maxLength: 14 }).map((items) => hex(items.join('')));
    const seen = { accepted: 0, refused: 0 };
    const property = fc.property(frame, (bytes) => {
      seen[checkAgainstReference(bytes)] += 1;
    });
    fc.assert(property, { numRuns: 20_000 });
    // Both verdicts must have been compared, or the test says nothing.
    expect(seen.accepted).toBeGreaterThan(200);
    expect(seen.refused).toBeGreaterThan(200);
  });

  it('the frame of any plain value is accepted and read alike', () => {
    const property = fc.property(plainValue, (value) => {
      expect(checkAgainstReference(encodeMsgpack(value))).toBe('accepted');
    });
    fc.assert(property, { numRuns: 500 });
  });

  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  it(`20,000 mutations of good frames (FUZZ_SEED=${seed})`, () => {
    const random = mulberry32(seed);
    const below = (n: number): number => Math.floor(random() * n);
    const before = prototypeKeys();
    const seen = { accepted: 0, refused: 0 };
    for (let i = 0; i < 20_000; i += 1) {
      let frame = seeds[below(seeds.length)] as Uint8Array;
      for (let n = 1 + below(3); n > 0; n -= 1) frame = mutate(frame, below);
      seen[checkAgainstReference(frame)] += 1;
      if (prototypeKeys() !== before) expect.fail(`polluted by ${toHex(frame)}`);
    }
    expect(seen.accepted).toBeGreaterThan(1_000);
    expect(seen.refused).toBeGreaterThan(1_000);
  });
});

/** Good frames with every kind of item in them. */
const seeds: Uint8Array[] = [
  encodeMsgpack({ id: 7, method: 'tween.storage.get', params: { key: 'settings/theme' } }),
  encodeMsgpack({
    id: 'r-1',
    method: 'tween.wallet.pay',
    params: { amount: 75, currency: 'USD', items: [{ name: 'Tee €', n: 2 }], note: 'ä'.repeat(60) },
  }),
  encodeMsgpack({
    jsonrpc: '2.0',
    id: 2 ** 40,
    method: 'm',
    params: { a: [], b: {}, c: new Uint8Array(20), d: 1.5, e: -1, f: -70_000, g: null, h: true },
  }),
  encodeMsgpack([
    { id: 1, method: 'm' },
    { id: 2, method: 'n', params: {} },
  ]),
  encodeMsgpack({ method: 'tween.session.ack', params: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, i])) }),
  concat(
    [0x84],
    str('x'),
    [0xcf, 0, 0, 0, 1, 0, 0, 0, 0],
    str('y'),
    [0xd3, 255, 255, 255, 0, 0, 0, 0, 0],
    str('z'),
    [0xca, 63, 192, 0, 0],
    str('bom'),
    str(`\ufeff${'b'.repeat(80)}`),
  ),
];

const telling = [
  0x00, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xca, 0xcb, 0xcf, 0xd3, 0xd4, 0xd9, 0xdb,
  0xdd, 0xdf, 0xed, 0xff,
];

/** One change: a byte flipped, replaced, taken out or put in, a stretch copied or cut off, a length or key made a lie. */
function mutate(frame: Uint8Array, below: (n: number) => number): Uint8Array {
  if (frame.length === 0) return Uint8Array.of(below(256));
  const at = below(frame.length);
  const to = at + below(frame.length - at + 1);
  switch (below(7)) {
    case 0:
      return frame.with(at, (frame[at] as number) ^ (1 << below(8)));
    case 1:
      return frame.with(at, telling[below(telling.length)] as number);
    case 2:
      return concat(frame.slice(0, at), frame.slice(at + 1));
    case 3:
      return concat(frame.slice(0, at), [telling[below(telling.length)] as number], frame.slice(at));
    case 4:
      return concat(frame.slice(0, to), frame.slice(at));
    case 5:
      return frame.slice(0, to);
    default:
      return concat(frame.slice(0, at), str(['__proto__', 'constructor', 'a', 'key'][below(4)] as string), frame.slice(at));
  }
}
