/** Category 7: the closing handshake, its codes and reasons (RFC 6455, sections 5.5.1, 7.1 and 7.4). */
import { opcode } from '../../support/live-client.ts';
import { answers, type ConformanceCase, gotText, refuses, send } from './case.ts';
import { close, continuation, type Frame, ping, text } from './frames.ts';
import { greek } from './utf8-sequences.ts';
import { type CloseCode, type Expectation, noCode } from './verdict.ts';

const bare: Frame = { op: opcode.close, payload: Buffer.alloc(0) };
const hello = 'before the end';

function closesWith(...codes: CloseCode[]): Expectation {
  return { end: 'close-answered', happenings: [], codes };
}

function single(id: string, what: string, frames: readonly Frame[], expect: Expectation): ConformanceCase {
  return { id, what, script: () => ({ steps: [send(...frames)], expect }) };
}

const notText = Buffer.concat([Buffer.from(greek), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('after')]);
const validCodes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const invalidCodes = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

export const closeCases: readonly ConformanceCase[] = [
  single('7.1.1', 'a message comes back, then the Close is answered', [text(hello)], answers(gotText(hello))),
  single('7.1.2', 'a second Close is passed over', [close(1000), bare], closesWith(1000)),
  single('7.1.3', 'a ping behind the Close is not answered', [close(1000), ping()], closesWith(1000)),
  single('7.1.4', 'a text behind the Close is not answered', [close(1000), text(hello)], closesWith(1000)),
  single(
    '7.1.5',
    'a Close between two fragments ends the connection without the message',
    [text('first half', { fin: false }), close(1000), continuation('second half')],
    closesWith(1000),
  ),
  {
    id: '7.1.6',
    what: '256 KiB, a text, a Close and a ping in a row end the connection',
    script: () => ({
      steps: [send(text(Buffer.alloc(256 * 1024, 'abcdefghij')), text(hello), close(1000), ping())],
      expect: { end: 'any' },
    }),
  },
  single('7.3.1', 'a Close without a code is answered', [bare], closesWith(noCode, 1000)),
  single('7.3.2', 'a Close of one byte is refused', [{ op: opcode.close, payload: Buffer.from('a') }], refuses),
  single('7.3.3', 'a Close with a code is answered', [close(1000)], closesWith(1000)),
  single('7.3.4', 'a Close with a reason is answered', [close(1000, 'done here')], closesWith(1000)),
  single('7.3.5', 'a Close with a reason of 123 bytes is answered', [close(1000, 'a'.repeat(123))], closesWith(1000)),
  single('7.3.6', 'a Close with a reason of 124 bytes is refused', [close(1000, 'a'.repeat(124))], refuses),
  single('7.5.1', 'a Close with a reason that is not UTF-8 is refused', [close(1000, notText)], {
    end: 'failed',
    codes: [1002, 1007],
    happenings: [],
  }),
  ...validCodes.map((code, index) => single(`7.7.${index + 1}`, `a Close with ${code} is answered`, [close(code)], closesWith(1000, code))),
  ...invalidCodes.map((code, index) => single(`7.9.${index + 1}`, `a Close with ${code} is refused`, [close(code)], refuses)),
  single('7.13.1', 'a Close with 5000 ends the connection', [close(5000)], { end: 'any' }),
  single('7.13.2', 'a Close with 65535 ends the connection', [close(65_535)], { end: 'any' }),
];
