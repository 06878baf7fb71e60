/**
 * Path, query and body of a request as one operation input. A member that is told twice with different values is refused: what was
 * signed or routed by one of them must not be executed with the other. The gate checks everything else. Protocol section 3.
 */
import { type TSchema, TypeGuard } from '@sinclair/typebox';
import { invalidRequest, type TmcpError } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';

export type Input = Record<string, unknown>;

/** How one operation is read. */
export interface InputPlan {
  /** Path parameters in the order of the pattern. */
  readonly parameters: readonly string[];
  readonly numbers: ReadonlySet<string>;
  readonly booleans: ReadonlySet<string>;
  readonly takesKey: boolean;
}

/** The plan of an operation with an HTTP twin. */
export function planInput(operation: Operation, path: string): InputPlan {
  const properties = Object.entries((operation.input as unknown as { readonly properties: Readonly<Record<string, TSchema>> }).properties);
  const named = (test: (schema: TSchema) => boolean): ReadonlySet<string> =>
    new Set(properties.filter(([, schema]) => test(schema)).map(([name]) => name));
  return {
    parameters: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string),
    numbers: named((schema) => TypeGuard.IsInteger(schema) || TypeGuard.IsNumber(schema)),
    booleans: named((schema) => TypeGuard.IsBoolean(schema)),
    takesKey: operation.idempotency !== 'none',
  };
}

/** What a request tells, apart from its body. */
export interface Told {
  /** Raw path segments, in the order of the plan. */
  readonly parameters: readonly string[];
  /** The raw query string, without its question mark. */
  readonly query: string;
  /** The `Idempotency-Key` header, empty when absent. */
  readonly key: string;
}

/** The input, or why there is none. `body` is the decoded JSON, undefined when there was none. */
export function readInput(plan: InputPlan, told: Told, body: unknown): Input | TmcpError {
  const input: Input = {};
  if (body !== undefined) {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return refused('', 'the body is not an object');
    Object.assign(input, body);
  }
  for (let index = 0; index < plan.parameters.length; index++) {
    const name = plan.parameters[index] as string;
    const value = decodeOnce(told.parameters[index] as string);
    if (value === undefined) return refused(`/${name}`, 'is not percent-encoded UTF-8');
    if (!put(input, name, value)) return refused(`/${name}`, 'differs between the path and the body');
  }
  if (told.query !== '') {
    const issue = readQuery(plan, told.query, input);
    if (issue !== undefined) return issue;
  }
  if (told.key !== '' && plan.takesKey && !put(input, 'idempotency_key', told.key)) {
    return refused('/idempotency_key', 'differs between the header Idempotency-Key and the body');
  }
  return input;
}

function readQuery(plan: InputPlan, query: string, input: Input): TmcpError | undefined {
  const seen = new Set<string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decodeOnce(plus(equals < 0 ? pair : pair.slice(0, equals)));
    const text = decodeOnce(plus(equals < 0 ? '' : pair.slice(equals + 1)));
    if (name === undefined || text === undefined) return refused('', 'the query is not percent-encoded UTF-8');
    if (seen.has(name)) return refused(`/${name}`, 'stands twice in the query');
    if (name === '__proto__' || name === 'constructor' || name === 'prototype') return refused(`/${name}`, 'is not a member');
    seen.add(name);
    if (!put(input, name, typed(plan, name, text))) return refused(`/${name}`, 'differs between the query and the rest of the request');
  }
  return undefined;
}

/** A query value by its schema; what does not read as its type stays text, which the schema then refuses. */
function typed(plan: InputPlan, name: string, text: string): unknown {
  if (plan.numbers.has(name)) return /^-?(0|[1-9]\d{0,15})(\.\d{1,9})?$/.test(text) ? Number(text) : text;
  if (plan.booleans.has(name) && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

/** False when the member is there with another value. */
function put(input: Input, name: string, value: unknown): boolean {
  if (Object.hasOwn(input, name)) return input[name] === value;
  input[name] = value;
  return true;
}

function decodeOnce(raw: string): string | undefined {
  if (!raw.includes('%')) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    return undefined;
  }
}

function plus(raw: string): string {
  return raw.includes('+') ? raw.replaceAll('+', ' ') : raw;
}

function refused(path: string, message: string): TmcpError {
  return invalidRequest([{ path, message }]);
}
