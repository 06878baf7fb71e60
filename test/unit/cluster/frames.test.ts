/** Frames between nodes: written in pieces, cut anywhere, read again; and what no peer sends. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeTrusted, encodeTrusted, UndecodableFrame } from '../../../src/protocol/codec.ts';
import {
  answerFlag,
  type Chunk,
  FrameError,
  FrameReader,
  frameKind,
  readAnswer,
  readAsk,
  readBeat,
  readBody,
  readEvent,
  readHello,
  readSeq,
} from '../../../src/transport/cluster/frames.ts';
import { eventFrame, FrameWriter, Pieces } from '../../../src/transport/cluster/frame-writer.ts';

const largest = 8 * 1024 * 1024;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A socket that takes bytes when told to. */
class Sink {
  readonly writes: Buffer[] = [];
  readonly #taken: (() => void)[] = [];
  readonly #holds: boolean;

  constructor(holds = false) {
    this.#holds = holds;
  }

  write(pieces: readonly Uint8Array[], taken: () => void): void {
    this.writes.push(Buffer.concat(pieces));
    if (this.#holds) this.#taken.push(taken);
    else setImmediate(taken);
  }

  take(): void {
    this.#taken.shift()?.();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.writes);
  }
}

function writerTo(sink: Sink, bound = largest): FrameWriter {
  return new FrameWriter(sink, new Pieces(), bound, () => undefined);
}

type Read = readonly [kind: number, ...fields: unknown[]];

function readFrame(chunk: Chunk, start: number, end: number): Read {
  const kind = chunk.bytes[start] as number;
  switch (kind) {
    case frameKind.ask: {
      const { id, deadlineMs, trace, body } = readAsk(chunk, start, end);
      return [kind, id, deadlineMs, trace, body];
    }
    case frameKind.answer: {
      const { id, flags, value } = readAnswer(chunk, start, end);
      return [kind, id, flags, value];
    }
    case frameKind.event: {
      const { seq, userId, bodyAt } = readEvent(chunk, start, end);
      return [kind, seq, userId, readBody(chunk, bodyAt - 1, end)];
    }
    case frameKind.beat:
      return [kind, readBeat(chunk, start, end)];
    case frameKind.hello:
      return [kind, readHello(chunk, start, end)];
    case frameKind.hint:
      return [kind, readBody(chunk, start, end)];
    default:
      return [kind, readSeq(chunk, start, end)];
  }
}

/** Reads `bytes` in chunks that end at `cuts`. */
function readAll(bytes: Buffer, cuts: readonly number[], bound = largest): Read[] {
  const read: Read[] = [];
  const reader = new FrameReader((chunk, start, end) => read.push(readFrame(chunk, start, end)), bound);
  let from = 0;
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    if (cut > from) reader.push(Buffer.from(bytes.subarray(from, cut)));
    from = Math.max(from, cut);
  }
  return read;
}

const text = fc.string({ unit: 'grapheme', maxLength: 100 });
const body = fc.oneof(
  text,
  fc.integer(),
  fc.boolean(),
  fc.array(text, { maxLength: 4 }),
  fc.uint8Array({ maxLength: 200 }),
  fc.constant(null),
);
const seqs = fc.nat({ max: 2 ** 48 - 1 });
const frames: fc.Arbitrary<Read> = fc.oneof(
  fc.tuple(
    fc.constant(frameKind.ask),
    fc.nat({ max: 2 ** 30 }),
    fc.nat({ max: 2 ** 32 - 1 }),
    fc.option(fc.string({ minLength: 1, maxLength: 80 }), { nil: undefined }),
    body,
  ),
  fc.tuple(fc.constant(frameKind.answer), fc.nat({ max: 2 ** 30 }), fc.constantFrom(0, answerFlag.last), body),
  fc.tuple(
    fc.constant(frameKind.answer),
    fc.nat({ max: 2 ** 30 }),
    fc.constant(answerFlag.last | answerFlag.failed),
    fc.constant(undefined),
  ),
  fc.tuple(fc.constant(frameKind.event), seqs, text, body),
  fc.tuple(fc.constant(frameKind.beat), fc.boolean()),
  fc.tuple(fc.constantFrom(frameKind.ack, frameKind.gap), seqs),
  fc.tuple(fc.constant(frameKind.hint), body),
);

function write(writer: FrameWriter, frame: Read): void {
  const [kind, first, second, third, fourth] = frame;
  if (kind === frameKind.ask) writer.ask(first as number, second as number, third as string | undefined, fourth);
  else if (kind === frameKind.answer && second === (answerFlag.last | answerFlag.failed)) writer.failed(first as number);
  else if (kind === frameKind.answer) writer.answer(first as number, second === answerFlag.last, third);
  else if (kind === frameKind.event) writer.raw(eventFrame(first as number, second as string, third));
  else if (kind === frameKind.beat) writer.beat(first as boolean);
  else if (kind === frameKind.ack) writer.ack(first as number);
  else if (kind === frameKind.gap) writer.gap(first as number);
  else writer.hint(encodeTrusted(first));
}

