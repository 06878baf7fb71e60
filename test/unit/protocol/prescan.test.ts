import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/protocol/limits.ts';
import { lastScanSawLongBom, prescan } from '../../../src/protocol/prescan.ts';
import { concat, header16, hex, nested, str } from './frames.ts';

/** The reason a frame is refused for, or undefined. */
function reasonOf(frame: Uint8Array | string): string | undefined {
  return prescan(typeof frame === 'string' ? hex(frame) : frame)?.reason;
}

/** The frame at offset 0 and inside a larger buffer, as a caller may hold it. */
function bothPlacements(frame: Uint8Array): Uint8Array[] {
  const around = concat([0xff, 0xff, 0xff], frame, [0xff, 0xff]);
  return [frame, around.subarray(3, 3 + frame.length), Buffer.from(frame)];
}

describe('prescan: accepted', () => {
  const accepted: Record<string, string> = {
    nil: 'c0',
    false: 'c2',
    true: 'c3',
    'the largest fixint': '7f',
    'the smallest fixint': 'e0',
    'an empty map': '80',
    'an empty array': '90',
    'an empty string': 'a0',
    'empty bytes': 'c400',
    'bytes of each header': '93 c40101 c5000102 c60000000103',
    'uint 8 to 64': '94 ccff cdffff ceffffffff cf001fffffffffffff',
    'int 8 to 64': '94 d080 d18000 d280000000 d3ffe0000000000001',
    'int 64 at its upper bound': 'd3001fffffffffffff',
    'a negative int 64 with a small lower half': 'd3fffffffffffffffe',
    'float 32 and 64': '92 ca7f7fffff cb7fefffffffffffff',
    'strings of each header': '94 a161 d90161 da000161 db0000000161',
    'arrays of each header': '93 9101 dc000101 dd0000000101',
    'maps of each header': '93 81a16101 de0001a16101 df00000001a16101',
    'the same key in two maps': '92 81a16101 81a16101',
    'the same key in a map and in a map inside it': '82 a161 81a16101 a162 c0',
    'keys that only begin alike': '83 a161c0 a26161c0 a3616161c0',
    'an empty key': '81 a0 c0',
    'values named like prototypes': '92 a95f5f70726f746f5f5f ab636f6e7374727563746f72',
  };
  it.each(Object.entries(accepted))('%s', (_, frame) => {
    for (const placed of bothPlacements(hex(frame))) expect(prescan(placed)).toBeUndefined();
  });
});

