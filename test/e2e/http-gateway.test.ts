/** The HTTP binding over real requests: routes, inputs, errors, headers, CORS, health, documents, the OAuth hand-over. */
import { afterEach, describe, expect, it } from 'vitest';
import { operations } from '../../src/protocol/catalogue.ts';
import { limits } from '../../src/protocol/limits.ts';
import { alice, type LiveServer, shop, startLiveServer } from '../support/live-server.ts';
import { samples } from '../support/samples.ts';

let live: LiveServer;

afterEach(async () => {
  await live[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: looked at by assertions
  readonly body: any;
}

async function ask(
  method: string,
  path: string,
  options: { body?: unknown; raw?: string; headers?: Record<string, string>; token?: string | null } = {},
): Promise<Answer> {
  const { body, raw, headers = {}, token = live.token() } = options;
  const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(live.origin + path, {
    method,
    redirect: 'manual',
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(sent === undefined ? {} : { body: sent }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
}

describe('operations', () => {
  it('[HTTP1] every operation with a twin is reached on its path with its method', async () => {
    live = await startLiveServer();
    for (const operation of operations) {
      if (operation.http === undefined) continue;
      const { method, path } = operation.http;
      const input: Record<string, unknown> = { ...samples[operation.name as keyof typeof samples] };
      const url = path.replace(/\{(\w+)\}/g, (_all, name: string) => {
        const value = input[name];
        delete input[name];
        return encodeURIComponent(String(value));
      });
      const query =
        method === 'GET'
          ? `?${new URLSearchParams(Object.fromEntries(Object.entries(input).map(([name, value]) => [name, String(value)])))}`
          : '';
      const answer = await ask(method, url + query, method === 'GET' ? {} : { body: input });
      // The small actors of this server know some operations; the others are told that there is no such actor kind.
      expect(`${operation.name} ${[operation.http.status ?? 200, 404, 500].includes(answer.status)}`).toBe(`${operation.name} true`);
    }
  });

  it('[HTTP1] puts path, query and body together, numbers as numbers', async () => {
    live = await startLiveServer();
    expect((await ask('GET', '/api/v1/storage?limit=20&offset=5&prefix=a%20b+c')).body.input).toEqual({
      limit: 20,
      offset: 5,
      prefix: 'a b c',
    });
    expect((await ask('PUT', '/api/v1/storage/k', { body: { value: 'v' } })).body).toEqual({ key: 'k', success: true, version: 1 });
    expect((await ask('GET', '/api/v1/storage/k')).body).toEqual({ key: 'k', value: 'v', version: 1 });
  });

  it('[HTTP2] decodes a path parameter once and only once', async () => {
    live = await startLiveServer();
    for (const key of ['a/b', 'a%2Fb', '100%', 'ключ 1', 'a?b#c', '..', 'a b+c']) {
      const path = `/api/v1/storage/${key === '..' ? '%2e%2e' : encodeURIComponent(key)}`;
      if (key === '..') continue; // fetch takes dots away before it sends; the raw corpus covers them
      expect((await ask('PUT', path, { body: { value: key } })).body.key).toBe(key);
      expect((await ask('GET', path)).body.value).toBe(key);
    }
    expect((await ask('GET', '/api/v1/storage/%ff')).body.error).toMatchObject({
      code: 'INVALID_REQUEST',
      details: { issues: [{ path: '/key' }] },
    });
  });

  it('[HTTP3] refuses a member that is told twice and differs, and takes one that is the same', async () => {
    live = await startLiveServer();
    expect((await ask('PUT', '/api/v1/storage/a', { body: { key: 'b', value: 'v' } })).body.error).toMatchObject({
      code: 'INVALID_REQUEST',
      details: { issues: [{ path: '/key' }] },
    });
    expect((await ask('PUT', '/api/v1/storage/a', { body: { key: 'a', value: 'v' } })).status).toBe(200);
    expect(
      (await ask('PUT', '/api/v1/storage/a', { body: { value: 'v', idempotency_key: 'x' }, headers: { 'idempotency-key': 'y' } })).status,
    ).toBe(400);
    expect(
      (await ask('PUT', '/api/v1/storage/a', { body: { value: 'v', idempotency_key: 'x' }, headers: { 'idempotency-key': 'x' } })).status,
    ).toBe(200);
    expect((await ask('GET', '/api/v1/storage?limit=1&limit=2')).status).toBe(400);
  });

  it.each([
    'limit=abc',
    'limit=1.5',
    'limit=-1',
    'limit=0',
    'limit=1001',
    'limit=1e2',
    'limit=',
    'limit=%31%30x',
    'surprise=1',
    '__proto__=1',
    'limit=0x10',
    'limit=%zz',
  ])('[HTTP3] refuses the query %s', async (query) => {
    live = await startLiveServer();
    const answer = await ask('GET', `/api/v1/storage?${query}`);
    expect([answer.status, answer.body.error.code]).toEqual([400, 'INVALID_REQUEST']);
  });

  it('[HTTP4] the header Idempotency-Key is the member idempotency_key', async () => {
    live = await startLiveServer();
    const write = () => ask('PUT', '/api/v1/storage/once', { body: { value: 'v' }, headers: { 'idempotency-key': 'k1' } });
    expect([(await write()).body.version, (await write()).body.version]).toEqual([1, 1]);
    expect(
      (await ask('PUT', '/api/v1/storage/once', { body: { value: 'other' }, headers: { 'idempotency-key': 'k1' } })).body.error.code,
    ).toBe('DUPLICATE_TRANSACTION');
    expect((await ask('GET', '/api/v1/storage/once', { headers: { 'idempotency-key': 'ignored' } })).status).toBe(200);
  });

  it('[HTTP5] knows the caller by the token, and the device by X-Device-Id', async () => {
    live = await startLiveServer();
    const { who } = (await ask('GET', '/api/v1/user', { headers: { 'x-device-id': 'phone' } })).body;
    expect(who).toMatchObject({ userId: alice, appId: shop, deviceId: 'phone' });
    expect(who.sessionId).toBeUndefined();
    expect((await ask('GET', '/api/v1/user')).body.who.deviceId).toBeUndefined();
    expect((await ask('GET', '/api/v1/user', { headers: { 'x-device-id': 'a'.repeat(129) } })).status).toBe(400);
  });
});

describe('bodies', () => {
  it('[HTTP6] are taken up to the bound of their operation and refused past it with 413', async () => {
    live = await startLiveServer();
    const body = (bytes: number) => `{"value":"${'x'.repeat(bytes - 12)}"}`;
    expect((await ask('PUT', '/api/v1/storage/k', { raw: body(limits.httpStorageBodyBytes) })).status).not.toBe(413);
    const over = await ask('PUT', '/api/v1/storage/k', { raw: body(limits.httpStorageBodyBytes + 1) });
    expect([over.status, over.body.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
    const revoke = (bytes: number) => ask('POST', '/api/v1/auth/revoke', { raw: `{"reason":"${'x'.repeat(bytes - 13)}"}` });
    expect((await revoke(limits.httpBodyBytes)).status).toBe(400);
    expect((await revoke(limits.httpBodyBytes + 1)).status).toBe(413);
    expect((await ask('GET', '/healthz')).status).toBe(200);
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'application/json; charset=latin1', ''])(
    '[HTTP7] of type %j are refused with 415',
    async (type) => {
      live = await startLiveServer();
      const answer = await ask('PUT', '/api/v1/storage/k', { raw: '{"value":"v"}', headers: { 'content-type': type } });
      expect([answer.status, answer.body.error.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
    },
  );

  it.each(['application/json', 'Application/JSON; charset=UTF-8', 'application/json;charset="utf-8"; x=y'])(
    '[HTTP7] of type %j are read',
    async (type) => {
      live = await startLiveServer();
      expect((await ask('PUT', '/api/v1/storage/k', { raw: '{"value":"v"}', headers: { 'content-type': type } })).status).toBe(200);
    },
  );

  it.each([
    '{',
    '[]',
    '"a"',
    'null',
    '{"value":"a","value":"b"}',
    '{"__proto__":{"admin":true},"value":"v"}',
    `${'['.repeat(17)}${']'.repeat(17)}`,
    '{"value":"\\ud800"',
  ])('[HTTP8] %s is refused as not acceptable', async (raw) => {
    live = await startLiveServer();
    const answer = await ask('PUT', '/api/v1/storage/k', { raw });
    expect([answer.status, answer.body.error.code]).toEqual([400, 'INVALID_REQUEST']);
    expect(live.journal.committed).toEqual([]);
  });
});

describe('errors', () => {
  it('[HTTP9] have the envelope, with the time and the id of the request', async () => {
    live = await startLiveServer();
    const answer = await ask('GET', '/api/v1/storage/none', { headers: { 'x-request-id': 'my-id.1_A' } });
    expect(answer.body).toEqual({
      error: { code: 'KEY_NOT_FOUND', message: 'No such key', timestamp: '2026-01-01T00:00:00.000Z', request_id: 'my-id.1_A' },
    });
    expect(answer.headers.get('x-request-id')).toBe('my-id.1_A');
    for (const bad of ['a'.repeat(65), 'a b', '<x>'])
      expect((await ask('GET', '/api/v1/user', { headers: { 'x-request-id': bad } })).headers.get('x-request-id')).toMatch(/^req_/);
    expect((await ask('GET', '/api/v1/user', { headers: { 'x-request-id': 'a'.repeat(64) } })).headers.get('x-request-id')).toBe(
      'a'.repeat(64),
    );
  });

  it('[HTTP10] 401 for a missing, foreign or expired token, before anything else is looked at', async () => {
    live = await startLiveServer();
    const expired = live.token({ livesMs: 1_000 });
    live.clock.advance(1_000);
    for (const token of [null, 'tep.nobody', expired]) {
      const answer = await ask('PUT', '/api/v1/storage/k', { token, raw: 'not json' });
      expect([answer.status, answer.body.error.code, answer.headers.get('www-authenticate')]).toEqual([401, 'INVALID_TOKEN', 'Bearer']);
    }
    expect((await ask('GET', '/api/v1/user', { token: null, headers: { authorization: 'Basic YTpi' } })).status).toBe(401);
  });

  it('[HTTP11] 403 without the scope, 404 for no path, 405 with Allow for no method', async () => {
    live = await startLiveServer();
    expect((await ask('GET', '/api/v1/storage/k', { token: live.token({ scopes: [] }) })).body.error).toMatchObject({
      code: 'INSUFFICIENT_PERMISSIONS',
      details: { required_scope: 'storage:read' },
    });
    for (const path of [
      '/',
      '/api/v1',
      '/api/v1/storage/',
      '/api/v1/storage/a/b',
      '/api/v2/user',
      '/API/V1/USER',
      '/api/v1/user/',
      '//api/v1/user',
    ]) {
      const answer = await ask('GET', path);
      expect([path, answer.status, answer.body.error.code]).toEqual([path, 404, 'NOT_FOUND']);
    }
    const wrong = await ask('PATCH', '/api/v1/storage/k');
    expect([wrong.status, wrong.body.error.code, wrong.headers.get('allow')?.split(', ').sort()]).toEqual([
      405,
      'METHOD_NOT_ALLOWED',
      ['DELETE', 'GET', 'OPTIONS', 'PUT'],
    ]);
  });

  it('[HTTP12] show the members of MFA answers where the protocol has them', async () => {
    live = await startLiveServer();
    const refuse = (code: string) => ask('POST', '/api/v1/auth/revoke', { body: { reason: `refuse:${code}` } });
    const required = await refuse('MFA_REQUIRED');
    expect([required.status, required.body]).toMatchObject([
      402,
      { payment_id: 'pay_a', status: 'mfa_required', mfa_challenge: { challenge_id: 'mfa_ch_a' }, error: { code: 'MFA_REQUIRED' } },
    ]);
    const wrong = await refuse('INVALID_MFA_CREDENTIALS');
    expect([wrong.status, wrong.body]).toMatchObject([
      401,
      { status: 'failed', retry_allowed: true, error: { code: 'INVALID_MFA_CREDENTIALS', attempts_remaining: 2 } },
    ]);
    expect(wrong.headers.get('www-authenticate')).toBeNull();
    const locked = await refuse('MFA_LOCKED');
    expect([locked.status, locked.headers.get('retry-after'), locked.body.error.locked_until]).toEqual([
      429,
      '900',
      '2026-01-01T00:15:00.000Z',
    ]);
  });

  it('[HTTP13] a fault of ours says its request id and nothing else', async () => {
    live = await startLiveServer();
    for (const answer of [
      await ask('DELETE', '/api/v1/storage/k'),
      await ask('POST', '/api/v1/auth/revoke', { body: { reason: 'refuse:INTERNAL_ERROR' } }),
    ]) {
      expect(answer.status).toBe(500);
      expect(Object.keys(answer.body.error)).toEqual(['code', 'message', 'timestamp', 'request_id']);
      expect(JSON.stringify(answer.body)).not.toContain('secret');
      expect(live.lines.some(({ event, requestId }) => event === 'http.fault' && requestId === answer.body.error.request_id)).toBe(true);
    }
  });
});

describe('headers', () => {
  it('[HTTP14] tell the bucket on every answer of an operation, and Retry-After past it', async () => {
    live = await startLiveServer({ limitsFactor: 1 });
    const token = live.token();
    const first = await ask('GET', '/api/v1/storage/k', { token });
    const shown = (answer: Answer) =>
      ['limit', 'remaining', 'reset', 'reset-after', 'burst', 'burst-remaining'].map((name) =>
        Number(answer.headers.get(`x-ratelimit-${name}`)),
      );
    expect(shown(first)).toEqual([100, 100, 1_767_225_601, 1, 20, 19]);
    for (let i = 0; i < 119; i++) await ask('GET', '/api/v1/storage/k', { token });
    const over = await ask('GET', '/api/v1/storage/k', { token });
    expect([over.status, over.headers.get('retry-after')]).toEqual([429, '1']);
    expect(over.body.error).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', retry_after: 1, limit: 100, window: 60 });
    expect(shown(over).slice(0, 2)).toEqual([100, 0]);
  });

  it('[HTTP15] protect browsers on every answer', async () => {
    live = await startLiveServer({ publicUrl: 'https://tmcp.example' });
    for (const path of ['/api/v1/user', '/nothing', '/healthz', '/openapi.json']) {
      const { headers } = await ask('GET', path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('strict-transport-security')).toBe('max-age=31536000; includeSubDomains');
      if (path !== '/openapi.json') expect(headers.get('cache-control')).toBe('no-store');
    }
    await live[Symbol.asyncDispose]();
    live = await startLiveServer();
    expect((await ask('GET', '/healthz')).headers.get('strict-transport-security')).toBeNull();
  });

  it('[HTTP16] writes one log line a request with the trace, the pattern of the route and no person', async () => {
    live = await startLiveServer();
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await ask('GET', '/api/v1/storage/very-private-key', { headers: { traceparent, 'x-request-id': 'r1' } });
    await ask('GET', '/api/v1/user', {
      headers: { traceparent: '00-00000000000000000000000000000000-00f067aa0ba902b7-01', 'x-request-id': 'r2' },
    });
    const line = live.lines.find(({ requestId }) => requestId === 'r1');
    expect(line).toMatchObject({
      event: 'http.request',
      method: 'GET',
      route: '/api/v1/storage/{key}',
      status: 404,
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      spanId: '00f067aa0ba902b7',
    });
    expect(JSON.stringify(live.lines)).not.toContain('very-private-key');
    expect(JSON.stringify(live.lines)).not.toContain('alice');
    expect(live.lines.find(({ requestId }) => requestId === 'r2')).not.toHaveProperty('traceId');
    expect(await live.metrics.text()).toContain('http_requests_total{method="GET",route="/api/v1/storage/{key}",status="404"} 1');
  });
});

describe('CORS', () => {
  const preflight = (origin: string, path = '/api/v1/storage/k') =>
    ask('OPTIONS', path, { token: null, headers: { origin, 'access-control-request-method': 'PUT' } });

  it('[HTTP17] lets allowed origins in, by name and without credentials', async () => {
    live = await startLiveServer();
    const { status, headers } = await preflight('https://shop.example');
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe('https://shop.example');
    expect(headers.get('access-control-allow-methods')).toContain('PUT');
    expect(headers.get('access-control-allow-headers')).toContain('Authorization');
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    const read = await ask('GET', '/api/v1/storage/k', { headers: { origin: 'https://shop.example' } });
    expect([read.headers.get('access-control-allow-origin'), read.headers.get('vary')]).toEqual(['https://shop.example', 'Origin']);
    expect(read.headers.get('access-control-expose-headers')).toContain('X-RateLimit-Remaining');
    expect(
      (await ask('GET', '/api/v1/user', { token: null, headers: { origin: 'https://shop.example' } })).headers.get(
        'access-control-allow-origin',
      ),
    ).toBe('https://shop.example');
  });

  it.each(['https://evil.example', 'https://shop.example.evil', 'http://shop.example', 'null', 'https://SHOP.example'])(
    '[HTTP17] keeps %s out',
    async (origin) => {
      live = await startLiveServer();
      const { status, headers } = await preflight(origin);
      expect([status, headers.get('access-control-allow-origin')]).toEqual([403, null]);
      expect((await ask('GET', '/api/v1/user', { headers: { origin } })).headers.get('access-control-allow-origin')).toBeNull();
    },
  );

  it('[HTTP17] asks the registered apps when the operator named no origins, later as well', async () => {
    live = await startLiveServer({ allowedOrigins: [], registeredOrigin: async (origin) => origin === 'https://app.example' });
    expect((await preflight('https://app.example')).status).toBe(204);
    expect((await preflight('http://127.0.0.1:8080')).status).toBe(204);
    expect((await preflight('https://shop.example')).status).toBe(403);
    await live.connect({ headers: { Origin: 'https://app.example' } });
  });

  it('[HTTP17] OPTIONS without an origin tells the methods; of nothing it is 404', async () => {
    live = await startLiveServer();
    const answer = await ask('OPTIONS', '/api/v1/user', { token: null });
    expect([answer.status, answer.headers.get('allow')]).toEqual([204, 'GET, OPTIONS']);
    expect((await preflight('https://shop.example', '/nothing')).status).toBe(404);
  });
});

describe('health and documents', () => {
  it('[HTTP18] alive always, ready when the node can commit, asked at most once a second', async () => {
    let asked = 0;
    let works = true;
    live = await startLiveServer({
      ready: async () => {
        asked++;
        if (!works) throw new Error('the database is away');
      },
    });
    for (const path of ['/healthz', '/health']) expect((await ask('GET', path, { token: null })).body).toEqual({ status: 'ok' });
    for (let i = 0; i < 5; i++)
      expect((await ask('GET', '/readyz', { token: null })).body).toEqual({ status: 'ready', checks: { database: 'ok', draining: false } });
    expect(asked).toBe(1);
    works = false;
    live.clock.advance(1_000);
    const down = await ask('GET', '/ready', { token: null });
    expect([down.status, down.body]).toEqual([503, { status: 'unavailable', checks: { database: 'failed', draining: false } }]);
    expect((await ask('GET', '/healthz')).status).toBe(200);
    const head = await fetch(`${live.origin}/healthz`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '15']);
  });

  it('[HTTP18] not ready when the commit takes longer than 0.9 s, and told so, for a balancer takes silence for death', async () => {
    let asked = 0;
    live = await startLiveServer({ ready: () => new Promise(() => asked++) });
    let answered = false;
    const answer = ask('GET', '/readyz', { token: null }).finally(() => {
      answered = true;
    });
    await expect.poll(() => asked).toBe(1);
    live.clock.advance(899);
    expect((await ask('GET', '/healthz', { token: null })).status).toBe(200);
    expect(answered).toBe(false);
    live.clock.advance(1);
    expect((await answer).status).toBe(503);
  });

  it('[HTTP19] serves both documents with a validator', async () => {
    live = await startLiveServer();
    const open = await ask('GET', '/openapi.json', { token: null });
    expect(open.body.openapi).toBe('3.1.0');
    expect((await ask('GET', '/asyncapi.json', { token: null })).body.asyncapi).toBe('3.0.0');
    const etag = open.headers.get('etag') ?? '';
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    expect((await ask('GET', '/openapi.json', { headers: { 'if-none-match': `"other", W/${etag}` } })).status).toBe(304);
    expect((await ask('GET', '/openapi.json', { headers: { 'if-none-match': '"other"' } })).status).toBe(200);
  });

  it('[HTTP20] serves metrics on a listener of its own, and nowhere else', async () => {
    const { freePort } = await import('../support/ports.ts');
    const port = await freePort();
    live = await startLiveServer({ metricsPort: port });
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(text).toContain('live_sessions 0');
    expect((await fetch(`http://127.0.0.1:${port}/other`)).status).toBe(404);
    expect((await ask('GET', '/metrics')).status).toBe(404);
  });
});

describe('hand-overs', () => {
  it('[HTTP21] gives identity the whole request and sends back what it says, cookies one by one', async () => {
    const seen: unknown[] = [];
    live = await startLiveServer({
      identity: {
        async handle(request) {
          seen.push({ ...request, body: request.body.toString() });
          return {
            status: 303,
            headers: [
              ['set-cookie', 'a=1; HttpOnly'],
              ['set-cookie', 'b=2'],
              ['location', '/interaction/x'],
              ['content-length', '999'],
              ['cache-control', 'no-cache, no-store'],
            ],
            body: Buffer.from('moved'),
          };
        },
      },
    });
    const response = await fetch(`${live.origin}/oauth2/token?x=%20y`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'content-type': 'application/x-www-form-urlencoded', cookie: 'c=3', 'x-forwarded-for': '6.6.6.6' },
      body: 'grant_type=x&code=%2B',
    });
    expect(response.status).toBe(303);
    expect(response.headers.getSetCookie()).toEqual(['a=1; HttpOnly', 'b=2']);
    expect(response.headers.get('location')).toBe('/interaction/x');
    expect(response.headers.get('cache-control')).toBe('no-cache, no-store');
    expect(await response.text()).toBe('moved');
    expect(seen).toMatchObject([
      {
        method: 'POST',
        url: '/oauth2/token?x=%20y',
        headers: { cookie: 'c=3', 'content-type': 'application/x-www-form-urlencoded' },
        body: 'grant_type=x&code=%2B',
        remoteAddress: '127.0.0.1',
      },
    ]);
    const post = (bytes: number) => fetch(`${live.origin}/oauth2/token`, { method: 'POST', redirect: 'manual', body: 'x'.repeat(bytes) });
    expect((await post(65_536)).status).toBe(303);
    expect((await post(65_537)).status).toBe(413);
    for (const path of ['/.well-known/openid-configuration', '/interaction/abc', '/assets/style.css'])
      expect((await fetch(live.origin + path, { redirect: 'manual' })).status).toBe(303);
  });

  it('[HTTP21] a fault of identity is a fault of ours', async () => {
    live = await startLiveServer({ identity: { handle: () => Promise.reject(new Error('broken')) } });
    const answer = await ask('GET', '/oauth2/authorize');
    expect([answer.status, answer.body.error.code]).toEqual([500, 'INTERNAL_ERROR']);
  });

  it('[HTTP22] has the doors of dev only when it is given some, and only from this machine', async () => {
    live = await startLiveServer();
    expect((await ask('GET', '/dev/fixtures')).status).toBe(404);
    await live[Symbol.asyncDispose]();
    const doors = new Map<string, (body: unknown) => Promise<unknown>>([
      ['GET fixtures', async () => ({ users: [] })],
      ['POST echo', async (body) => body],
    ]);
    live = await startLiveServer({ devDoors: doors, trustProxyHops: 1 });
    expect((await ask('GET', '/dev/fixtures', { token: null, headers: { 'x-forwarded-for': '127.0.0.1' } })).body).toEqual({ users: [] });
    expect((await ask('GET', '/dev/fixtures', { headers: { 'x-forwarded-for': '6.6.6.6' } })).status).toBe(404);
    expect((await ask('POST', '/dev/echo', { body: { a: [1] } })).body).toEqual({ a: [1] });
    expect((await ask('POST', '/dev/echo', { raw: '{' })).status).toBe(400);
    expect((await ask('POST', '/dev/fixtures')).status).toBe(405);
  });
});
