/** Small tools to write frames by hand and to judge decoded values. */
import fc from 'fast-check';

/** Bytes of a hex text; spaces are for the reader. */
export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function concat(...parts: (Uint8Array | readonly number[])[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts.map((part) => Uint8Array.from(part))));
}

/** A MessagePack string with the shortest header. */
export function str(text: string | Uint8Array): Uint8Array {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const n = bytes.length;
  if (n < 32) return concat([0xa0 + n], bytes);
  if (n < 256) return concat([0xd9, n], bytes);
  if (n < 65_536) return concat([0xda, n >> 8, n & 255], bytes);
  return concat([0xdb, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255], bytes);
}

/** An array 16 or map 16 header. */
export function header16(head: 0xdc | 0xde, count: number): number[] {
  return [head, count >> 8, count & 255];
}

/** `levels` arrays inside each other, the innermost holding `inner` (nothing by default). */
export function nested(levels: number, inner: readonly number[] = []): Uint8Array {
  return Uint8Array.from([...Array(levels - (inner.length === 0 ? 1 : 0)).fill(0x91), ...(inner.length === 0 ? [0x90] : inner)]);
}

/** What is wrong with a value that came out of the decoder, or undefined: only the plain types, only plain objects. */
export function notPlain(value: unknown): string | undefined {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return undefined;
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `number ${value}`;
  if (typeof value !== 'object') return typeof value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Uint8Array.prototype) return undefined;
  if (prototype !== (Array.isArray(value) ? Array.prototype : Object.prototype)) return `prototype of ${String(value)}`;
  for (const member of Object.values(value)) {
    const inner = notPlain(member);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** Everything visible on `Object.prototype`; unchanged when nothing was polluted. */
export function prototypeKeys(): string {
  return Reflect.ownKeys(Object.prototype).map(String).join();
}

const text = fc.string({ unit: 'grapheme', maxLength: 80 });
const key = text.filter((candidate) => !['__proto__', 'prototype', 'constructor'].includes(candidate));
const number = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true })).map((n) => n + 0);

/** Values both formats carry: a number of 2^53 or more is a float to MessagePack and an unsafe integer to JSON. */
export const jsonValue: fc.Arbitrary<unknown> = plain(
  number.filter((n) => Math.abs(n) <= Number.MAX_SAFE_INTEGER),
  [],
);

/** Values MessagePack carries. */
export const plainValue: fc.Arbitrary<unknown> = plain(number, [fc.uint8Array({ maxLength: 300 })]);

function plain(numbers: fc.Arbitrary<number>, more: readonly fc.Arbitrary<unknown>[]): fc.Arbitrary<unknown> {
  const leaf = fc.oneof(fc.constant(null), fc.boolean(), numbers, text, fc.string({ maxLength: 400 }), ...more);
  return fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', maxDepth: 6 },
      leaf,
      fc.array(tie('value'), { maxLength: 20 }),
      fc.dictionary(key, tie('value'), { maxKeys: 24, noNullPrototype: true }),
    ),
  }))['value'] as fc.Arbitrary<unknown>;
}

/** A seeded generator of numbers in [0, 1): the same seed gives the same run. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
