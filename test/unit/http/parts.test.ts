/** The small parts of the gateway. */
import { describe, expect, it } from 'vitest';
import { operations } from '../../../src/protocol/catalogue.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { clientAddress, forwardedAddress, isLoopback, socketAddress } from '../../../src/transport/client-address.ts';
import { errorBody } from '../../../src/transport/http/error-body.ts';
import { bodyLength } from '../../../src/transport/http/framing.ts';
import { bearerToken, deviceIdOf, givenRequestId, isJson, parseTraceParent } from '../../../src/transport/http/headers.ts';
import { planInput, readInput } from '../../../src/transport/http/input.ts';
import { originCheck } from '../../../src/transport/http/origins.ts';
import { Router } from '../../../src/transport/http/router.ts';

describe('the router', () => {
  const router = new Router<string>();
  router.add('GET', '/a', 'a');
  router.add('GET', '/a/{x}', 'ax');
  router.add('PUT', '/a/{x}', 'put ax');
  router.add('GET', '/a/fixed', 'fixed');
  router.add('GET', '/a/{x}/b', 'axb');
  router.add('GET', '/a/special/{y}', 'special');

  it.each([
    ['GET', '/a', 'a', []],
    ['GET', '/a/1', 'ax', ['1']],
    ['PUT', '/a/%2F', 'put ax', ['%2F']],
    ['GET', '/a/fixed', 'fixed', []],
    ['GET', '/a/1/b', 'axb', ['1']],
    ['GET', '/a/special/b', 'special', ['b']],
  ])('[HTTP1] %s %s is %s', (method, path, target, parameters) => {
    expect(router.find(method, path)).toEqual({ target, parameters });
  });

  it.each(['/', '', '/b', '/a/', '/a//b', '/a/1/2/3', '/A'])('[HTTP11] there is nothing at %j', (path) => {
    expect(router.find('GET', path)).toBeUndefined();
  });

  it('[HTTP11] tells what a path has instead, and refuses two routes alike', () => {
    expect(router.find('POST', '/a/1')).toEqual({ allowed: ['GET', 'PUT'] });
    expect(() => router.add('PUT', '/a/{other}', 'again')).toThrow('two routes');
  });
});

describe('the input of a request', () => {
  const list = operations.find(({ name }) => name === 'tween.storage.list')!;
  const set = operations.find(({ name }) => name === 'tween.storage.set')!;
  const read = (operation: typeof list, query: string, body?: unknown, parameters: string[] = [], key = '') =>
    readInput(planInput(operation, operation.http!.path), { parameters, query, key }, body);

  it.each([
    ['limit=5', { limit: 5 }],
    ['limit=05', { limit: '05' }],
    ['limit=5.5', { limit: 5.5 }],
    ['limit=-1', { limit: -1 }],
    ['limit=1e3', { limit: '1e3' }],
    ['limit=Infinity', { limit: 'Infinity' }],
    ['limit', { limit: '' }],
    ['prefix=1', { prefix: '1' }],
    ['prefix=a+b%2Bc&&limit=1', { prefix: 'a b+c', limit: 1 }],
    ['%70refix=x', { prefix: 'x' }],
    ['other=1', { other: '1' }],
  ])('[HTTP3] of the query %s is %j', (query, input) => {
    expect(read(list, query)).toEqual(input);
  });

  it.each(['limit=1&limit=1', '__proto__=1', 'constructor=1', 'a=%', '%ff=1'])('[HTTP3] refuses the query %s', (query) => {
    expect(read(list, query)).toBeInstanceOf(TmcpError);
  });

  it.each([1, 'a', [], null])('[HTTP8] refuses the body %j', (body) => {
    expect(read(set, '', body, ['k'])).toBeInstanceOf(TmcpError);
  });

  it('[HTTP2] decodes once', () => {
    expect(read(set, '', { value: 'v' }, ['a%252Fb'])).toEqual({ key: 'a%2Fb', value: 'v' });
    expect(read(set, '', {}, ['%c3%28'])).toBeInstanceOf(TmcpError);
  });

  it('[HTTP4] takes the key of the header where there is one', () => {
    expect(read(set, '', {}, ['k'], 'x')).toEqual({ key: 'k', idempotency_key: 'x' });
    expect(read(list, '', undefined, [], 'x')).toEqual({});
    expect(read(set, '', { idempotency_key: 'y' }, ['k'], 'x')).toBeInstanceOf(TmcpError);
  });
});

