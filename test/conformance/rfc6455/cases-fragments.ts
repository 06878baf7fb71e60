/** Category 5: fragments, and control frames between them (RFC 6455, sections 5.4 and 5.5). */
import {
  answers,
  chop,
  type ConformanceCase,
  gotPong,
  gotText,
  pause,
  refuses,
  refusesAfter,
  type Script,
  send,
  type Step,
} from './case.ts';
import { continuation, type Frame, ping, pong, text } from './frames.ts';

const more = { fin: false } as const;
const [one, two, three, four, five] = ['one ', 'two ', 'three ', 'four ', 'five'] as const;
const halves = [text(one, more), continuation(two)];
const halvesWithPing = [text(one, more), ping('between'), continuation(two)];

/** The three ways a group is sent in, by place in the group. */
const ways: readonly { readonly how: string; readonly step: (frames: readonly Frame[]) => Step }[] = [
  { how: 'in one write', step: (frames) => send(...frames) },
  { how: 'frame by frame', step: (frames) => chop('frame', ...frames) },
  { how: 'byte by byte', step: (frames) => chop(1, ...frames) },
];

function inEveryWay(from: number, what: string, frames: readonly Frame[], expect: Script['expect']): ConformanceCase[] {
  return ways.map(({ how, step }, index) => ({
    id: `5.${from + index}`,
    what: `${what}, ${how}`,
    script: () => ({ steps: [step(frames)], expect }),
  }));
}

function inOneWrite(id: string, what: string, frames: readonly Frame[], expect: Script['expect']): ConformanceCase {
  return { id, what, script: () => ({ steps: [send(...frames)], expect }) };
}

/** Three pieces and a ping, a pause, three pieces and a ping. */
function longMessage(id: string, what: string, step: (frames: readonly Frame[]) => Step): ConformanceCase {
  const before = [text(one, more), continuation(two, more), ping('first')];
  const after = [continuation(three, more), continuation(four, more), ping('second'), continuation(five)];
  return {
    id,
    what,
    script: () => ({
      steps: [step(before), pause, step(after)],
      expect: answers(gotPong('first'), gotPong('second'), gotText(one + two + three + four + five)),
    }),
  };
}

const strayThenMessage = (fin: boolean): Frame[] => [continuation(one, { fin }), text(two, more), continuation(three)];

export const fragmentCases: readonly ConformanceCase[] = [
  inOneWrite('5.1', 'a ping in two fragments is refused', [ping(one, more), continuation(two)], refuses),
  inOneWrite('5.2', 'a pong in two fragments is refused', [pong(one, more), continuation(two)], refuses),
  ...inEveryWay(3, 'a text in two fragments comes back', halves, answers(gotText(one + two))),
  ...inEveryWay(6, 'a ping between fragments is answered before the text', halvesWithPing, answers(gotPong('between'), gotText(one + two))),
  ...inEveryWay(9, 'a last continuation of nothing is refused', [continuation(one), text(two)], refuses),
  ...inEveryWay(12, 'a first continuation of nothing is refused', [continuation(one, more), text(two)], refuses),
  inOneWrite(
    '5.15',
    'a continuation of nothing behind a whole message is refused, the message answered',
    [...halves, continuation(three, more), text(four)],
    refusesAfter(gotText(one + two)),
  ),
  inOneWrite(
    '5.16',
    'a continuation of nothing that says more follows, before a message, twice',
    [...strayThenMessage(false), ...strayThenMessage(false)],
    refuses,
  ),
  inOneWrite(
    '5.17',
    'a continuation of nothing that says it is the last, before a message, twice',
    [...strayThenMessage(true), ...strayThenMessage(true)],
    refuses,
  ),
  inOneWrite('5.18', 'a second text before the first is whole is refused', [text(one, more), text(two)], refuses),
  longMessage('5.19', 'a text in five fragments with two pings comes back behind both pongs', (frames) => send(...frames)),
  longMessage('5.20', 'the same, frame by frame', (frames) => chop('frame', ...frames)),
];
