import { describe, expect, it } from 'vitest';
import { classify, isBreakerFailure, type Call, type Exchange } from '../../../src/transport/tweenpay/classify.ts';
import { walletErrors, type WalletErrorCode } from '../../../src/transport/tweenpay/contract.ts';

interface Answer {
  readonly ref: string;
}

const fits = (value: unknown): value is Answer => typeof (value as Answer | null)?.ref === 'string';
const base = {
  success: [200, 201],
  fits,
  accept: (answer: Answer) => (answer.ref === 'mine' ? ({ kind: 'done', value: answer.ref } as const) : undefined),
};
const mutation: Call<Answer, string> = { ...base, mutation: true, refusable: true };
const read: Call<Answer, string> = { ...base, mutation: false, refusable: true };
const lookup: Call<Answer, string> = { ...base, mutation: false, refusable: false };

function response(status: number, body: unknown, more: { contentType?: string; retryAfter?: string } = {}): Exchange {
  const bytes = body instanceof Uint8Array ? body : new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));
  return { kind: 'response', status, contentType: more.contentType ?? 'application/json', retryAfter: more.retryAfter ?? '', body: bytes };
}

const failure = (cause: 'timeout' | 'connection' | 'oversize', sent: boolean): Exchange => ({ kind: 'failure', cause, sent, detail: 'x' });
const error = (status: number, code: string) => response(status, { error: { code, message: 'no' } });

describe('classify', () => {
  const table: [string, Exchange, { mutation: string; read: string; lookup: string }][] = [
    ['an answer of this request', response(200, { ref: 'mine' }), { mutation: 'done', read: 'done', lookup: 'done' }],
    ['another success status', response(201, { ref: 'mine' }), { mutation: 'done', read: 'done', lookup: 'done' }],
    [
      'JSON with a charset',
      response(200, { ref: 'mine' }, { contentType: 'Application/JSON; charset=utf-8' }),
      { mutation: 'done', read: 'done', lookup: 'done' },
    ],
    ['an answer of another request', response(200, { ref: 'other' }), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['an answer that misses a member', response(200, {}), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['a null', response(200, 'null'), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    [
      'a success status outside the contract',
      response(202, { ref: 'mine' }),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    ['no content', response(204, ''), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['a redirect', response(302, { ref: 'mine' }), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    [
      'HTML with status 200',
      response(200, '<html>', { contentType: 'text/html' }),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    [
      'JSON that is called HTML',
      response(200, { ref: 'mine' }, { contentType: 'text/html' }),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    ['broken JSON', response(200, '{"ref":"mine"'), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    [
      'bytes that are not UTF-8',
      response(200, new Uint8Array(Buffer.from('{"ref":"mine","note":"\u00ff"}', 'latin1'))),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    ['a known refusal', error(402, 'insufficient_funds'), { mutation: 'refused', read: 'refused', lookup: 'unavailable' }],
    [
      'a refusal under another 4xx status',
      error(400, 'insufficient_funds'),
      { mutation: 'refused', read: 'refused', lookup: 'unavailable' },
    ],
    ['a refusal under a 5xx status', error(500, 'insufficient_funds'), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    [
      'a refusal under a success status',
      error(200, 'insufficient_funds'),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    ['a 4xx with an unknown code', error(418, 'teapot'), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    [
      'a 4xx named like a member of every object',
      error(400, 'constructor'),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    ['a 4xx without our envelope', response(404, { message: 'nope' }), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    [
      'a 4xx in HTML',
      response(404, '<html>', { contentType: 'text/html' }),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    [
      'a conflict of idempotency keys',
      error(409, 'idempotency_conflict'),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    [
      'a reference that is booked already',
      error(409, 'duplicate_reference'),
      { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' },
    ],
    ['a wrong service token', error(401, 'unauthorized'), { mutation: 'unavailable', read: 'unavailable', lookup: 'unavailable' }],
    ['a rate limit', error(429, 'rate_limited'), { mutation: 'unavailable', read: 'unavailable', lookup: 'unavailable' }],
    ['a 500', error(500, 'internal_error'), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['a 503', error(503, 'unavailable'), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['a timeout after sending', failure('timeout', true), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['a timeout before sending', failure('timeout', false), { mutation: 'unavailable', read: 'unavailable', lookup: 'unavailable' }],
    ['a connection broken after sending', failure('connection', true), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
    ['a connection refused', failure('connection', false), { mutation: 'unavailable', read: 'unavailable', lookup: 'unavailable' }],
    ['an answer past the size limit', failure('oversize', true), { mutation: 'unknown', read: 'unavailable', lookup: 'unavailable' }],
  ];

  it.each(table)('%s', (_title, exchange, expected) => {
    expect({
      mutation: classify(mutation, exchange).kind,
      read: classify(read, exchange).kind,
      lookup: classify(lookup, exchange).kind,
    }).toEqual(expected);
  });

  it('is total: every status with every body has an outcome, and a mutation is done only by a fitting answer with a success status', () => {
    const bodies = ['', 'null', '[]', '{"ref":"mine"}', '{"ref":"other"}', '{"error":{"code":"payment_refused","message":"no"}}', '<html>'];
    for (let status = 100; status < 600; status += 1) {
      for (const body of bodies) {
        const { kind } = classify(mutation, response(status, body));
        expect(['done', 'refused', 'unavailable', 'unknown']).toContain(kind);
        expect(kind === 'done').toBe(body === '{"ref":"mine"}' && (status === 200 || status === 201));
        expect(kind === 'refused').toBe(body.includes('payment_refused') && status >= 400 && status < 500);
      }
    }
  });

  it('gives every code of the contract its meaning', () => {
    for (const code of Object.keys(walletErrors) as WalletErrorCode[]) {
      const { status, refusal } = walletErrors[code];
      const outcome = classify(mutation, error(status, code));
      if (refusal === null) expect(outcome.kind, code).not.toBe('refused');
      else expect(outcome, code).toEqual({ kind: 'refused', code: refusal, message: 'no', details: { wallet_code: code } });
    }
  });

  it.each([
    ['7', 7_000],
    ['60', 60_000],
    ['61', 60_000],
    ['', 1_000],
    ['Wed, 21 Oct 2015 07:28:00 GMT', 1_000],
    ['-1', 1_000],
  ])('takes Retry-After %j as %d ms', (retryAfter, retryAfterMs) => {
    expect(classify(read, response(503, {}, { retryAfter }))).toMatchObject({ kind: 'unavailable', retryAfterMs });
  });

  it('counts timeouts, connections and 5xx against the breaker, never 4xx', () => {
    const failures = [
      failure('timeout', true),
      failure('timeout', false),
      failure('connection', true),
      failure('connection', false),
      response(500, ''),
      response(599, ''),
    ];
    expect(failures.map(isBreakerFailure)).toEqual(failures.map(() => true));
    const others = [
      response(200, ''),
      response(302, ''),
      response(400, ''),
      response(429, ''),
      response(499, ''),
      failure('oversize', true),
    ];
    expect(others.map(isBreakerFailure)).toEqual(others.map(() => false));
  });
});