describe('prescan: refused', () => {
  const refused: Record<string, [frame: string, reason: string, at: number]> = {
    'an empty frame': ['', 'empty', 0],
    'a byte behind the value': ['c0 c0', 'trailing', 1],
    'a second value behind a map': ['80 80', 'trailing', 1],
    '[S9] 0xc1': ['c1', 'reserved', 0],
    '[S9] 0xc1 in an array': ['91 c1', 'reserved', 1],
    '[S9] a timestamp': ['d6ff 00000000', 'extension', 0],
    '[S14] 2^53 as uint 64': ['cf0020000000000000', 'integer', 0],
    '[S14] 2^64 - 1': ['cfffffffffffffffff', 'integer', 0],
    '[S14] 2^53 as int 64': ['d30020000000000000', 'integer', 0],
    '[S14] -2^53': ['d3ffe0000000000000', 'integer', 0],
    '[S14] -2^63': ['d38000000000000000', 'integer', 0],
    '[S14] NaN as float 32': ['ca7fc00000', 'float', 0],
    '[S14] infinity as float 32': ['ca7f800000', 'float', 0],
    '[S14] minus infinity as float 32': ['caff800000', 'float', 0],
    '[S14] NaN as float 64': ['cb7ff8000000000000', 'float', 0],
    '[S14] infinity as float 64': ['cb7ff0000000000000', 'float', 0],
    '[S14] minus infinity as float 64': ['cbfff0000000000000', 'float', 0],
    '[S11] __proto__': ['81 a95f5f70726f746f5f5f c0', 'forbidden-key', 1],
    '[S11] prototype': ['81 a970726f746f74797065 c0', 'forbidden-key', 1],
    '[S11] constructor': ['81 ab636f6e7374727563746f72 c0', 'forbidden-key', 1],
    '[S11] __proto__ with a str 8 header': ['81 d9095f5f70726f746f5f5f c0', 'forbidden-key', 1],
    '[S11] __proto__ with a str 32 header': ['81 db000000095f5f70726f746f5f5f c0', 'forbidden-key', 1],
    '[S11] __proto__ deep inside': ['91 81 a161 81 a95f5f70726f746f5f5f 80', 'forbidden-key', 5],
    '[S12] a key twice': ['82 a161 01 a161 02', 'duplicate-key', 5],
    '[S12] a key twice under different headers': ['82 a161 01 d90161 02', 'duplicate-key', 6],
    '[S12] the empty key twice': ['82 a0 01 a0 02', 'duplicate-key', 4],
    '[S12] a key again behind a map inside': ['82 a161 82a16201a16302 a161 02', 'duplicate-key', 11],
    'an integer as key': ['81 01 02', 'key', 1],
    'a negative integer as key': ['81 ff 02', 'key', 1],
    'nil as key': ['81 c0 02', 'key', 1],
    'a boolean as key': ['81 c3 02', 'key', 1],
    'bytes as key': ['81 c40161 02', 'key', 1],
    'an array as key': ['81 90 02', 'key', 1],
    'a map as key': ['81 80 02', 'key', 1],
    'a float as key': ['81 ca00000000 02', 'key', 1],
    'a uint 8 as key': ['81 cc01 02', 'key', 1],
  };
  it.each(Object.entries(refused))('%s', (_, [frame, reason, at]) => {
    for (const placed of bothPlacements(hex(frame))) expect(prescan(placed)).toEqual({ reason, at });
  });

  it('[S9] every extension code in every size', () => {
    const sizes = [[0xd4], [0xd5], [0xd6], [0xd7], [0xd8], [0xc7, 3], [0xc8, 0, 3], [0xc9, 0, 0, 0, 3]];
    const bodies = [1, 2, 4, 8, 16, 3, 3, 3];
    for (let code = 0; code < 256; code += 1) {
      for (const [i, head] of sizes.entries()) {
        const item = [...head, code, ...Array(bodies[i]).fill(0x90)];
        expect(reasonOf(Uint8Array.from(item)), `code ${code}, head ${head[0]}`).toBe('extension');
        expect(reasonOf(Uint8Array.from([0x81, 0xa1, 0x61, ...item])), `inside a map: code ${code}, head ${head[0]}`).toBe('extension');
        expect(reasonOf(Uint8Array.from([0x81, ...item, 0xc0])), `as key: code ${code}, head ${head[0]}`).toBe('extension');
      }
    }
  });

  it('[S10] a big integer of a megabyte in an extension', () => {
    expect(reasonOf(concat([0xc9, 0, 0x10, 0, 0, 0x42], new Uint8Array(1 << 20).fill(0x7f)))).toBe('extension');
  });

  it('each accepted frame cut anywhere', () => {
    const frame = concat(
      [0x88],
      ...[str('id'), [0xcd, 1, 2], str('m'), str('x'.repeat(40)), str('b'), [0xc5, 0, 2, 1, 2]],
      ...[str('f'), [0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], str('a'), [0xdc, 0, 2, 1, 2], str('p'), [0xde, 0, 1, 0xa1, 0x61, 0xc0]],
      ...[str('u'), str('ä€😀'), str('n'), [0xd3, 255, 255, 255, 255, 255, 255, 255, 0]],
    );
    expect(prescan(frame)).toBeUndefined();
    for (let length = 1; length < frame.length; length += 1) expect(reasonOf(frame.slice(0, length)), `cut at ${length}`).toBe('truncated');
  });
});

describe('prescan: [S6] lengths that run past the frame', () => {
  const lies = [
    ...['dfffffffff', 'ddffffffff', 'dbffffffff', 'c6ffffffff', 'deffff', 'dcffff', 'daffff', 'c5ffff', 'd9ff', 'c4ff', '8f', '9f', 'bf'],
    ...['df80000000', 'dd80000000', 'db80000000', 'c680000000'],
  ];
  it.each(lies)('%s', (lie) => {
    expect(reasonOf(lie)).toBe('truncated');
    expect(reasonOf(concat([0x81, 0xa1, 0x61], hex(lie)))).toBe('truncated');
  });

  it('an array takes one byte an element: exactly enough is accepted, one more refused', () => {
    expect(reasonOf(concat(header16(0xdc, 100), new Uint8Array(100)))).toBeUndefined();
    expect(reasonOf(concat(header16(0xdc, 101), new Uint8Array(100)))).toBe('truncated');
  });

  it('a string and bytes that end with the frame are accepted, one byte longer refused', () => {
    for (const head of [0xd9, 0xc4]) {
      expect(reasonOf(concat([head, 100], new Uint8Array(100).fill(0x61)))).toBeUndefined();
      expect(reasonOf(concat([head, 101], new Uint8Array(100).fill(0x61)))).toBe('truncated');
    }
  });

  it('a map entry takes two bytes: the count is refused before a key is read', () => {
    expect(prescan(concat(header16(0xde, 51), new Uint8Array(100)))).toEqual({ reason: 'truncated', at: 0 });
  });
});

