import { describe, expect, it } from 'vitest';
import { asTmcpError, type ErrorCode, errorTable, invalidRequest, rpcCodeOf, TmcpError } from '../../../src/protocol/errors.ts';

const codes = Object.keys(errorTable) as ErrorCode[];

describe('the error table', () => {
  it.each(codes)('%s has an HTTP error status and a sentence', (code) => {
    const row = errorTable[code];
    expect(row.status).toBeGreaterThanOrEqual(400);
    expect(row.status).toBeLessThan(600);
    expect(row.message).toMatch(/^[A-Z].*[^.]$/);
  });

  it.each(codes)('%s has a JSON-RPC code that says its status', (code) => {
    const { status } = errorTable[code];
    const expected: Partial<Record<ErrorCode, number>> = { INVALID_REQUEST: -32602, INTERNAL_ERROR: -32603 };
    expect(rpcCodeOf(code)).toBe(expected[code] ?? -32000 - status);
  });

  it('an error carries what its row says', () => {
    const error = new TmcpError('MFA_LOCKED', undefined, { retryAfter: 900, details: { factor: 'pin' } });
    expect(error).toMatchObject({
      name: 'TmcpError',
      code: 'MFA_LOCKED',
      status: 429,
      retryable: false,
      retryAfter: 900,
      details: { factor: 'pin' },
    });
    expect(error.message).toBe(errorTable.MFA_LOCKED.message);
    expect(error).toBeInstanceOf(Error);
    expect('cause' in error).toBe(false);
  });

  it('its own sentence and cause replace the defaults', () => {
    const cause = new Error('why');
    const error = new TmcpError('NOT_FOUND', 'No such thing', { cause });
    expect(error.message).toBe('No such thing');
    expect(error.cause).toBe(cause);
  });
});

describe('invalidRequest', () => {
  it('names the first issue and lists all', () => {
    const issues = [
      { path: '/amount', message: 'must be a number' },
      { path: '', message: 'must be a map' },
    ];
    const error = invalidRequest(issues);
    expect(error).toMatchObject({ code: 'INVALID_REQUEST', message: '/amount: must be a number', details: { issues } });
    expect(invalidRequest(issues.slice(1)).message).toBe('params: must be a map');
    expect(invalidRequest([]).message).toBe(errorTable.INVALID_REQUEST.message);
  });
});

describe('asTmcpError', () => {
  it('leaves a refusal as it is', () => {
    const error = new TmcpError('FORBIDDEN');
    expect(asTmcpError(error)).toBe(error);
  });

  it.each([new Error('secret'), 'secret', undefined, null, { code: 'FORBIDDEN' }])(
    'takes anything else for a fault of ours: %j',
    (thrown) => {
      const error = asTmcpError(thrown);
      expect(error.code).toBe('INTERNAL_ERROR');
      expect(error.message).toBe(errorTable.INTERNAL_ERROR.message);
      if (thrown !== undefined) expect(error.cause).toBe(thrown);
    },
  );
});
