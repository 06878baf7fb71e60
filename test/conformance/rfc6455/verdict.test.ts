/** The judge of row S21, by what it must not let pass. */
import { describe, expect, it } from 'vitest';
import { answers, gotPong, gotText, refuses, refusesAfter } from './case.ts';
import { type Expectation, judge, noCode, type Seen, type Verdict } from './verdict.ts';

const calm: Seen = { happenings: [], close: undefined, ended: true, pauses: 0, fault: undefined };
const hello = [gotText('hello')];
const closeAnswered: Expectation = { end: 'close-answered', happenings: [], codes: [1000] };
const late: Expectation = { end: 'failed', codes: [1007], happenings: [], pauses: { strict: 1, lenient: 2 } };

const rows: readonly (readonly [Verdict, string, Expectation, Partial<Seen>])[] = [
  ['OK', 'an echo and a Close of 1000', answers(...hello), { happenings: hello, close: 1000 }],
  ['FAILED', 'another payload', answers(...hello), { happenings: [gotText('hullo')], close: 1000 }],
  ['FAILED', 'the same payload as another kind', answers(...hello), { happenings: [gotPong('hello')], close: 1000 }],
  ['FAILED', 'an echo too many', answers(...hello), { happenings: [...hello, ...hello], close: 1000 }],
  ['FAILED', 'no echo', answers(...hello), { close: 1000 }],
  ['FAILED', 'an echo and no Close', answers(...hello), { happenings: hello }],
  ['FAILED', 'an echo and another code', answers(...hello), { happenings: hello, close: 1002 }],
  ['FAILED', 'a connection that goes on', answers(...hello), { happenings: hello, close: 1000, ended: false }],
  ['FAILED', 'a server that breaks the protocol', answers(...hello), { happenings: hello, close: 1000, fault: 'a masked frame' }],
  ['NON-STRICT', 'a Close answered without a code', closeAnswered, { close: noCode }],
  ['OK', 'a breach ended without a Close', refuses, {}],
  ['OK', 'a breach ended without a code', refuses, { close: noCode }],
  ['OK', 'a breach ended with its code', refuses, { close: 1002 }],
  ['FAILED', 'a breach ended with another code', refuses, { close: 1000 }],
  ['FAILED', 'a breach that was echoed', refuses, { happenings: hello }],
  ['FAILED', 'a breach that ends nothing', refuses, { ended: false }],
  ['OK', 'a good frame answered before the breach', refusesAfter(...hello), { happenings: hello }],
  ['NON-STRICT', 'a good frame lost with the breach', refusesAfter(...hello), {}],
  ['FAILED', 'a ping answered behind the breach', refusesAfter(...hello), { happenings: [...hello, gotPong()] }],
  ['OK', 'a bad byte refused at once', late, { pauses: 1 }],
  ['NON-STRICT', 'a bad byte refused at the end', late, { pauses: 2 }],
  ['FAILED', 'a good beginning refused', late, { pauses: 0 }],
  ['INFORMATIONAL', 'an end the RFC leaves open', { end: 'any' }, { close: 1006 }],
  ['FAILED', 'no end where the RFC leaves open which', { end: 'any' }, { ended: false }],
];

describe('the judge (S21)', () => {
  it.each(rows)('S21 says %s of %s', (verdict, _what, expected, seen) => {
    expect(judge(expected, { ...calm, ...seen }).verdict).toBe(verdict);
  });
});
