/** Categories 9 and 10: large messages, small fragments, small writes, many messages. What counts is that they come back, not how fast. */
import { opcode } from '../../support/live-client.ts';
import { answers, chop, type ConformanceCase, gotBinary, gotText, send, type Step } from './case.ts';
import { binary, type Frame, fragments, text } from './frames.ts';
import type { Happening } from './verdict.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

interface Kind {
  readonly name: string;
  readonly payload: (length: number) => Buffer;
  readonly frame: (payload: Uint8Array) => Frame;
  readonly got: (payload: Uint8Array) => Happening;
  readonly op: number;
}

const texts: Kind = {
  name: 'text',
  payload: (length) => Buffer.alloc(length, 'abcdefghij'),
  frame: (payload) => text(payload),
  got: gotText,
  op: opcode.text,
};
const binaries: Kind = {
  name: 'binary',
  payload: (length) => Buffer.alloc(length, Buffer.from([0x00, 0xfe, 0x23, 0xfa, 0xf0])),
  frame: (payload) => binary(payload),
  got: gotBinary,
  op: opcode.binary,
};

/** One message there and back; the step says how it goes. */
function echo(id: string, what: string, kind: Kind, length: number, step: (payload: Buffer) => Step): ConformanceCase {
  return {
    id,
    what,
    script: () => {
      const payload = kind.payload(length);
      return { steps: [step(payload)], expect: answers(kind.got(payload)) };
    },
  };
}

function sized(group: string, kind: Kind): ConformanceCase[] {
  return [64 * KiB, 256 * KiB, MiB, 4 * MiB, 8 * MiB, 16 * MiB].map((length, index) =>
    echo(`${group}.${index + 1}`, `a ${kind.name} message of ${length} bytes comes back`, kind, length, (payload) =>
      send(kind.frame(payload)),
    ),
  );
}

function fragmented(group: string, kind: Kind): ConformanceCase[] {
  return [64, 256, KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, MiB, 4 * MiB].map((size, index) =>
    echo(`${group}.${index + 1}`, `4 MiB of ${kind.name} in fragments of ${size} bytes come back`, kind, 4 * MiB, (payload) =>
      send(...fragments(kind.op, payload, size)),
    ),
  );
}

function chopped(group: string, kind: Kind): ConformanceCase[] {
  return [64, 128, 256, 512, KiB, 2 * KiB].map((size, index) =>
    echo(`${group}.${index + 1}`, `1 MiB of ${kind.name} in writes of ${size} bytes comes back`, kind, MiB, (payload) =>
      chop(size, kind.frame(payload)),
    ),
  );
}

const rounds = 1_000;

function repeated(group: string, kind: Kind): ConformanceCase[] {
  return [0, 16, 64, 256, KiB, 4 * KiB].map((length, index) => ({
    id: `${group}.${index + 1}`,
    what: `${rounds} ${kind.name} messages of ${length} bytes come back, one after the other`,
    script: () => {
      const payload = kind.payload(length);
      return {
        steps: [{ do: 'rounds', frame: kind.frame(payload), count: rounds }],
        expect: answers(...Array.from({ length: rounds }, () => kind.got(payload))),
      };
    },
  }));
}

export const limitCases: readonly ConformanceCase[] = [
  ...sized('9.1', texts),
  ...sized('9.2', binaries),
  ...fragmented('9.3', texts),
  ...fragmented('9.4', binaries),
  ...chopped('9.5', texts),
  ...chopped('9.6', binaries),
  ...repeated('9.7', texts),
  ...repeated('9.8', binaries),
  echo('10.1.1', 'a text of 65536 bytes in fragments of 1300 comes back', texts, 65_536, (payload) =>
    send(...fragments(opcode.text, payload, 1_300)),
  ),
];
