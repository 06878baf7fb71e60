/** The catalogue with its validators compiled, by method name. Made once at start. */
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import { operations } from '../../protocol/catalogue.ts';
import type { Issue } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';

export interface CompiledOperation extends Operation {
  readonly validator: TypeCheck<Operation['input']>;
}

/** Most issues told about one input. */
const maxIssues = 10;

/** Every operation by name, compiled. */
export function compileCatalogue(): ReadonlyMap<string, CompiledOperation> {
  return new Map(operations.map((operation) => [operation.name, { ...operation, validator: TypeCompiler.Compile(operation.input) }]));
}

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
  return operation.check?.(input as never) ?? [];
}
