/** Categories 1 to 4: frames of every length, pings and pongs, reserved bits, reserved opcodes (RFC 6455, sections 5.2, 5.5 and 5.6). */
import { answers, chop, type ConformanceCase, gotBinary, gotPong, gotText, refuses, refusesAfter, send } from './case.ts';
import { binary, close, type Frame, ping, pong, text } from './frames.ts';
import { opcode } from '../../support/live-client.ts';

/** Around every change of how a length is written. */
const lengths = [0, 125, 126, 127, 128, 65_535, 65_536];
const chopBytes = 997;

/** 1.1.x and 1.2.x. */
function echoes(group: '1.1' | '1.2'): ConformanceCase[] {
  const isText = group === '1.1';
  const message = (length: number): Frame => (isText ? text(Buffer.alloc(length, 'a')) : binary(Buffer.alloc(length, 0xfe)));
  const kind = isText ? 'text' : 'binary';
  const echo = (frame: Frame) => answers(isText ? gotText(frame.payload) : gotBinary(frame.payload));
  const whole = lengths.map((length, index) => ({
    id: `${group}.${index + 1}`,
    what: `a ${kind} message of ${length} bytes comes back`,
    script: () => {
      const frame = message(length);
      return { steps: [send(frame)], expect: echo(frame) };
    },
  }));
  const chopped: ConformanceCase = {
    id: `${group}.8`,
    what: `a ${kind} message of 65536 bytes in writes of ${chopBytes} comes back`,
    script: () => {
      const frame = message(65_536);
      return { steps: [chop(chopBytes, frame)], expect: echo(frame) };
    },
  };
  return [...whole, chopped];
}

const bytes = Buffer.from([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]);
const longest = Buffer.alloc(125, 0xfe);
const tenPings = Array.from({ length: 10 }, (_, index) => `ping ${index}`);

const pings: ConformanceCase[] = [
  { id: '2.1', what: 'an empty ping is answered', script: () => ({ steps: [send(ping())], expect: answers(gotPong()) }) },
  {
    id: '2.2',
    what: 'a ping of text is answered',
    script: () => ({ steps: [send(ping('are you'))], expect: answers(gotPong('are you')) }),
  },
  { id: '2.3', what: 'a ping of bytes is answered', script: () => ({ steps: [send(ping(bytes))], expect: answers(gotPong(bytes)) }) },
  {
    id: '2.4',
    what: 'a ping of 125 bytes is answered',
    script: () => ({ steps: [send(ping(longest))], expect: answers(gotPong(longest)) }),
  },
  { id: '2.5', what: 'a ping of 126 bytes is refused', script: () => ({ steps: [send(ping(Buffer.alloc(126, 0xfe)))], expect: refuses }) },
  {
    id: '2.6',
    what: 'a ping of 125 bytes, byte by byte, is answered',
    script: () => ({ steps: [chop(1, ping(longest))], expect: answers(gotPong(longest)) }),
  },
  {
    id: '2.7',
    what: 'an empty pong nobody asked for is passed over',
    script: () => ({ steps: [send(pong(), close(1000))], expect: { end: 'close-answered', happenings: [], codes: [1000] } }),
  },
  {
    id: '2.8',
    what: 'a pong nobody asked for is passed over',
    script: () => ({ steps: [send(pong('here'), close(1000))], expect: { end: 'close-answered', happenings: [], codes: [1000] } }),
  },
  {
    id: '2.9',
    what: 'a pong nobody asked for is passed over, the ping behind it is answered',
    script: () => ({ steps: [send(pong('here'), ping('are you'))], expect: answers(gotPong('are you')) }),
  },
  {
    id: '2.10',
    what: 'ten pings are answered in order',
    script: () => ({ steps: [send(...tenPings.map((payload) => ping(payload)))], expect: answers(...tenPings.map(gotPong)) }),
  },
  {
    id: '2.11',
    what: 'ten pings, byte by byte, are answered in order',
    script: () => ({ steps: [chop(1, ...tenPings.map((payload) => ping(payload)))], expect: answers(...tenPings.map(gotPong)) }),
  },
];

const first = 'a good one';

/** A good message, then the bad frame, then a ping that must stay unanswered. */
function afterGood(id: string, what: string, bad: Frame, by?: 'frame' | number): ConformanceCase {
  const frames = [text(first), bad, ping()];
  return {
    id,
    what,
    script: () => ({ steps: [by === undefined ? send(...frames) : chop(by, ...frames)], expect: refusesAfter(gotText(first)) }),
  };
}

function alone(id: string, what: string, bad: Frame): ConformanceCase {
  return { id, what, script: () => ({ steps: [send(bad)], expect: refuses }) };
}

const reservedBits: ConformanceCase[] = [
  alone('3.1', 'RSV 1 on a text is refused', text(first, { rsv: 1 })),
  afterGood('3.2', 'RSV 2 on the second text is refused, the first answered', text(first, { rsv: 2 })),
  afterGood('3.3', 'RSV 3 on the second text is refused, frame by frame', text(first, { rsv: 3 }), 'frame'),
  afterGood('3.4', 'RSV 4 on the second text is refused, byte by byte', text(first, { rsv: 4 }), 1),
  alone('3.5', 'RSV 5 on a binary is refused', binary(bytes, { rsv: 5 })),
  alone('3.6', 'RSV 6 on a ping is refused', ping('are you', { rsv: 6 })),
  alone('3.7', 'RSV 7 on a Close is refused', { op: opcode.close, payload: Buffer.alloc(0), rsv: 7 }),
];

/** 4.1.x with the opcodes from 3, 4.2.x with those from 11. */
function reservedOpcodes(group: '4.1' | '4.2', from: 3 | 11): ConformanceCase[] {
  const frame = (op: number, payload: string): Frame => ({ op, payload: Buffer.from(payload) });
  return [
    alone(`${group}.1`, `opcode ${from} is refused`, frame(from, '')),
    alone(`${group}.2`, `opcode ${from + 1} with a payload is refused`, frame(from + 1, 'reserved')),
    afterGood(`${group}.3`, `opcode ${from + 2} behind a text is refused`, frame(from + 2, '')),
    afterGood(`${group}.4`, `opcode ${from + 3} with a payload behind a text is refused`, frame(from + 3, 'reserved')),
    afterGood(`${group}.5`, `opcode ${from + 4} behind a text is refused, byte by byte`, frame(from + 4, 'reserved'), 1),
  ];
}

export const framingCases: readonly ConformanceCase[] = [
  ...echoes('1.1'),
  ...echoes('1.2'),
  ...pings,
  ...reservedBits,
  ...reservedOpcodes('4.1', 3),
  ...reservedOpcodes('4.2', 11),
];
