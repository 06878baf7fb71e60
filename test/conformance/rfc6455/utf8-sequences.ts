/**
 * The byte sequences of 6.5.x to 6.23.x: the edges of UTF-8 (RFC 3629), valid and not. Most are written by the scheme of 1993, which
 * went to six bytes and let a code point be longer than it needs to be: what RFC 3629 took away from it is what must be refused.
 */
export interface Sequence {
  readonly bytes: Uint8Array;
  readonly valid: boolean;
}

export interface SequenceGroup {
  /** The second number of the cases. */
  readonly group: number;
  readonly what: string;
  readonly sequences: readonly Sequence[];
}

/** The code point in so many bytes, needed or not; two to six. */
function longForm(codePoint: number, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  let left = codePoint;
  for (let at = bytes - 1; at > 0; at--) {
    out[at] = 0x80 | (left & 0x3f);
    left = Math.floor(left / 64);
  }
  out[0] = ((0xff << (8 - bytes)) & 0xff) | left;
  return out;
}

const good = (...texts: string[]): Sequence[] => texts.map((text) => ({ bytes: Buffer.from(text), valid: true }));
const points = (...codePoints: number[]): Sequence[] => good(...codePoints.map((point) => String.fromCodePoint(point)));
const bad = (...sequences: Uint8Array[]): Sequence[] => sequences.map((bytes) => ({ bytes, valid: false }));
const each = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** Greek: letters of two and of three bytes. */
export const greek = '\u03ba\u1f79\u03c3\u03bc\u03b5';

function prefixes(): Sequence[] {
  const whole = Buffer.from(greek);
  const ends = new Set<number>();
  let at = 0;
  for (const letter of greek) {
    at += Buffer.byteLength(letter);
    ends.add(at);
  }
  return each(1, whole.length).map((length) => ({ bytes: whole.subarray(0, length), valid: ends.has(length) }));
}

const sizes = [2, 3, 4, 5, 6];
/** The largest code point that fits into so many bytes. */
const largest: Readonly<Record<number, number>> = { 1: 0x7f, 2: 0x7ff, 3: 0xffff, 4: 0x1f_ffff, 5: 0x3ff_ffff, 6: 0x7fff_ffff };
const most = (bytes: number): number => largest[bytes] as number;
const cut = (bytes: Buffer): Buffer => bytes.subarray(0, -1);
const incomplete = [...sizes.map((size) => cut(longForm(0, size))), ...sizes.map((size) => cut(longForm(most(size), size)))];
const alternating = (length: number): Buffer => Buffer.from(each(1, length).map((place) => (place % 2 === 1 ? 0x80 : 0xbf)));
const starts: readonly (readonly [number, number])[] = [
  [0xc0, 0xdf],
  [0xe0, 0xef],
  [0xf0, 0xf7],
  [0xf8, 0xfb],
  [0xfc, 0xfd],
];
const surrogate = (unit: number): Buffer => longForm(unit, 3);
const pairs = [0xd800, 0xdb7f, 0xdb80, 0xdbff].flatMap((high) =>
  [0xdc00, 0xdfff].map((low) => Buffer.concat([surrogate(high), surrogate(low)])),
);

export const sequenceGroups: readonly SequenceGroup[] = [
  { group: 5, what: 'letters of one to four bytes', sequences: good('cost$1', 'cost\u00a21', 'cost\u20ac1', 'cost\u{24b62}1', greek) },
  { group: 6, what: 'every beginning of a text', sequences: prefixes() },
  { group: 7, what: 'the first code point of each length', sequences: points(0, 0x80, 0x800, 0x1_0000) },
  { group: 8, what: 'the first of five and six bytes', sequences: bad(longForm(0x20_0000, 5), longForm(0x400_0000, 6)) },
  { group: 9, what: 'the last code point of each length', sequences: points(0x7f, 0x7ff, 0xffff, 0x10_ffff) },
  { group: 10, what: 'the last of four, five and six bytes', sequences: bad(...[4, 5, 6].map((size) => longForm(most(size), size))) },
  {
    group: 11,
    what: 'around the surrogates and the end',
    sequences: [...points(0xd7ff, 0xe000, 0xfffd, 0x10_ffff), ...bad(longForm(0x11_0000, 4))],
  },
  {
    group: 12,
    what: 'continuation bytes of nothing',
    sequences: bad(Buffer.from([0x80]), Buffer.from([0xbf]), ...each(2, 6).map(alternating), Buffer.from(each(0x80, 0xbf))),
  },
  {
    group: 13,
    what: 'first bytes with nothing behind',
    sequences: bad(...starts.map(([from, to]) => Buffer.from(each(from, to).flatMap((byte) => [byte, 0x20])))),
  },
  { group: 14, what: 'the last byte is missing', sequences: bad(...incomplete) },
  { group: 15, what: 'incomplete sequences in a row', sequences: bad(Buffer.concat(incomplete)) },
  {
    group: 16,
    what: 'bytes that are never UTF-8',
    sequences: bad(Buffer.from([0xfe]), Buffer.from([0xff]), Buffer.from([0xfe, 0xfe, 0xff, 0xff])),
  },
  { group: 17, what: 'a slash in more bytes than one', sequences: bad(...sizes.map((size) => longForm(0x2f, size))) },
  { group: 18, what: 'the largest that needs a byte less', sequences: bad(...sizes.map((size) => longForm(most(size - 1), size))) },
  { group: 19, what: 'zero in more bytes than one', sequences: bad(...sizes.map((size) => longForm(0, size))) },
  {
    group: 20,
    what: 'one surrogate',
    sequences: bad(...[0xd800, 0xdb7f, 0xdb80, 0xdbff, 0xdc00, 0xdf80, 0xdfff].map(surrogate)),
  },
  { group: 21, what: 'a pair of surrogates', sequences: bad(...pairs) },
  {
    group: 22,
    what: 'code points that are no characters',
    sequences: points(...each(0, 16).flatMap((plane) => [plane * 0x1_0000 + 0xfffe, plane * 0x1_0000 + 0xffff])),
  },
  { group: 23, what: 'specials', sequences: points(...each(0xfff9, 0xffff)) },
];
