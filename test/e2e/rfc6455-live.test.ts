/**
 * Row S21 of the threat catalogue on the real `/v1/live`: one breach of RFC 6455 a category of test/conformance/rfc6455, none of which
 * live-session.test.ts has. The library ends such a connection itself and sends no Close frame, so a client sees 1006, and 1005 where a
 * Close is what was broken; our own codes are for what the library lets us see.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/protocol/limits.ts';
import { clientFrame, type LiveClient, opcode } from '../support/live-client.ts';
import { type LiveServer, startLiveServer } from '../support/live-server.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

interface Breach {
  readonly category: number;
  readonly what: string;
  readonly protocol?: string;
  readonly bytes: () => Buffer;
  /** What the client sees. */
  readonly code: 1005 | 1006;
}

const inPieces = (op: number, ...payloads: readonly Uint8Array[]): Buffer =>
  Buffer.concat(payloads.map((payload, index) => clientFrame(index === 0 ? op : opcode.continuation, payload, { fin: false })));
const notUtf8 = Buffer.from([0x7b, 0xed, 0xa0, 0x80, 0x7d]);

const breaches: readonly Breach[] = [
  { category: 1, what: 'a length of 2^63', bytes: () => Buffer.from([0x82, 0xff, 0x80, ...Array<number>(11).fill(0)]), code: 1006 },
  { category: 2, what: 'a ping of 126 bytes', bytes: () => clientFrame(opcode.ping, Buffer.alloc(126)), code: 1006 },
  { category: 3, what: 'the second reserved bit', bytes: () => clientFrame(opcode.binary, Buffer.alloc(3), { rsv: 2 }), code: 1006 },
  { category: 4, what: 'the reserved control opcode 11', bytes: () => clientFrame(11, Buffer.alloc(0)), code: 1006 },
  {
    category: 5,
    what: 'a text within a message',
    bytes: () => Buffer.concat([clientFrame(opcode.binary, Buffer.alloc(3), { fin: false }), clientFrame(opcode.text, Buffer.alloc(3))]),
    code: 1006,
  },
  {
    category: 6,
    what: 'a text that is not UTF-8, where text is spoken',
    protocol: 'tmcp.json.v1',
    bytes: () => clientFrame(opcode.text, notUtf8),
    code: 1006,
  },
  { category: 6, what: 'a text that is not UTF-8, where no text is spoken', bytes: () => clientFrame(opcode.text, notUtf8), code: 1006 },
  { category: 7, what: 'a Close of one byte', bytes: () => clientFrame(opcode.close, Buffer.alloc(1)), code: 1005 },
  {
    category: 7,
    what: 'a Close whose reason is not UTF-8',
    bytes: () => clientFrame(opcode.close, Buffer.concat([Buffer.from([0x03, 0xe8]), notUtf8])),
    code: 1005,
  },
  {
    category: 9,
    what: 'fragments of more than twice the limit that have no last one',
    bytes: () => inPieces(opcode.binary, ...Array.from({ length: 5 }, () => Buffer.alloc(limits.frameBytes / 2 + 1))),
    code: 1006,
  },
];

describe('breaches of RFC 6455 on the live endpoint (S21)', () => {
  it.each(breaches.map((breach) => [breach.category, breach.what, breach] as const))(
    'S21 category %i: %s ends this connection, keeps its session and disturbs nobody',
    async (_category, _what, breach) => {
      live = await startLiveServer();
      const { client: other } = await live.open();
      const { client, opened } = await live.open({}, {}, breach.protocol === undefined ? {} : { protocol: breach.protocol });
      client.socket.write(breach.bytes());
      expect((await client.closed).code).toBe(breach.code);
      await other.settled();
      const again = await live.open({}, { resume: { session: opened.session, secret: opened.secret, seq: 0 } });
      expect(again.opened).toMatchObject({ session: opened.session, resumed: true });
    },
  );

  it('S21 category 10: a request in fragments of 1300 bytes is no breach and is answered', async () => {
    live = await startLiveServer();
    const { client } = await live.open({}, {}, { protocol: 'tmcp.json.v1' });
    const value = '\u00e9'.repeat(5_000);
    sendInFragments(client, { jsonrpc: '2.0', id: 'set', method: 'tween.storage.set', params: { key: 'a', value } }, 1_300);
    expect((await client.find(({ id }) => id === 'set')).result.version).toBe(1);
    expect((await client.call('tween.storage.get', { key: 'a' })).result.value).toBe(value);
  });
});

function sendInFragments(client: LiveClient, message: unknown, size: number): void {
  const bytes = Buffer.from(JSON.stringify(message));
  for (let at = 0; at < bytes.length; at += size)
    client.frame(at === 0 ? opcode.text : opcode.continuation, bytes.subarray(at, at + size), { fin: at + size >= bytes.length });
}
