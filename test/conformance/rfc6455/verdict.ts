/**
 * What a case of RFC 6455 expects, what was seen on the wire, and the verdict on both. Pure.
 *
 * OK: what the RFC demands happened. NON-STRICT: it happened later or with less than it could have, in a way the case names.
 * INFORMATIONAL: the RFC leaves the outcome open, and the connection ended. FAILED: everything else.
 * A server that fails a connection may drop it, or send a Close without a code, or with the right code: section 7.1.7 says no more
 * than SHOULD about the frame. A wrong code is FAILED.
 */
export type Verdict = 'OK' | 'NON-STRICT' | 'INFORMATIONAL' | 'FAILED';

export interface Happening {
  readonly kind: 'text' | 'binary' | 'ping' | 'pong';
  readonly payload: Uint8Array;
}

/** A Close without a code. */
export const noCode = 'no code';
export type CloseCode = number | typeof noCode;

export type Expectation =
  /** Everything arrives, in this order; then we close with 1000 and the server answers in kind. */
  | { readonly end: 'closed-by-us'; readonly happenings: readonly Happening[] }
  /** The case itself sends a proper Close; the server answers with one of these codes. A Close without a code is non-strict unless listed. */
  | { readonly end: 'close-answered'; readonly happenings: readonly Happening[]; readonly codes: readonly CloseCode[] }
  /** The server fails the connection. `lenient`: what may be seen instead of `happenings` for a non-strict verdict. */
  | {
      readonly end: 'failed';
      readonly codes: readonly number[];
      readonly happenings: readonly Happening[];
      readonly lenient?: readonly Happening[];
      /** Pauses of the case that the connection must survive, and may survive for a non-strict verdict. */
      readonly pauses?: { readonly strict: number; readonly lenient: number };
    }
  /** The connection ends, one way or another. */
  | { readonly end: 'any' };

export interface Seen {
  readonly happenings: readonly Happening[];
  /** Undefined: no Close frame arrived. */
  readonly close: CloseCode | undefined;
  /** The server ended the TCP connection. */
  readonly ended: boolean;
  /** Pauses after which the connection was still there. */
  readonly pauses: number;
  /** How the server itself broke the RFC. */
  readonly fault: string | undefined;
}

export interface Judgement {
  readonly verdict: Verdict;
  readonly why: string;
}

/** The verdict on what was seen. */
export function judge(expected: Expectation, seen: Seen): Judgement {
  if (seen.fault !== undefined) return failed(`the server broke the protocol: ${seen.fault}`);
  if (!seen.ended) return failed('the server did not end the connection');
  switch (expected.end) {
    case 'any':
      return { verdict: 'INFORMATIONAL', why: `${describe(seen.happenings)}, ${closeText(seen.close)}` };
    case 'closed-by-us':
      return answered(expected.happenings, [1000], seen);
    case 'close-answered':
      return answered(expected.happenings, expected.codes, seen);
    case 'failed':
      return brokenOff(expected, seen);
  }
}

function answered(happenings: readonly Happening[], codes: readonly CloseCode[], seen: Seen): Judgement {
  if (!same(happenings, seen.happenings)) return failed(unlike(happenings, seen.happenings));
  if (seen.close === undefined) return failed('the connection ended without a closing handshake');
  if (codes.includes(seen.close)) return { verdict: 'OK', why: closeText(seen.close) };
  if (seen.close === noCode) return { verdict: 'NON-STRICT', why: 'the Close was answered without a code' };
  return failed(closeText(seen.close));
}

function brokenOff(expected: Extract<Expectation, { end: 'failed' }>, seen: Seen): Judgement {
  const { pauses = { strict: 0, lenient: 0 } } = expected;
  if (seen.close !== undefined && seen.close !== noCode && !expected.codes.includes(seen.close)) return failed(closeText(seen.close));
  const strict = same(expected.happenings, seen.happenings);
  if (!strict && !(expected.lenient !== undefined && same(expected.lenient, seen.happenings)))
    return failed(unlike(expected.happenings, seen.happenings));
  if (seen.pauses < pauses.strict) return failed('the connection was failed before anything was wrong');
  if (seen.pauses > pauses.lenient) return failed('the connection was failed by something else than what was wrong');
  if (!strict) return { verdict: 'NON-STRICT', why: `${describe(seen.happenings)} came before the end` };
  if (seen.pauses > pauses.strict) return { verdict: 'NON-STRICT', why: 'the connection was failed, but not at once' };
  return { verdict: 'OK', why: closeText(seen.close) };
}

function failed(why: string): Judgement {
  return { verdict: 'FAILED', why };
}

function same(a: readonly Happening[], b: readonly Happening[]): boolean {
  return (
    a.length === b.length && a.every((one, index) => one.kind === b[index]?.kind && Buffer.compare(one.payload, b[index].payload) === 0)
  );
}

function unlike(wanted: readonly Happening[], got: readonly Happening[]): string {
  return `wanted ${describe(wanted)}, got ${describe(got)}`;
}

function describe(happenings: readonly Happening[]): string {
  if (happenings.length === 0) return 'nothing';
  const shown = happenings.slice(0, 4).map(({ kind, payload }) => {
    const hex = Buffer.from(payload.subarray(0, 16)).toString('hex');
    return `${kind} of ${payload.length} (${hex}${payload.length > 16 ? '…' : ''})`;
  });
  return shown.join(', ') + (happenings.length > 4 ? ` and ${happenings.length - 4} more` : '');
}

function closeText(close: CloseCode | undefined): string {
  return close === undefined ? 'no Close frame' : `Close with ${close}`;
}
