/** Category 6: what a text may hold, in one frame, in many, and how early it is refused (RFC 6455, sections 5.6 and 8.1). */
import { opcode } from '../../support/live-client.ts';
import { answers, chop, type ConformanceCase, gotText, pause, type Script, send } from './case.ts';
import { continuation, fragments, text } from './frames.ts';
import { greek, sequenceGroups } from './utf8-sequences.ts';
import type { Expectation } from './verdict.ts';

const more = { fin: false } as const;
const notText: Expectation = { end: 'failed', codes: [1007], happenings: [] };
/** Two pauses: before the first bad byte, and behind it. */
const notTextAtOnce: Expectation = { ...notText, pauses: { strict: 1, lenient: 2 } };

const mixed = 'K\u00f6ln-\u00b5@\u00df\u00f6\u00e4 \u00fc\u00e0\u00e1 M\u00fcnchen!';
const cutAt = mixed.indexOf('@') + 2;
const withSurrogate = Buffer.concat([Buffer.from(greek), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('after')]);

/** Good, then a code point past the last, of which the second byte is the first that cannot be; then good again. */
const parts = [Buffer.from(greek), Buffer.from([0xf4, 0x90, 0x80, 0x80]), Buffer.from('after')] as const;
const late = Buffer.concat(parts);
const lateByParts = parts.map(({ length }) => length);
const badAt = parts[0].length + 1;
const lateByByte = [badAt, 1, late.length - badAt - 1];

function inFrames([begin, middle]: readonly number[]): Script {
  const from = begin as number;
  const to = from + (middle as number);
  return {
    steps: [
      send(text(late.subarray(0, from), more)),
      pause,
      send(continuation(late.subarray(from, to), more)),
      pause,
      send(continuation(late.subarray(to))),
    ],
    expect: notTextAtOnce,
  };
}

function inPieces(lengths: readonly number[]): Script {
  return { steps: [{ do: 'pieces', frame: text(late), lengths }], expect: notTextAtOnce };
}

function byteFragments(payload: string): Script {
  return { steps: [send(...fragments(opcode.text, Buffer.from(payload), 1))], expect: answers(gotText(payload)) };
}

const edges: ConformanceCase[] = sequenceGroups.flatMap(({ group, what, sequences }) =>
  sequences.map(({ bytes, valid }, index) => ({
    id: `6.${group}.${index + 1}`,
    what: `${what}: ${shortHex(bytes)} ${valid ? 'comes back' : 'is refused'}`,
    script: () => ({ steps: [send(text(bytes))], expect: valid ? answers(gotText(bytes)) : notText }),
  })),
);

function shortHex(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return hex.length <= 24 ? hex : `${hex.slice(0, 24)}…`;
}

export const utf8Cases: readonly ConformanceCase[] = [
  { id: '6.1.1', what: 'an empty text comes back', script: () => ({ steps: [send(text(''))], expect: answers(gotText('')) }) },
  {
    id: '6.1.2',
    what: 'three empty fragments come back as an empty text',
    script: () => ({ steps: [send(text('', more), continuation('', more), continuation(''))], expect: answers(gotText('')) }),
  },
  {
    id: '6.1.3',
    what: 'a fragment between two empty ones comes back',
    script: () => ({ steps: [send(text('', more), continuation('middle', more), continuation(''))], expect: answers(gotText('middle')) }),
  },
  { id: '6.2.1', what: 'letters of two bytes come back', script: () => ({ steps: [send(text(mixed))], expect: answers(gotText(mixed)) }) },
  {
    id: '6.2.2',
    what: 'a text cut between letters comes back',
    script: () => ({
      steps: [send(text(mixed.slice(0, cutAt), more), continuation(mixed.slice(cutAt)))],
      expect: answers(gotText(mixed)),
    }),
  },
  { id: '6.2.3', what: 'a text in fragments of one byte comes back', script: () => byteFragments(mixed) },
  { id: '6.2.4', what: 'letters of three bytes in fragments of one come back', script: () => byteFragments(greek) },
  { id: '6.3.1', what: 'a surrogate in a text is refused', script: () => ({ steps: [send(text(withSurrogate))], expect: notText }) },
  {
    id: '6.3.2',
    what: 'a surrogate in fragments of one byte is refused',
    script: () => ({ steps: [chop('frame', ...fragments(opcode.text, withSurrogate, 1))], expect: notText }),
  },
  { id: '6.4.1', what: 'a fragment that cannot become UTF-8 is refused before the last comes', script: () => inFrames(lateByParts) },
  { id: '6.4.2', what: 'the same, the fragment ending with the first bad byte', script: () => inFrames(lateByByte) },
  {
    id: '6.4.3',
    what: 'a piece of a frame that cannot become UTF-8 is refused before the rest comes',
    script: () => inPieces(lateByParts),
  },
  { id: '6.4.4', what: 'the same, the piece ending with the first bad byte', script: () => inPieces(lateByByte) },
  ...edges,
];
