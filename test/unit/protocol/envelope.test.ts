import { describe, expect, it } from 'vitest';
import { decodeFrame, encode, type WireFormat } from '../../../src/protocol/codec.ts';
import { errorEnvelope, eventEnvelope, parseEnvelope, resultEnvelope } from '../../../src/protocol/envelope.ts';
import { invalidRequest, rpcCodes, TmcpError } from '../../../src/protocol/errors.ts';
import { limits } from '../../../src/protocol/limits.ts';

const formats: WireFormat[] = ['msgpack', 'json'];
const good = { jsonrpc: '2.0', id: 1, method: 'tween.session.ping', params: { a: 1 } };
const meta = { requestId: 'req_1', timestamp: '2026-01-01T00:00:00.000Z' };

describe('parseEnvelope: requests and notifications', () => {
  it.each(formats)('a request in %s', (format) => {
    expect(parseEnvelope(good, format)).toEqual({ kind: 'request', id: 1, method: 'tween.session.ping', params: { a: 1 } });
  });

  it.each(formats)('without an id it is a notification in %s', (format) => {
    const { id: _, ...notification } = good;
    expect(parseEnvelope(notification, format)).toEqual({ kind: 'notification', method: 'tween.session.ping', params: { a: 1 } });
  });

  it('absent params are an empty map, each time its own', () => {
    const { params: _, ...bare } = good;
    const [first, second] = [parseEnvelope(bare, 'json'), parseEnvelope(bare, 'json')];
    expect(first).toMatchObject({ kind: 'request', params: {} });
    expect((first as { params: object }).params).not.toBe((second as { params: object }).params);
  });

  it('a context map is accepted and ignored', () => {
    expect(parseEnvelope({ ...good, context: { traceparent: 'x' } }, 'json')).toEqual(parseEnvelope(good, 'json'));
  });

  it('jsonrpc may be absent in MessagePack and not in JSON; another version is refused in both', () => {
    const { jsonrpc: _, ...bare } = good;
    expect(parseEnvelope(bare, 'msgpack').kind).toBe('request');
    expect(parseEnvelope(bare, 'json')).toMatchObject({ kind: 'invalid', id: 1 });
    for (const format of formats) {
      for (const jsonrpc of ['1.0', '2', 2, null])
        expect(parseEnvelope({ ...good, jsonrpc }, format)).toMatchObject({ kind: 'invalid', id: 1 });
    }
  });
});

describe('parseEnvelope: ids', () => {
  const accepted = [
    0,
    1,
    Number.MAX_SAFE_INTEGER,
    '',
    'a',
    'x'.repeat(63),
    'x'.repeat(64),
    'ä'.repeat(32),
    '€'.repeat(21),
    '😀'.repeat(16),
  ];
  it.each(accepted)('%j is an id', (id) => {
    expect(parseEnvelope({ ...good, id }, 'json')).toMatchObject({ kind: 'request', id });
  });

  const refused = [
    -1,
    0.5,
    Number.MAX_SAFE_INTEGER + 1,
    'x'.repeat(65),
    'ä'.repeat(33),
    '€'.repeat(22),
    '😀'.repeat(17),
    null,
    true,
    [],
    {},
    new Uint8Array(1),
  ];
  it.each(refused)('%j is none', (id) => {
    expect(parseEnvelope({ ...good, id }, 'json')).toMatchObject({ kind: 'invalid', id: null });
  });

  it('-0 is answered as 0', () => {
    expect(parseEnvelope({ ...good, id: -0 }, 'json')).toMatchObject({ kind: 'request', id: 0 });
  });
});

describe('parseEnvelope: what is no request', () => {
  it.each([null, 1, 'x', true, new Uint8Array(3)])('%j is none', (value) => {
    expect(parseEnvelope(value, 'msgpack')).toMatchObject({ kind: 'invalid', id: null });
  });

  it.each<[string, object]>([
    ['no method', { method: undefined }],
    ['an empty method', { method: '' }],
    ['a method of 129 characters', { method: 'm'.repeat(129) }],
    ['a method that is a number', { method: 1 }],
    ['params as an array', { params: [] }],
    ['params as null', { params: null }],
    ['params as bytes', { params: new Uint8Array(1) }],
    ['params as text', { params: 'a' }],
    ['context as an array', { context: [] }],
    ['context as null', { context: null }],
    ['an unknown member', { extra: 1 }],
    ['a result', { result: 1 }],
    ['an error', { error: {} }],
    ['a sequence number', { seq: 1 }],
  ])('%s is refused under its id', (_, change) => {
    const changed = Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, member]) => member !== undefined));
    for (const format of formats) expect(parseEnvelope(changed, format)).toMatchObject({ kind: 'invalid', id: 1 });
  });

  it('a method of 128 characters is accepted', () => {
    expect(parseEnvelope({ ...good, method: 'm'.repeat(128) }, 'json').kind).toBe('request');
  });

  it('a member of the peer never stands in the reason', () => {
    const parsed = parseEnvelope({ ...good, secret_482913: 1 }, 'json');
    expect(JSON.stringify(parsed)).not.toContain('482913');
  });
});

