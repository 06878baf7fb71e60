/**
 * The pre-scan of text frames: what `prescan.ts` is for MessagePack, before `JSON.parse`. It holds the bounds and the
 * rules for keys and numbers; grammar is left to `JSON.parse`, which refuses whatever this misreads in a text that is not
 * JSON. Without recursion. Rules: docs/protocol.md, live binding, section 2.
 */
import { limits } from './limits.ts';
import type { FaultReason, PrescanFault } from './prescan.ts';

const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'prototype', 'constructor']);
const loneSurrogate = /\p{Surrogate}/u;
const isIntegerLiteral = /^-?\d+$/;
const endsToken = ' \t\n\r,:[]{}"';

const quote = 0x22;
const backslash = 0x5c;

/**
 * The first fault of a JSON text, or undefined when `JSON.parse` may have it (and may still refuse its grammar).
 * Shape: nodes and depth are counted as in `prescan`. Keys are compared after their escapes are resolved. An integer
 * literal must be within ±(2^53 - 1); a literal with a fraction or an exponent must be finite.
 */
export function jsonScan(text: string): PrescanFault | undefined {
  const lone = loneSurrogate.exec(text);
  if (lone !== null) return fault('utf8', lone.index);
  /** The keys of each open object so far; null for an open array. */
  const open: (Set<string> | null)[] = [];
  let keys: Set<string> | null = null;
  let expectsKey = false;
  let nodes = 0;

  for (let at = 0; at < text.length; ) {
    const char = text.charCodeAt(at);
    switch (char) {
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
      case 0x3a: // :
        at += 1;
        continue;
      case 0x2c: // ,
        expectsKey = keys !== null;
        at += 1;
        continue;
      case 0x5d: // ]
      case 0x7d: // }
        open.pop();
        keys = open[open.length - 1] ?? null;
        expectsKey = false;
        at += 1;
        continue;
      default:
    }

    const isKey = expectsKey && char === quote;
    if (!isKey) {
      nodes += 1;
      if (nodes > limits.frameNodes) return fault('nodes', at);
    }
    if (char === quote) {
      const stop = endOfString(text, at);
      if (stop < 0) return fault('truncated', at);
      const reason = isKey ? addKey(keys, text.slice(at, stop)) : faultOfString(text.slice(at, stop));
      if (reason !== undefined) return fault(reason, at);
      expectsKey = false;
      at = stop;
    } else if (char === 0x5b || char === 0x7b) {
      if (open.length === limits.frameDepth) return fault('depth', at);
      keys = char === 0x7b ? new Set() : null;
      open.push(keys);
      expectsKey = keys !== null;
      at += 1;
    } else {
      const stop = endOfToken(text, at);
      const reason = faultOfToken(text.slice(at, stop));
      if (reason !== undefined) return fault(reason, at);
      at = stop;
    }
  }
  return text === '' ? fault('empty', 0) : undefined;
}

/** Notes a key of the open object. `literal` includes its quotes. */
function addKey(keys: Set<string> | null, literal: string): FaultReason | undefined {
  const reason = faultOfString(literal);
  if (reason !== undefined) return reason;
  const key = literal.includes('\\') ? unescaped(literal) : literal.slice(1, -1);
  if (key === undefined) return 'syntax';
  if (forbiddenKeys.has(key)) return 'forbidden-key';
  if (keys?.has(key)) return 'duplicate-key';
  keys?.add(key);
  return undefined;
}

/** Only an escape can hide a lone surrogate: the raw text was searched as a whole. */
function faultOfString(literal: string): FaultReason | undefined {
  if (!literal.includes('\\u')) return undefined;
  const value = unescaped(literal);
  if (value === undefined) return 'syntax';
  return loneSurrogate.test(value) ? 'utf8' : undefined;
}

function unescaped(literal: string): string | undefined {
  try {
    return JSON.parse(literal) as string;
  } catch {
    // Not a string literal: the whole text is no JSON, and the caller says so.
    return undefined;
  }
}

/** `true`, `false`, `null` and what is no JSON are left to the parser. */
function faultOfToken(token: string): FaultReason | undefined {
  const value = Number(token);
  if (Number.isNaN(value)) return undefined;
  if (isIntegerLiteral.test(token)) return Number.isSafeInteger(value) ? undefined : 'integer';
  return Number.isFinite(value) ? undefined : 'float';
}

/** The index behind the closing quote of the string that opens at `at`, or -1. */
function endOfString(text: string, at: number): number {
  for (let close = text.indexOf('"', at + 1); close >= 0; close = text.indexOf('"', close + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(close - 1 - backslashes) === backslash) backslashes += 1;
    if (backslashes % 2 === 0) return close + 1;
  }
  return -1;
}

function endOfToken(text: string, at: number): number {
  let stop = at + 1;
  while (stop < text.length && !endsToken.includes(text.charAt(stop))) stop += 1;
  return stop;
}

function fault(reason: FaultReason, at: number): PrescanFault {
  return { reason, at };
}
