/** The catalogue with its validators compiled, by method name. Made once at start. */
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import { operations } from '../../protocol/catalogue.ts';
import type { Issue } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';
import { type WorkClass, workClassOf } from './admission.ts';

export interface CompiledOperation extends Operation {
  readonly validator: TypeCheck<Operation['input']>;
  readonly workClass: WorkClass;
}

/** Most issues told about one input. */
const maxIssues = 10;

/** Every operation by name, compiled. */
export function compileCatalogue(): ReadonlyMap<string, CompiledOperation> {
  return new Map(
    operations.map((operation) => [
      operation.name,
      { ...operation, validator: TypeCompiler.Compile(operation.input), workClass: workClassOf(operation) },
    ]),
  );
}

/**
 * Members whose text may hold anything: values, which are bytes when they are stored, and the operations of a push, each of which is
 * judged for itself.
 */
const free: ReadonlyMap<string, string> = new Map([
  ['tween.storage.set', 'value'],
  ['tween.storage.batchSet', 'value'],
  ['tween.sync.push', 'ops'],
]);

/** What is wrong with an input; empty when it is valid. */
export function issuesOf(operation: CompiledOperation, input: unknown): readonly Issue[] {
  if (!operation.validator.Check(input)) {
    const issues: Issue[] = [];
    for (const { path, message } of operation.validator.Errors(input)) {
      issues.push({ path, message });
      if (issues.length >= maxIssues) break;
    }
    return issues;
  }
  const unstorable = unstorableIn(input, '', free.get(operation.name));
  return unstorable === undefined ? (operation.check?.(input as never) ?? []) : [unstorable];
}

/**
 * The first thing that no row can hold: U+0000, which Postgres takes in no text, and bytes where JSON is meant. Let through, it would be
 * refused by the database with a whole group of other people's writes, and look to the client like something to try again.
 */
function unstorableIn(value: unknown, path: string, skipped: string | undefined): Issue | undefined {
  if (typeof value === 'string') return value.includes('\0') ? { path, message: 'holds the character U+0000' } : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  if (value instanceof Uint8Array) return { path, message: 'is bytes, not text' };
  for (const [name, member] of Object.entries(value)) {
    if (name === skipped) continue;
    const found = name.includes('\0')
      ? { path, message: 'has a member whose name holds the character U+0000' }
      : unstorableIn(member, `${path}/${name}`, skipped);
    if (found !== undefined) return found;
  }
  return undefined;
}
