/** What log lines hold: the allow-list, the scrubbing, one line a call. Canary secrets must never come through. */
import { describe, expect, it } from 'vitest';
import { createLogger, type Level, type Logger } from '../../../src/log.ts';

function capture(logLevel: Level = 'trace'): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  return { log: createLogger({ logLevel }, { write: (line) => lines.push(line) }), lines };
}

function only(lines: readonly string[]): Record<string, unknown> {
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>;
}

const canary = 'CANARY7Q2X';

describe('createLogger', () => {
  it('writes a JSON line with level, time, fields and message', () => {
    const { log, lines } = capture();
    log.info({ requestId: 'req_1', durationMs: 3 }, 'answered');
    expect(only(lines)).toMatchObject({
      level: 'info',
      requestId: 'req_1',
      durationMs: 3,
      msg: 'answered',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it('leaves out what is below its level', () => {
    const { log, lines } = capture('warn');
    log.info('quiet');
    log.warn('loud');
    expect(only(lines)).toMatchObject({ msg: 'loud' });
    expect([log.enabled('info'), log.enabled('warn')]).toEqual([false, true]);
  });

  it('gives a child its fields, trace and request ids among them', () => {
    const { log, lines } = capture();
    log.child({ traceId: 't1' }).child({ requestId: 'r1' }).error('x');
    expect(only(lines)).toMatchObject({ traceId: 't1', requestId: 'r1' });
  });

  it('keeps a line on one line', () => {
    const { log, lines } = capture();
    log.info({ reason: 'a\nb\r\n{"level":"fatal"}' }, 'first\nsecond');
    expect(lines[0]?.trimEnd()).not.toMatch(/[\r\n]/);
  });
});

describe('the allow-list', () => {
  it.each([
    'token',
    'authorization',
    'pin',
    'code',
    'password',
    'secret',
    'credentials',
    'signature',
    'cookie',
    'attestation',
    'params',
    'body',
    'headers',
    'anything',
  ])('does not write a field %s, only that it was there', (name) => {
    const { log, lines } = capture();
    log.info({ [name]: canary } as object, 'x');
    log.child({ [name]: canary } as object).info('y');
    expect(lines.join()).not.toContain(canary);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ dropped: [name] });
  });

  it('does not follow allowed fields into nested objects', () => {
    const { log, lines } = capture();
    log.info({ config: { port: 1, deep: { pin: canary } } as never }, 'x');
    expect(only(lines)).toMatchObject({ config: { port: 1, deep: '[not logged]' } });
  });

  it('writes of an error its name, message, code, stack and causes, and none of its own members', () => {
    const { log, lines } = capture();
    const error = Object.assign(new Error('outer', { cause: new TypeError('inner') }), { code: '23505', request: { pin: canary } });
    log.error({ err: error }, 'failed');
    expect(only(lines)).toMatchObject({
      err: { name: 'Error', message: 'outer', code: '23505', cause: { name: 'TypeError', message: 'inner' } },
    });
    expect(lines.join()).not.toContain(canary);
  });
});

describe('scrubbing', () => {
  it.each([
    ['a bearer token', `authorization failed for Bearer ${canary}`],
    ['an access token', `got tep.${canary}abcdef.x.y`],
    ['a JWT', `got eyJ${canary}abcdef.x.y`],
    ['a password in a URL', `cannot reach postgres://tmcp:${canary}@db/tmcp`],
    ['a query parameter', `GET /callback?code=${canary}&state=1`],
    ['a JSON member', `{"password":"${canary}","code":"${canary}"}`],
    ['a form field', `client_secret=${canary}`],
    ['a private key', `-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----`],
    ['a cut private key', `-----BEGIN RSA PRIVATE KEY-----\n${canary}`],
  ])('takes %s out of fields, messages and errors', (_what, text) => {
    const { log, lines } = capture();
    log.warn({ reason: text, err: new Error(text, { cause: new Error(text) }) }, text);
    expect(lines.join()).not.toContain(canary);
  });

  it.each(['4111111111111111', '4111 1111 1111 1111', '5500-0000-0000-0004', '340000000000009'])(
    'takes the card number %s out',
    (number) => {
      const { log, lines } = capture();
      log.info({ reason: `paid with ${number} today` }, 'x');
      expect(only(lines)).toMatchObject({ reason: 'paid with [card] today' });
    },
  );

  it('leaves numbers alone that are no card numbers', () => {
    const { log, lines } = capture();
    log.info({ reason: '4111111111111112', expiresAt: 1_700_000_000_000 }, 'x');
    expect(only(lines)).toMatchObject({ reason: '4111111111111112', expiresAt: 1_700_000_000_000 });
  });

  it('cuts long text', () => {
    const { log, lines } = capture();
    log.info({ reason: 'x'.repeat(100_000) }, 'x');
    expect(lines[0]?.length).toBeLessThan(3_000);
  });

  it('leaves the error codes of drivers readable', () => {
    const { log, lines } = capture();
    log.info({ reason: 'failed, code: ECONNREFUSED' }, 'x');
    expect(only(lines)).toMatchObject({ reason: 'failed, code: ECONNREFUSED' });
  });
});
