/**
 * The wire cannot change unnoticed: every operation's schemas, scopes and paths are hashed, and a hash that is not in the history
 * fails. A change is made on purpose by adding an entry: `TMCP_WRITE_SCHEMA_HISTORY="what changed" npx vitest run test/conformance`.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { eventMethods, operations } from '../../src/protocol/catalogue.ts';
import { closeCodes } from '../../src/protocol/close-codes.ts';
import { errorTable } from '../../src/protocol/errors.ts';
import type { Operation } from '../../src/protocol/operation.ts';

interface Entry {
  /** Counts up by one. */
  readonly version: number;
  readonly note: string;
  /** What this version changed; null: the operation went away. */
  readonly changed: Readonly<Record<string, string | null>>;
}

const file = new URL('./schema-history.json', import.meta.url);
const history = JSON.parse(readFileSync(file, 'utf8')) as Entry[];

/** JSON with the members of every object in order, so that only what is said counts. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).filter(([name, member]) => member !== undefined && name !== 'description');
  return `{${members
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
    .join(',')}}`;
}

const hash = (value: unknown): string => createHash('sha256').update(canonical(value)).digest('hex').slice(0, 16);

function hashOf({ name, input, output, http, scopes, idempotency, accepted, errors }: Operation): string {
  return hash({ name, input, output, http, scopes, idempotency, accepted, errors });
}

const now: Readonly<Record<string, string>> = {
  ...Object.fromEntries(operations.map((operation) => [operation.name, hashOf(operation)])),
  'table of errors': hash(
    Object.fromEntries(Object.entries(errorTable).map(([code, { status, retryable }]) => [code, { status, retryable }])),
  ),
  'table of close codes': hash(closeCodes),
  'list of events': hash(eventMethods),
};

/** The hashes as the history has them. */
function recorded(): Record<string, string> {
  const all: Record<string, string> = {};
  for (const { changed } of history) {
    for (const [name, value] of Object.entries(changed)) {
      if (value === null) delete all[name];
      else all[name] = value;
    }
  }
  return all;
}

describe('the schemas of the wire', () => {
  it('are those of the newest entry of the history', () => {
    const known = recorded();
    const changed: Record<string, string | null> = {};
    for (const [name, value] of Object.entries(now)) if (known[name] !== value) changed[name] = value;
    for (const name of Object.keys(known)) if (!(name in now)) changed[name] = null;
    const note = process.env['TMCP_WRITE_SCHEMA_HISTORY'];
    if (note !== undefined && Object.keys(changed).length > 0) {
      history.push({ version: history.length + 1, note, changed });
      writeFileSync(file, `${JSON.stringify(history, null, 2)}\n`);
    }
    expect(note === undefined ? changed : {}, 'the wire changed: see the head of this file').toEqual({});
  });

  it('have a history that counts up and says why', () => {
    expect(history.map(({ version }) => version)).toEqual(history.map((_, index) => index + 1));
    for (const { note, changed } of history) {
      expect(note.length).toBeGreaterThan(3);
      expect(Object.keys(changed).length).toBeGreaterThan(0);
    }
  });

  it('change their hash with any schema, scope or path, and not with a description', () => {
    const [operation] = operations as [Operation];
    expect(hashOf({ ...operation, scopes: ['other'] })).not.toBe(hashOf(operation));
    expect(hashOf({ ...operation, input: { ...operation.input, additionalProperties: true } })).not.toBe(hashOf(operation));
    expect(hashOf({ ...operation, output: { ...operation.output, description: 'other words' } })).toBe(hashOf(operation));
  });
});