describe('headers', () => {
  it.each([
    ['Bearer tep.a', 'tep.a'],
    ['bearer  tep.a ', 'tep.a'],
    ['BEARER x', 'x'],
    ['Bearer', undefined],
    ['Bearer ', undefined],
    ['Bearer a b', undefined],
    ['Basic abc', undefined],
    ['', undefined],
  ])('[HTTP10] the token of %j is %j', (header, token) => {
    expect(bearerToken(header)).toBe(token);
  });

  it.each([
    ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', true],
    ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00', false],
    ['cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more', true],
  ])('[HTTP16] reads the traceparent %s', (header, sampled) => {
    expect(parseTraceParent(header)).toEqual({ traceId: '4bf92f3577b34da6a3ce929d0e0e4736', parentId: '00f067aa0ba902b7', sampled });
  });

  it.each([
    '',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7',
    '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01',
    '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01',
    'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more',
    ' 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  ])('[HTTP16] does not read the traceparent %j', (header) => {
    expect(parseTraceParent(header)).toBeUndefined();
  });

  it('[HTTP9] takes request ids of the form only', () => {
    expect([givenRequestId('a'), givenRequestId('A.b-c_1'), givenRequestId('x'.repeat(64))]).toEqual(['a', 'A.b-c_1', 'x'.repeat(64)]);
    for (const bad of ['', 'x'.repeat(65), 'a b', 'a\n', 'ü', 'a/b']) expect(givenRequestId(bad)).toBeUndefined();
  });

  it('[HTTP5] takes device ids of 1 to 128 visible characters', () => {
    expect([deviceIdOf(''), deviceIdOf('a'.repeat(128)), deviceIdOf('a'.repeat(129)), deviceIdOf('a b')]).toEqual([
      undefined,
      'a'.repeat(128),
      null,
      null,
    ]);
  });

  it('[HTTP7] knows JSON', () => {
    for (const type of ['application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON ; Charset="UTF8"'])
      expect(isJson(type)).toBe(true);
    for (const type of ['', 'text/json', 'application/json-seq', 'application/json; charset=utf-16', 'application/jsonx'])
      expect(isJson(type)).toBe(false);
  });
});

describe('framing', () => {
  const request = (...headers: [string, string][]) => ({
    getHeader: (name: unknown) => headers.find(([given]) => given === name)?.[1] ?? '',
    forEach: (each: (name: string, value: string) => void) => {
      for (const [name, value] of headers) each(name, value);
    },
  });

  it('[HTTP23] is a single plain length or none', () => {
    expect(bodyLength(request())).toBe(0);
    expect(bodyLength(request(['content-length', '0']))).toBe(0);
    expect(bodyLength(request(['content-length', '12']))).toBe(12);
  });

  it.each([
    [[['transfer-encoding', 'chunked']]],
    [[['transfer-encoding', 'identity']]],
    [
      [
        ['content-length', '1'],
        ['content-length', '1'],
      ],
    ],
    [[['content-length', '-1']]],
    [[['content-length', '1,1']]],
    [[['content-length', '1 ']]],
    [[['content-length', '9'.repeat(13)]]],
  ] as [[string, string][]][])('[HTTP23] and refuses %j', (headers) => {
    expect(typeof bodyLength(request(...headers))).toBe('string');
  });
});