describe('frames', () => {
  it('are read as they were written, wherever the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frames, { maxLength: 40 }), fc.array(fc.nat(), { maxLength: 30 }), async (written, cuts) => {
        const sink = new Sink();
        const writer = writerTo(sink);
        for (const frame of written) write(writer, frame);
        while (writer.unsentBytes > 0) await turn();
        expect(readAll(sink.bytes, cuts)).toEqual(written);
      }),
      { numRuns: 300 },
    );
  });

  it('of one byte a chunk are read as well', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    writer.ask(7, 1_500, '00-trace', { text: 'hello' });
    writer.ack(9);
    await turn();
    const cuts = Array.from({ length: sink.bytes.length }, (_, at) => at);
    expect(readAll(sink.bytes, cuts)).toEqual([
      [frameKind.ask, 7, 1_500, '00-trace', { text: 'hello' }],
      [frameKind.ack, 9],
    ]);
  });

  it('of one chunk are read where they lie, without a copy', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    for (let i = 0; i < 100; i++) writer.ack(i);
    await turn();
    const chunk = Buffer.from(sink.bytes);
    const seen: Chunk[] = [];
    new FrameReader((given) => seen.push(given), largest).push(chunk);
    expect(seen).toHaveLength(100);
    expect(seen.every((given) => given.text === chunk && given.bytes.buffer === chunk.buffer)).toBe(true);
  });

  it('past the one that ended the link are not handed out', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    for (let i = 0; i < 10; i++) writer.ack(i);
    await turn();
    let seen = 0;
    const reader: FrameReader = new FrameReader(() => {
      seen += 1;
      if (seen === 3) reader.end();
    }, largest);
    reader.push(Buffer.from(sink.bytes));
    expect(seen).toBe(3);
  });
});

describe('a frame that no peer sends', () => {
  const framed = (bytes: readonly number[]): Buffer => {
    const frame = Buffer.alloc(4 + bytes.length);
    frame.writeUInt32BE(bytes.length);
    frame.set(bytes, 4);
    return frame;
  };

  it('is refused by its length alone: empty, or past the bound', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    writer.hint(new Uint8Array(98).fill(1));
    await turn();
    const frame = sink.bytes;
    const lengths = (bound: number): number[] => {
      const seen: number[] = [];
      new FrameReader((_, start, end) => seen.push(end - start), bound).push(Buffer.from(frame));
      return seen;
    };
    expect(lengths(100)).toEqual([99]);
    expect(lengths(99)).toEqual([99]);
    expect(() => lengths(98)).toThrow(FrameError);
    expect(() => readAll(frame.subarray(0, 4), [2], 98)).toThrow(FrameError);
    expect(() => new FrameReader(() => undefined, 100).push(framed([]))).toThrow(FrameError);
  });

  it.each([
    ['an ask without its fields', [frameKind.ask, 0, 0, 0, 1, 0, 0, 0, 1]],
    ['an ask whose trace is longer than itself', [frameKind.ask, 0, 0, 0, 1, 0, 0, 0, 1, 9, 0xc0]],
    ['an answer without flags', [frameKind.answer, 0, 0, 0, 1]],
    ['an event without a user', [frameKind.event, 0, 0, 0, 0, 0, 1]],
    ['an event whose user id is longer than itself', [frameKind.event, 0, 0, 0, 0, 0, 1, 0, 9, 0x40, 0xc0]],
    ['an event without a body', [frameKind.event, 0, 0, 0, 0, 0, 1, 0, 1, 0x40]],
    ['a beat without its flag', [frameKind.beat]],
    ['a number that is too long', [frameKind.ack, 0, 0, 0, 0, 0, 1, 0]],
    ['a hello that is no map', [frameKind.hello, 0x01]],
  ])('is refused: %s', (_, bytes) => {
    expect(() => readAll(framed(bytes), [])).toThrow(FrameError);
  });

  it.each([
    ['an ask without a body', [frameKind.ask, 0, 0, 0, 1, 0, 0, 0, 1, 0]],
    ['a body that is cut off', [frameKind.hint, 0xa5, 0x61]],
    ['a body with something behind it', [frameKind.hint, 0x01, 0x02]],
    ['a reserved byte', [frameKind.answer, 0, 0, 0, 1, 1, 0xa2, 0x61]],
  ])('is refused: %s', (_, bytes) => {
    expect(() => readAll(framed(bytes), [])).toThrow(UndecodableFrame);
    // Nor is it completed by the frame behind it.
    expect(() => readAll(Buffer.concat([framed(bytes), framed([frameKind.hint, 0x01])]), [])).toThrow(UndecodableFrame);
  });

  it.each([
    ['another version', { link: 2 }],
    ['no boot id', { boot: undefined }],
    ['a number as name', { name: 1 }],
    ['no word of the lease', { lease: undefined }],
    ['a fraction of an event', { has: 1.5 }],
    ['fewer than no events', { has: -1 }],
  ])('is refused: a hello with %s', async (_, change) => {
    const hello = { link: 1, boot: 'b', name: 'n', version: '1', lease: true };
    const sink = new Sink();
    const writer = writerTo(sink);
    writer.hello(hello);
    writer.hello({ ...hello, ...change } as never);
    await turn();
    const read: Read[] = [];
    const reader = new FrameReader((chunk, start, end) => read.push(readFrame(chunk, start, end)), largest);
    expect(() => reader.push(sink.bytes)).toThrow(FrameError);
    expect(read).toEqual([[frameKind.hello, hello]]);
  });
});

