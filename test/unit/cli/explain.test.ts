/** The text an operator gets when a command cannot start. */
import { describe, expect, it } from 'vitest';
import { explainFailure, reasonOf, StartError } from '../../../src/cli/explain.ts';
import { ConfigError } from '../../../src/config.ts';
import { NodeRefusedError } from '../../../src/persistence/stores/cluster-store.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';

const withCode = (message: string, code: string): Error => Object.assign(new Error(message), { code });

describe('explainFailure', () => {
  it('tells what an operator can mend without a stack', () => {
    const failures = [
      new Error('The database is not fit to keep promises'),
      new StartError('No server answers'),
      new ConfigError(['TMCP_PORT is wrong']),
      new NodeRefusedError('name', 'n1', 1_000),
      withCode('database "x" does not exist', '3D000'),
    ];
    for (const failure of failures) {
      expect(explainFailure(failure)).toMatch(failure.message);
      expect(explainFailure(failure)).not.toMatch(/\n\s+at /);
    }
  });

  it('keeps the stack of a fault of ours, and of anything when asked for more', () => {
    expect(explainFailure(new TypeError('x is not a function'))).toMatch(/\n\s+at /);
    expect(explainFailure(new Error('The database is not fit'), true)).toMatch(/\n\s+at /);
  });

  it.each([
    [withCode('connect ECONNREFUSED 127.0.0.1:5432', 'ECONNREFUSED'), 'DATABASE_URL'],
    [withCode('password authentication failed', '28P01'), 'DATABASE_URL'],
    [withCode('permission denied for schema public', '42501'), 'DATABASE_URL'],
    [withCode('cannot listen on 127.0.0.1:8080', 'EADDRINUSE'), 'TMCP_PORT'],
    [new ConfigError(['TMCP_PEPPER is required']), 'tmcp keys'],
    [new TmcpError('SERVICE_UNAVAILABLE'), 'TMCP_MASTER_KEY'],
  ])('says what to do: %s', (failure, hint) => {
    expect(explainFailure(failure)).toContain(hint);
  });

  it('hints at nothing where it knows nothing', () => {
    expect(explainFailure(withCode('syntax error', '42601'))).toBe('syntax error\n');
    expect(explainFailure('gone')).toBe('gone\n');
  });
});

describe('reasonOf', () => {
  it('finds words where an error of several has none of its own', () => {
    expect(reasonOf(new AggregateError([new Error('connect ECONNREFUSED ::1'), new Error('connect ECONNREFUSED 127.0.0.1')]))).toBe(
      'connect ECONNREFUSED ::1; connect ECONNREFUSED 127.0.0.1',
    );
  });
});