describe('prescan: [S7] depth', () => {
  const map = (levels: number): Uint8Array => concat(...Array(levels - 1).fill([0x81, 0xa1, 0x61]), [0x80]);

  it('one level under the limit and the limit are accepted', () => {
    for (const levels of [limits.frameDepth - 1, limits.frameDepth]) {
      expect(reasonOf(nested(levels))).toBeUndefined();
      expect(reasonOf(nested(levels, [0x01]))).toBeUndefined();
      expect(reasonOf(map(levels))).toBeUndefined();
    }
  });

  it('one level more is refused, even empty', () => {
    expect(reasonOf(nested(limits.frameDepth + 1))).toBe('depth');
    expect(reasonOf(nested(limits.frameDepth + 1, [0x01]))).toBe('depth');
    expect(reasonOf(map(limits.frameDepth + 1))).toBe('depth');
  });

  it('sixty thousand levels are refused at the seventeenth', () => {
    expect(prescan(nested(60_000))).toEqual({ reason: 'depth', at: limits.frameDepth });
  });

  it('levels side by side do not add up', () => {
    expect(reasonOf(concat([0x93], nested(15), nested(15), nested(15)))).toBeUndefined();
  });
});

describe('prescan: [S8] nodes', () => {
  const flat = (count: number): Uint8Array => concat(header16(0xdc, count), new Uint8Array(count).fill(0x80));
  const keys = (count: number): Uint8Array =>
    concat(header16(0xde, count), ...Array.from({ length: count }, (_, i) => concat(str(`key ${i}`), [0xc0])));

  it('4,095 and 4,096 values are accepted, 4,097 refused', () => {
    expect(reasonOf(flat(limits.frameNodes - 2))).toBeUndefined();
    expect(reasonOf(flat(limits.frameNodes - 1))).toBeUndefined();
    expect(reasonOf(flat(limits.frameNodes))).toBe('nodes');
  });

  it('keys are no nodes', () => {
    expect(reasonOf(keys(limits.frameNodes - 1))).toBeUndefined();
    expect(reasonOf(keys(limits.frameNodes))).toBe('nodes');
  });

  it('nodes of many small containers add up', () => {
    const pairs = (count: number): Uint8Array => concat(header16(0xdc, count), ...Array(count).fill([0x91, 0xc0]));
    expect(reasonOf(pairs(2047))).toBeUndefined();
    expect(reasonOf(pairs(2048))).toBe('nodes');
  });

  it('a push of 500 operations of eight values fits', () => {
    const op = (i: number): Uint8Array =>
      concat(
        [0x87],
        ...['op_id', 'key', 'kind', 'value', 'ttl', 'client_timestamp', 'base_version'].map((key) => concat(str(key), str(`${i}`))),
      );
    const ops = concat(header16(0xdc, 500), ...Array.from({ length: 500 }, (_, i) => op(i)));
    expect(reasonOf(concat([0x83], str('id'), [1], str('method'), str('m'), str('params'), [0x81], str('ops'), ops))).toBeUndefined();
  });
});

describe('prescan: [S12] repeated keys in maps of every size', () => {
  const map = (keys: readonly (string | Uint8Array<ArrayBuffer>)[]): Uint8Array =>
    concat(header16(0xde, keys.length), ...keys.map((key) => concat(str(key), [0xc0])));

  it.each([2, 3, 15, 16, 17, 18, 100, 4_095])('of %i keys', (count) => {
    const keys = Array.from({ length: count }, (_, i) => `k${i}`);
    expect(reasonOf(map(keys))).toBeUndefined();
    for (const place of new Set([0, (count - 1) >> 1, count - 2])) {
      expect(reasonOf(map(keys.with(count - 1, keys[place] as string))), `last equals ${place}`).toBe('duplicate-key');
      expect(reasonOf(map(keys.with(place, keys[count - 1] as string))), `${place} equals last`).toBe('duplicate-key');
    }
  });

  it('keys made to collide in the hash are told apart, and a repeat among them is found', () => {
    const steps = fnvCollisions(11);
    const keys = Array.from({ length: 2_048 }, (_, i) => new TextEncoder().encode(steps.map((pair, bit) => pair[(i >> bit) & 1]).join('')));
    expect(new Set(keys.map((key) => fnv(0x811c9dc5, String.fromCharCode(...key)))).size).toBe(1);
    expect(reasonOf(map(keys))).toBeUndefined();
    expect(reasonOf(map(keys.with(7, keys[2_000] as Uint8Array<ArrayBuffer>)))).toBe('duplicate-key');
  });
});