describe('a writer', () => {
  it('gives the socket the frames of one turn at once', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    for (let i = 0; i < 100; i++) writer.ask(i, 1, undefined, 'x');
    expect(sink.writes).toHaveLength(0);
    await turn();
    expect(sink.writes).toHaveLength(1);
  });

  it('collects while the socket is busy, and counts what it has not taken', async () => {
    const sink = new Sink(true);
    const writer = writerTo(sink);
    writer.ack(1);
    await turn();
    const one = writer.unsentBytes;
    for (let i = 0; i < 10; i++) {
      writer.ack(i);
      await turn();
    }
    expect([sink.writes.length, writer.unsentBytes]).toEqual([1, 11 * one]);
    sink.take();
    expect([sink.writes.length, writer.unsentBytes]).toEqual([2, 10 * one]);
    sink.take();
    expect(writer.unsentBytes).toBe(0);
  });

  it('writes everything before the end, and nothing after it', async () => {
    const sink = new Sink(true);
    const writer = writerTo(sink);
    writer.ack(1);
    await turn();
    writer.ack(2);
    writer.finish();
    writer.ack(3);
    await turn();
    expect(readAll(sink.bytes, [])).toEqual([
      [frameKind.ack, 1],
      [frameKind.ack, 2],
    ]);
  });

  it('refuses a frame past the bound, and writes one at it', async () => {
    const sink = new Sink();
    const writer = writerTo(sink, 100);
    // 10 of fields and 2 of the body's own head; an answer has 6 and 2.
    expect([writer.ask(1, 1, undefined, 'a'.repeat(88)), writer.ask(2, 1, undefined, 'a'.repeat(89))]).toEqual([true, false]);
    expect([writer.answer(3, true, 'a'.repeat(92)), writer.answer(4, true, 'a'.repeat(93))]).toEqual([true, false]);
    await turn();
    expect(readAll(sink.bytes, [], 100).map(([, id]) => id)).toEqual([1, 3]);
  });

  it('carries frames larger than a piece', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    const large = 'x'.repeat(300_000);
    writer.ack(1);
    writer.answer(2, true, large);
    writer.ack(3);
    while (writer.unsentBytes > 0) await turn();
    expect(readAll(sink.bytes, [70_000, 140_000])).toEqual([
      [frameKind.ack, 1],
      [frameKind.answer, 2, answerFlag.last, large],
      [frameKind.ack, 3],
    ]);
  });

  it('leaves out a trace of more than 255 bytes', async () => {
    const sink = new Sink();
    const writer = writerTo(sink);
    for (const length of [254, 255, 256]) writer.ask(length, 1, 't'.repeat(length), null);
    await turn();
    expect(readAll(sink.bytes, []).map(([, , , trace]) => (trace as string | undefined)?.length)).toEqual([254, 255, undefined]);
  });

  it('refuses a user id of more than 65,535 bytes', () => {
    expect(() => eventFrame(1, 'u'.repeat(65_534), 0)).not.toThrow();
    expect(() => eventFrame(1, 'u'.repeat(65_535), 0)).not.toThrow();
    expect(() => eventFrame(1, 'u'.repeat(65_536), 0)).toThrow(RangeError);
  });
});

describe('bytes of a trusted node', () => {
  it('decode to what was encoded: deep, long, large, with what msgpackr gets wrong', () => {
    let deep: unknown = 'bottom';
    for (let i = 0; i < 100; i++) deep = [deep];
    const value = {
      deep,
      many: Array.from({ length: 20_000 }, (_, i) => i),
      bom: `\ufeff${'x'.repeat(200)}`,
      lone: 'a\ud800b',
      at: 1_700_000_000_000,
      most: Number.MAX_SAFE_INTEGER,
      least: Number.MIN_SAFE_INTEGER,
      half: 0.5,
      bytes: new Uint8Array([1, 2, 3]),
    };
    expect(decodeTrusted(encodeTrusted(value))).toEqual({ ...value, lone: 'a\ufffdb' });
    expect(decodeTrusted(encodeTrusted([undefined, { gone: undefined }]))).toEqual([null, {}]);
  });

  it('are copied: nothing of the value lies in the chunk', () => {
    const chunk = Buffer.from(encodeTrusted({ bytes: new Uint8Array([1, 2, 3]), text: 'abc' }));
    const value = decodeTrusted(chunk) as { bytes: Uint8Array };
    chunk.fill(0);
    expect(value).toEqual({ bytes: new Uint8Array([1, 2, 3]), text: 'abc' });
    expect(value.bytes.constructor).toBe(Uint8Array);
  });
});