describe('addresses', () => {
  const res = (text: string) => ({ getRemoteAddressAsText: () => new TextEncoder().encode(text).buffer as ArrayBuffer });

  it("[LIVE45] are the socket's, IPv4 as IPv4", () => {
    expect(socketAddress(res('127.0.0.1'))).toBe('127.0.0.1');
    expect(socketAddress(res('0000:0000:0000:0000:0000:ffff:7f00:0001'))).toBe('127.0.0.1');
    expect(socketAddress(res('2001:0db8:0000:0000:0000:0000:0000:0001'))).toBe('2001:0db8:0000:0000:0000:0000:0000:0001');
    expect(clientAddress(res('10.0.0.1'), { getHeader: () => '6.6.6.6' }, 0)).toBe('10.0.0.1');
  });

  it('[LIVE45] or what the outermost trusted proxy wrote, never what the client wrote', () => {
    expect(forwardedAddress('6.6.6.6, 1.1.1.1', 1, 'd')).toBe('1.1.1.1');
    expect(forwardedAddress('6.6.6.6, 1.1.1.1, 2.2.2.2', 2, 'd')).toBe('1.1.1.1');
    expect(forwardedAddress('1.1.1.1', 2, 'd')).toBe('d');
    for (const bad of ['', 'unknown', '<script>', 'a'.repeat(80)]) expect(forwardedAddress(bad, 1, 'd')).toBe('d');
  });

  it('[HTTP22] of this machine are known', () => {
    for (const own of ['127.0.0.1', '127.9.9.9', '::1', '0000:0000:0000:0000:0000:0000:0000:0001']) expect(isLoopback(own)).toBe(true);
    for (const other of ['10.0.0.1', '1127.0.0.1', '', '::2']) expect(isLoopback(other)).toBe(false);
  });
});

describe('origins', () => {
  it('[HTTP17] are compared exactly, and the server is always its own', async () => {
    const listed = originCheck('https://own.example/', ['https://a.example'], () => true);
    expect(['https://own.example', 'https://a.example', 'https://b.example', 'https://a.example/', 'null'].map(listed)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    const registered = originCheck('https://own.example', [], async (origin) => origin === 'https://b.example');
    expect([await registered('https://own.example'), await registered('https://b.example'), await registered('https://c.example')]).toEqual(
      [true, true, false],
    );
    expect(originCheck('https://own.example', [])('https://b.example')).toBe(false);
  });
});

describe('the error envelope', () => {
  const at = '2026-01-01T00:00:00.000Z';

  it('[HTTP9] shows details and the wait, where there are some', () => {
    expect(errorBody(new TmcpError('KEY_NOT_FOUND'), 'r', at)).toEqual({
      error: { code: 'KEY_NOT_FOUND', message: 'No such key', timestamp: at, request_id: 'r' },
    });
    expect(errorBody(new TmcpError('SERVICE_UNAVAILABLE', 'm', { retryAfter: 2, details: { a: 1 } }), 'r', at)).toEqual({
      error: { code: 'SERVICE_UNAVAILABLE', message: 'm', details: { a: 1 }, timestamp: at, request_id: 'r', retry_after: 2 },
    });
  });

  it('[HTTP13] of a fault of ours shows nothing it was made with', () => {
    const error = new TmcpError('INTERNAL_ERROR', 'inner', { details: { inner: 1 }, cause: new Error('inner') });
    expect(JSON.stringify(errorBody(error, 'r', at))).not.toContain('inner');
  });

  it('[HTTP12] says whether another try is allowed when the last one was counted', () => {
    const of = (details: Record<string, unknown>) => errorBody(new TmcpError('INVALID_MFA_CREDENTIALS', undefined, { details }), 'r', at);
    expect(of({ attempts_remaining: 0 })).toMatchObject({ retry_allowed: false });
    expect(of({ attempts_remaining: 1 })).toMatchObject({ retry_allowed: true });
    expect(of({})).toMatchObject({ status: 'failed', retry_allowed: true });
  });
});