function fnv(from: number, text: string): number {
  let state = from;
  for (let i = 0; i < text.length; i += 1) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return state;
}

/** Pairs of texts of eight characters: taking either of each pair, in order, always ends in the same 32-bit FNV-1a. */
function fnvCollisions(steps: number): [string, string][] {
  const pairs: [string, string][] = [];
  for (let state = 0x811c9dc5; pairs.length < steps; ) {
    const seen = new Map<number, string>();
    for (let i = 0; ; i += 1) {
      const text = (Math.imul(i, 0x9e3779b1) >>> 0).toString(36).padStart(8, '0');
      const next = fnv(state, text);
      const other = seen.get(next);
      if (other !== undefined) {
        pairs.push([other, text]);
        state = next;
        break;
      }
      seen.set(next, text);
    }
  }
  return pairs;
}

describe('prescan: [S13] UTF-8', () => {
  const wellFormed = [
    '7f',
    'c280',
    'dfbf',
    'e0a080',
    'ed9fbf',
    'ee8080',
    'efbfbf',
    'f0908080',
    'f48fbfbf',
    'efbbbf61',
    'c3a4e282acf09f9880',
  ];
  const malformed = {
    'a lone continuation byte': ['80', 'bf', '6180'],
    'a lead without its continuation': ['c2', 'c241', 'e282', 'e28241', 'f09f98', 'f09f9841', 'e2c2'],
    'an overlong form': ['c080', 'c1bf', 'c0af', 'e08080', 'e09fbf', 'f0808080', 'f08fbfbf'],
    'a surrogate': ['eda080', 'edafbf', 'edb080', 'edbfbf', 'eda081edb080'],
    'above U+10FFFF': ['f4908080', 'f5808080', 'f7bfbfbf'],
    'a byte that never occurs': ['f8', 'f888808080', 'fc8480808080', 'fe', 'ff'],
  };
  /** As a short and a long string, at every place a wide scan could miss, as value and as key. */
  const placements = (bytes: Uint8Array): Uint8Array[] =>
    [0, 1, 7, 15, 16, 17, 63, 64, 65, 80, 200, 300].flatMap((before) =>
      [0, 1, 16, 100].map((after) => str(concat(new Uint8Array(before).fill(0x61), bytes, new Uint8Array(after).fill(0x62)))),
    );

  it.each(wellFormed)('%s is accepted', (bytes) => {
    for (const item of placements(hex(bytes))) {
      expect(reasonOf(item)).toBeUndefined();
      expect(reasonOf(concat([0x81], item, [0xc0]))).toBeUndefined();
    }
  });

  it.each(Object.entries(malformed))('%s is refused', (_, list) => {
    for (const item of list.flatMap((bytes) => placements(hex(bytes)))) {
      expect(reasonOf(item)).toBe('utf8');
      expect(reasonOf(concat([0x81], item, [0xc0]))).toBe('utf8');
    }
  });

  it('bytes are not text and are not looked at', () => {
    expect(reasonOf('c403 c0ffed')).toBeUndefined();
  });

  it('every sequence of two bytes is judged as the platform judges it', () => {
    const platform = new TextDecoder('utf-8', { fatal: true });
    for (let a = 0x70; a < 256; a += 1) {
      for (let b = 0; b < 256; b += 1) {
        const bytes = Uint8Array.of(a, b);
        let valid = true;
        try {
          platform.decode(bytes);
        } catch {
          valid = false;
        }
        if ((reasonOf(str(bytes)) === undefined) !== valid) expect.fail(`${a} ${b}`);
      }
    }
  });
});

describe('prescan: state between calls', () => {
  it('a long string that begins with U+FEFF is told of its own frame only, as value and as key', () => {
    for (const [length, told] of [
      [61, false],
      [62, true],
      [500, true],
    ] as const) {
      const text = str(`\ufeff${'x'.repeat(length)}`);
      for (const frame of [text, concat([0x81], text, [0xc0])]) {
        expect(prescan(frame)).toBeUndefined();
        expect(lastScanSawLongBom()).toBe(told);
        expect(prescan(hex('c0'))).toBeUndefined();
        expect(lastScanSawLongBom()).toBe(false);
      }
    }
  });

  it('a refused frame leaves nothing behind for the next', () => {
    expect(reasonOf('82 a161 01 82 a162 01')).toBeDefined();
    expect(reasonOf('82 a161 01 a162 02')).toBeUndefined();
    expect(reasonOf('82 a161 01 a161 02')).toBe('duplicate-key');
    expect(reasonOf('81 a161 01')).toBeUndefined();
  });
});
