/**
 * What a command prints when it cannot start. A wrong configuration, a taken port or a database that is away is the operator's to mend:
 * one text that says what to do, no stack. A fault of ours keeps its stack.
 */
import { ConfigError } from '../config.ts';
import { TmcpError } from '../protocol/errors.ts';

/** A failure that is told as its message alone. */
export class StartError extends Error {
  /** What the process ends with: 1 when what was asked for failed, 2 when it was asked for wrongly. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = 'StartError';
    this.exitCode = exitCode;
  }
}

/** Errors of kinds of their own whose message is meant for the operator; by name, so that no command loads what only another needs. */
const plain = new Set(['ConfigError', 'StartError', 'NodeRefusedError']);

/** Classes 08, 28, 3D, 53 and 57 of Postgres, and "insufficient privilege": the way to the database, not what is asked of it. */
const databaseCode = /^(08|28|3D|53|57)[0-9A-Z]{3}$|^42501$/;
const networkCode = /^(ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/;

/** The text for standard error, ending in a line break. `withStack`: the operator asked for more (TMCP_LOG_LEVEL debug or trace). */
export function explainFailure(error: unknown, withStack = false): string {
  if (!(error instanceof Error)) return `${String(error)}\n`;
  // Our sentences and the system's are plain Errors; a TypeError and its like are faults.
  const faulty = error.constructor !== Error && codeOf(error) === undefined && !plain.has(error.name);
  const text = faulty || withStack ? (error.stack ?? error.message) : reasonOf(error);
  const hint = hintFor(error);
  return `${text}\n${hint === undefined ? '' : `${hint}\n`}`;
}

function hintFor(error: Error): string | undefined {
  const code = codeOf(error);
  if (error instanceof ConfigError) {
    const keys = /^TMCP_(SIGNING_KEYS|MASTER_KEY|PEPPER|COOKIE_KEYS) is required$/;
    const makeKeys = error.problems.some((problem) => keys.test(problem)) ? ' `tmcp keys <folder>` makes the keys.' : '';
    return `Every option is in docs/config.md.${makeKeys}`;
  }
  if (code === 'EADDRINUSE') return 'Take another port with TMCP_PORT or TMCP_METRICS_PORT.';
  if (code !== undefined && (databaseCode.test(code) || networkCode.test(code))) {
    return 'The database cannot be used: check DATABASE_URL and that Postgres listens there; `tmcp doctor` says more.';
  }
  if (error instanceof TmcpError)
    return 'If TMCP_MASTER_KEY is not the key this data was written with, it cannot be read: give the former one too.';
  return undefined;
}

function codeOf(error: Error): string | undefined {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : undefined;
}

/** What an error says. A host with two addresses fails with one error that says nothing itself and holds one for each. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== '') return error.message;
  return error instanceof AggregateError ? error.errors.map(reasonOf).join('; ') : error.name;
}
