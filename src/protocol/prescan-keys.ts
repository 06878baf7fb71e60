/**
 * The pre-scan's rules for map keys: none twice in one map, none that JavaScript would take for a prototype. Keys are
 * compared as bytes, in the frame; nothing is decoded.
 */

/** Up to this many keys are compared pair by pair: no more than 120 comparisons, mostly of two lengths. */
const pairwiseKeys = 16;

const forbidden = ['__proto__', 'prototype', 'constructor'].map((key) => Uint8Array.from(key, (char) => char.charCodeAt(0)));

/** Whether the `length` bytes at `at` are `__proto__`, `prototype` or `constructor`. */
export function isForbiddenKey(bytes: Uint8Array, at: number, length: number): boolean {
  return forbidden.some((key) => key.length === length && sameBytes(bytes, at, key, 0, length));
}

/**
 * The offset of a key that stands twice among the keys `[from, to)` of one map, or -1.
 * O(n log n) comparisons whatever the keys are: they come from a peer who may have chosen them to collide.
 */
export function findRepeatedKey(bytes: Uint8Array, starts: Int32Array, lengths: Int32Array, from: number, to: number): number {
  if (to - from > pairwiseKeys) return findRepeatedOfMany(bytes, starts, lengths, from, to);
  for (let i = from + 1; i < to; i += 1) {
    const length = lengths[i] as number;
    for (let j = from; j < i; j += 1) {
      if (length !== lengths[j]) continue;
      if (sameBytes(bytes, starts[i] as number, bytes, starts[j] as number, length)) return starts[i] as number;
    }
  }
  return -1;
}

/**
 * Hash and index of each key share one double (32 + 12 bits and more to spare), so that sorting numbers, which needs no
 * comparison function, brings equal hashes together. A long run of equal hashes is an attack and is sorted by content.
 */
function findRepeatedOfMany(bytes: Uint8Array, starts: Int32Array, lengths: Int32Array, from: number, to: number): number {
  const count = to - from;
  const order = new Float64Array(count);
  for (let i = 0; i < count; i += 1) order[i] = hash(bytes, starts[from + i] as number, lengths[from + i] as number) * 65_536 + i;
  order.sort();
  const keyOf = (place: number): number => from + ((order[place] as number) % 65_536);
  for (let runFrom = 0; runFrom < count; ) {
    const runHash = Math.floor((order[runFrom] as number) / 65_536);
    let runTo = runFrom + 1;
    while (runTo < count && Math.floor((order[runTo] as number) / 65_536) === runHash) runTo += 1;
    if (runTo - runFrom > 1) {
      const compare = (a: number, b: number): number =>
        compareBytes(bytes, starts[a] as number, lengths[a] as number, starts[b] as number, lengths[b] as number);
      const run = Int32Array.from({ length: runTo - runFrom }, (_, i) => keyOf(runFrom + i)).sort(compare);
      for (let i = 1; i < run.length; i += 1) {
        const [a, b] = [run[i - 1] as number, run[i] as number];
        if (compare(a, b) === 0) return Math.max(starts[a] as number, starts[b] as number);
      }
    }
    runFrom = runTo;
  }
  return -1;
}

/** FNV-1a, 32 bits, unsigned. */
function hash(bytes: Uint8Array, at: number, length: number): number {
  let value = 0x811c9dc5;
  for (let i = at; i < at + length; i += 1) value = Math.imul(value ^ (bytes[i] as number), 0x01000193);
  return value >>> 0;
}

function compareBytes(bytes: Uint8Array, a: number, aLength: number, b: number, bLength: number): number {
  if (aLength !== bLength) return aLength - bLength;
  for (let i = 0; i < aLength; i += 1) {
    const difference = (bytes[a + i] as number) - (bytes[b + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function sameBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i += 1) {
    if (a[aAt + i] !== b[bAt + i]) return false;
  }
  return true;
}
