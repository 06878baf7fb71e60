/**
 * Which operations of one device were taken: the highest counter and a bitmap of the 10,000 below it. A counter under the window
 * counts as taken, so an operation is applied at most once for ever. Pure but for the window handed in. Rules [STO14] to [STO16].
 */
import { limits } from '../../protocol/limits.ts';

const size = limits.opWindow;
/** More runs than this are stored as the bitmap itself, which is then shorter. */
const maxRuns = 200;

/** `bits` is a ring: bit `counter % 10,000` is set when the counter was taken. */
export interface OpWindow {
  high: number;
  readonly bits: Uint8Array;
}

/** A window that has taken nothing. */
export function emptyWindow(): OpWindow {
  return { high: -1, bits: new Uint8Array(Math.ceil(size / 8)) };
}

/** A copy that can be marked without touching the first. */
export function copyWindow(window: OpWindow): OpWindow {
  return { high: window.high, bits: window.bits.slice() };
}

/** Whether the counter was taken, or is too old to tell. */
export function taken(window: OpWindow, counter: number): boolean {
  if (counter > window.high) return false;
  if (counter <= window.high - size) return true;
  const bit = counter % size;
  return ((window.bits[bit >> 3] as number) & (1 << (bit & 7))) !== 0;
}

/** Takes a counter. Changes the window. */
export function take(window: OpWindow, counter: number): void {
  const { bits } = window;
  if (counter > window.high) {
    if (counter - window.high >= size) bits.fill(0);
    else for (let skipped = window.high + 1; skipped < counter; skipped++) setBit(bits, skipped % size, false);
    window.high = counter;
  }
  setBit(bits, counter % size, true);
}

function setBit(bits: Uint8Array, bit: number, on: boolean): void {
  const mask = 1 << (bit & 7);
  const byte = bits[bit >> 3] as number;
  bits[bit >> 3] = on ? byte | mask : byte & ~mask;
}

/** What the window misses, as text: `3,7-9` (counters never taken), or `b:` and the bitmap in base64 when those are many. */
export function encodeGaps(window: OpWindow): string {
  const runs: string[] = [];
  let counter = Math.max(0, window.high - size + 1);
  while (counter <= window.high) {
    const bit = counter % size;
    // Eight taken ones at once: the usual case.
    if ((bit & 7) === 0 && bit + 8 <= size && counter + 7 <= window.high && window.bits[bit >> 3] === 0xff) {
      counter += 8;
      continue;
    }
    if (taken(window, counter)) {
      counter++;
      continue;
    }
    const from = counter;
    while (counter < window.high && !taken(window, counter + 1)) counter++;
    runs.push(from === counter ? `${from}` : `${from}-${counter}`);
    counter++;
    if (runs.length > maxRuns) return `b:${Buffer.from(window.bits).toString('base64')}`;
  }
  return runs.join(',');
}

/** The window that `encodeGaps` wrote. Errors: throws when the text is none of its making. */
export function decodeWindow(high: number, gaps: string): OpWindow {
  if (!Number.isSafeInteger(high) || high < 0) throw new Error('an operation window has no highest counter');
  const window = emptyWindow();
  window.high = high;
  if (gaps.startsWith('b:')) {
    const bits = Buffer.from(gaps.slice(2), 'base64');
    if (bits.length !== window.bits.length) throw new Error('an operation window has a bitmap of another size');
    window.bits.set(bits);
    return window;
  }
  const low = Math.max(0, high - size + 1);
  for (let counter = low; counter <= high; counter++) setBit(window.bits, counter % size, true);
  if (gaps === '') return window;
  for (const run of gaps.split(',')) {
    const match = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(run);
    if (match === null) throw new Error('an operation window has an unreadable gap');
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from < low || to > high || to < from) throw new Error('an operation window has a gap outside itself');
    for (let counter = from; counter <= to; counter++) setBit(window.bits, counter % size, false);
  }
  return window;
}
