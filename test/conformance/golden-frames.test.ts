/**
 * Bytes on the wire, both ways: frames kept as hex and text, so that neither codec nor envelope can change unnoticed. The
 * MessagePack forms are checked against another implementation (`@msgpack/msgpack`) at every run.
 * A failure here is a change of the protocol: it needs a new subprotocol name, not new golden frames.
 */
import { decode as otherDecode, encode as otherEncode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encode, UndecodableFrame, type WireFormat } from '../../src/protocol/codec.ts';
import { errorEnvelope, eventEnvelope, parseEnvelope, resultEnvelope } from '../../src/protocol/envelope.ts';
import { invalidRequest, rpcCodes, TmcpError } from '../../src/protocol/errors.ts';
import inbound from './golden/inbound.json' with { type: 'json' };
import outbound from './golden/outbound.json' with { type: 'json' };
import refused from './golden/refused.json' with { type: 'json' };

const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('golden frames, client to server', () => {
  it.each(inbound)('$name', ({ msgpack, json, parsed }) => {
    const bytes = fromHex(msgpack);
    const value = decodeFrame('msgpack', bytes);
    expect(value).toStrictEqual(otherDecode(bytes));
    expect(toHex(otherEncode(value))).toBe(msgpack);
    expect(parseEnvelope(value, 'msgpack')).toEqual(parsed);
    expect(parseEnvelope(decodeFrame('json', json), 'json')).toEqual(parsed);
    expect(parseEnvelope(decodeFrame('json', new TextEncoder().encode(json)), 'json')).toEqual(parsed);
  });
});

const meta = { requestId: 'req_01', timestamp: '2026-01-01T00:00:00.000Z' };

/** What the server sends, by the name of its golden frame. */
const sent: Record<string, (format: WireFormat) => unknown> = {
  'a result': (format) =>
    resultEnvelope(format, 3, { key: 'settings/theme', value: 'dark', version: 3, updated_at: '2026-01-01T00:00:00.000Z' }),
  'a result for a text id': (format) => resultEnvelope(format, 'w-1', { key: 'notes/ä', write: 7, durable: false }),
  'nothing as a result': (format) => resultEnvelope(format, 0, undefined),
  'a refusal': (format) =>
    errorEnvelope(format, 2 ** 32, new TmcpError('INSUFFICIENT_FUNDS', undefined, { details: { available: 12.5, currency: 'USD' } }), meta),
  'a refusal to try again later': (format) =>
    errorEnvelope(format, 5, new TmcpError('RATE_LIMIT_EXCEEDED', undefined, { retryAfter: 12 }), meta),
  'bad params': (format) => errorEnvelope(format, 6, invalidRequest([{ path: '/amount', message: 'must be a number' }]), meta),
  'an undecodable frame': (format) => errorEnvelope(format, null, new TmcpError('INVALID_REQUEST'), meta, rpcCodes.undecodable),
  'a fault of ours': (format) =>
    errorEnvelope(format, 7, new TmcpError('INTERNAL_ERROR', 'table payments is gone', { details: { sql: 'x' } }), meta),
  'an event': (format) =>
    eventEnvelope(format, 'tween.payment.updated', { payment_id: 'pay_1', status: 'completed', amount: 75, currency: 'USD' }, 1),
  'an event with text beyond ASCII': (format) => eventEnvelope(format, 'tween.storage.changed', { key: 'notes/ä', version: 4 }, 42),
  'the answer to a batch': (format) => [resultEnvelope(format, 2, { value: 'b' }), resultEnvelope(format, 1, { value: 'a' })],
};

describe('golden frames, server to client', () => {
  it.each(outbound)('$name', ({ name, msgpack, json }) => {
    const build = sent[name];
    if (build === undefined) return expect.fail(`nothing is built for "${name}"`);
    const bytes = encode('msgpack', build('msgpack')) as Uint8Array;
    expect(toHex(bytes)).toBe(msgpack);
    expect(encode('json', build('json'))).toBe(json);
    expect(otherDecode(Uint8Array.from(bytes))).toStrictEqual(decodeFrame('msgpack', bytes));
  });

  it('every frame that is built has its golden form', () => {
    expect(Object.keys(sent).sort()).toEqual(outbound.map(({ name }) => name).sort());
  });
});

describe('golden frames, refused', () => {
  it.each(refused)('$name', ({ msgpack, reason }) => {
    const thrown = (() => {
      try {
        return decodeFrame('msgpack', fromHex(msgpack));
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toBeInstanceOf(UndecodableFrame);
    expect((thrown as UndecodableFrame).reason).toBe(reason);
  });
});
