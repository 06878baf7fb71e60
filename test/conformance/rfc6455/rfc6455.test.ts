/**
 * Row S21 of the threat catalogue: the WebSocket layer we ship keeps to RFC 6455. Our restatement of the Autobahn cases without
 * compression, from the RFC and under the same numbers, played over bare TCP against an echo on that layer (echo-server.ts says what of
 * it is ours). It is not the Autobahn testsuite and no run of it.
 *
 * It judges as that suite does where the RFC leaves room (verdict.ts), with one difference to the stricter: a proper Close must be
 * answered with a code. Every case must have exactly the verdict written here, so a list that is too long fails as well. Departures
 * that no numbered case asks for stand behind the table.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answers, type ConformanceCase, gotBinary, gotText } from './case.ts';
import { closeCases } from './cases-close.ts';
import { fragmentCases } from './cases-fragments.ts';
import { framingCases } from './cases-framing.ts';
import { limitCases } from './cases-limits.ts';
import { utf8Cases } from './cases-utf8.ts';
import { type EchoServer, startEchoServer } from './echo-server.ts';
import { binary, continuation, encodeFrame, text } from './frames.ts';
import { isUtf8, RawClient } from './raw-client.ts';
import { sequenceGroups } from './utf8-sequences.ts';
import { judge, type Verdict } from './verdict.ts';

const cases: readonly ConformanceCase[] = [...framingCases, ...fragmentCases, ...utf8Cases, ...closeCases, ...limitCases];

const lostWithTheEnd = 'the answer to a good frame is dropped when a bad one comes in the same read';
const validatedWhole = 'the library looks at UTF-8 when the message is whole';
const unknownRange = 'the library takes 3000 to 3999 for no code, and answers the Close without one';

/** Frozen: what the library does less strictly than it could. Nothing of it reaches a peer that keeps to the RFC but the last. */
const nonStrict: Readonly<Record<string, string>> = {
  '3.2': lostWithTheEnd,
  '4.1.3': lostWithTheEnd,
  '4.1.4': lostWithTheEnd,
  '4.2.3': lostWithTheEnd,
  '4.2.4': lostWithTheEnd,
  '5.15': lostWithTheEnd,
  '6.4.1': validatedWhole,
  '6.4.2': validatedWhole,
  '6.4.3': validatedWhole,
  '6.4.4': validatedWhole,
  '7.7.10': unknownRange,
  '7.7.11': unknownRange,
};

/** The RFC does not say what must happen. */
const informational: ReadonlySet<string> = new Set(['7.1.6', '7.13.1', '7.13.2']);

function verdictOf(id: string): Verdict {
  if (informational.has(id)) return 'INFORMATIONAL';
  return nonStrict[id] === undefined ? 'OK' : 'NON-STRICT';
}

let server: EchoServer;
/** A second connection: when it was answered three times, the loop of the server has seen what was sent to the first before. */
let bystander: RawClient;

beforeAll(async () => {
  server = await startEchoServer();
  bystander = await RawClient.connect(server.port, server.path);
});

afterAll(async () => {
  bystander.cut();
  await server[Symbol.asyncDispose]();
});

async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await bystander.roundTrip();
}

describe('the table (S21)', () => {
  it('S21 has the 301 cases without compression, each number once', () => {
    const counts: Record<string, number> = {};
    for (const { id } of cases) {
      const category = id.slice(0, id.indexOf('.'));
      counts[category] = (counts[category] ?? 0) + 1;
    }
    expect(counts).toEqual({ 1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1 });
    expect(new Set(cases.map(({ id }) => id)).size).toBe(301);
  });

  it('S21 expects 286 OK, 12 non-strict, 3 informational and none failed', () => {
    const counts: Partial<Record<Verdict, number>> = {};
    for (const { id } of cases) counts[verdictOf(id)] = (counts[verdictOf(id)] ?? 0) + 1;
    expect(counts).toEqual({ OK: 286, 'NON-STRICT': 12, INFORMATIONAL: 3 });
  });

  it('S21 calls exactly those sequences valid that the platform can decode', () => {
    const wrong = sequenceGroups.flatMap(({ sequences }) => sequences.filter(({ bytes, valid }) => isUtf8(bytes) !== valid));
    expect(wrong).toEqual([]);
  });
});

describe('the echo on the layer that ships (S21)', () => {
  it.each(cases.map((row) => [row.id, row.what, row] as const))('S21 %s %s', async (id, _what, { script }) => {
    const play = script();
    const client = await RawClient.connect(server.port, server.path);
    const seen = await client.play(play, settle);
    const judgement = judge(play.expect, seen);
    expect(judgement, `${id}: ${judgement.why}`).toMatchObject({ verdict: verdictOf(id) });
  });

  it.each([
    ['does not look at the mask bit', Buffer.from([0x81, 0x01, 0, 0, 0, 0, 0x61]), answers(gotText('a'))],
    ['takes a length that could be shorter', Buffer.from([0x81, 0xfe, 0x00, 0x01, 0, 0, 0, 0, 0x61]), answers(gotText('a'))],
    [
      'takes a binary frame within a message for its end',
      Buffer.concat([text('one', { fin: false }), binary(Buffer.from('two')), continuation('three')].map(encodeFrame)),
      answers(gotBinary(Buffer.from('onetwo')), gotText('three')),
    ],
  ])('S21 outside the table the library %s', async (_what, bytes, expected) => {
    const client = await RawClient.connect(server.port, server.path);
    const seen = await client.play({ steps: [{ do: 'raw', bytes }], expect: expected }, settle);
    expect(judge(expected, seen)).toMatchObject({ verdict: 'OK' });
  });
});