describe('parseEnvelope: batches', () => {
  const batch = (count: number): unknown[] => Array.from({ length: count }, (_, id) => ({ ...good, id }));

  it('1, 63 and 64 requests are a batch; none and 65 are one invalid', () => {
    for (const count of [1, limits.batch - 1, limits.batch]) {
      const parsed = parseEnvelope(batch(count), 'json');
      expect(parsed.kind === 'batch' && parsed.items.map((item) => item.kind === 'request' && item.id)).toEqual(
        batch(count).map((_, id) => id),
      );
    }
    for (const count of [0, limits.batch + 1]) expect(parseEnvelope(batch(count), 'json')).toMatchObject({ kind: 'invalid', id: null });
  });

  it('an item that is no request is invalid for itself, a batch inside too; the others stand', () => {
    const parsed = parseEnvelope([good, 7, [good], { ...good, id: 'x', method: 1 }, { jsonrpc: '2.0', method: 'n' }], 'json');
    expect(parsed).toMatchObject({
      kind: 'batch',
      items: [
        { kind: 'request', id: 1 },
        { kind: 'invalid', id: null },
        { kind: 'invalid', id: null },
        { kind: 'invalid', id: 'x' },
        { kind: 'notification', method: 'n' },
      ],
    });
  });
});

describe('builders', () => {
  it('JSON envelopes carry jsonrpc, MessagePack ones do not', () => {
    const error = new TmcpError('NOT_FOUND');
    for (const build of [
      (f: WireFormat) => resultEnvelope(f, 1, {}),
      (f: WireFormat) => errorEnvelope(f, 1, error, meta),
      (f: WireFormat) => eventEnvelope(f, 'm', {}, 1),
    ]) {
      expect(build('json').jsonrpc).toBe('2.0');
      expect(Object.keys(build('msgpack'))).not.toContain('jsonrpc');
    }
  });

  it('an undefined result is null on the wire', () => {
    for (const format of formats)
      expect(decodeFrame(format, encode(format, resultEnvelope(format, 'a', undefined)))).toMatchObject({ id: 'a', result: null });
  });

  it('an error has its codes, whether to retry, and whom to ask', () => {
    const error = new TmcpError('INSUFFICIENT_FUNDS', undefined, { details: { available: 5 } });
    expect(errorEnvelope('msgpack', 9, error, meta)).toEqual({
      id: 9,
      error: {
        code: -32402,
        message: 'The wallet does not hold enough',
        data: { code: 'INSUFFICIENT_FUNDS', retryable: false, details: { available: 5 }, request_id: 'req_1', timestamp: meta.timestamp },
      },
    });
  });

  it('retry_after stands only where there is one, zero included', () => {
    expect(errorEnvelope('json', 1, new TmcpError('RATE_LIMIT_EXCEEDED', undefined, { retryAfter: 0 }), meta).error.data).toMatchObject({
      retryable: true,
      retry_after: 0,
    });
    expect(Object.keys(errorEnvelope('json', 1, new TmcpError('RATE_LIMIT_EXCEEDED'), meta).error.data)).toEqual([
      'code',
      'retryable',
      'request_id',
      'timestamp',
    ]);
  });

  it('bad params are -32602 with the issues', () => {
    const { error } = errorEnvelope('json', 1, invalidRequest([{ path: '/amount', message: 'must be a number' }]), meta);
    expect(error).toMatchObject({
      code: -32602,
      data: { code: 'INVALID_REQUEST', details: { issues: [{ path: '/amount', message: 'must be a number' }] } },
    });
  });

  it('a given code replaces the one that follows from the error', () => {
    const { id, error } = errorEnvelope('json', null, new TmcpError('INVALID_REQUEST'), meta, rpcCodes.undecodable);
    expect(id).toBeNull();
    expect(error).toMatchObject({ code: -32700, data: { code: 'INVALID_REQUEST' } });
  });

  it('INTERNAL_ERROR says nothing of what happened', () => {
    const fault = new TmcpError('INTERNAL_ERROR', 'duplicate key in table payments', {
      details: { sql: 'insert' },
      cause: new Error('at db.ts:7'),
    });
    const envelope = errorEnvelope('json', 1, fault, meta);
    expect(envelope.error).toEqual({
      code: -32603,
      message: 'Something went wrong on our side',
      data: { code: 'INTERNAL_ERROR', retryable: true, request_id: 'req_1', timestamp: meta.timestamp },
    });
  });
});
