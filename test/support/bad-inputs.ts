/** Bad inputs for an operation, made from its schema: a member missing, of a wrong type, past its limit, unknown. */
import { type TSchema, TypeGuard } from '@sinclair/typebox';
import type { Operation } from '../../src/protocol/operation.ts';

export interface BadInput {
  readonly title: string;
  readonly input: Record<string, unknown>;
  /** The member that is wrong, when it is one of the top level. */
  readonly member?: string;
}

/** Every bad input, each wrong in one way. */
export function badInputsOf(operation: Operation, sample: Readonly<Record<string, unknown>>): BadInput[] {
  const schema = operation.input as unknown as {
    readonly properties: Readonly<Record<string, TSchema>>;
    readonly required?: readonly string[];
  };
  const cases: BadInput[] = [{ title: 'an unknown member', input: { ...sample, no_such_member: 1 }, member: 'no_such_member' }];
  for (const [member, property] of Object.entries(schema.properties)) {
    if (schema.required?.includes(member)) {
      const { [member]: _gone, ...rest } = sample;
      cases.push({ title: `${member} missing`, input: rest, member });
    }
    cases.push({ title: `${member} of a wrong type`, input: { ...sample, [member]: wrongType(property) }, member });
    for (const [title, value] of pastLimits(property))
      cases.push({ title: `${member} ${title}`, input: { ...sample, [member]: value }, member });
  }
  return cases;
}

function wrongType(schema: TSchema): unknown {
  if (TypeGuard.IsArray(schema) || TypeGuard.IsObject(schema) || TypeGuard.IsRecord(schema)) return 'text';
  return { unexpected: true };
}

function pastLimits(schema: TSchema): [string, unknown][] {
  const { maxLength, minLength, maximum, minimum, maxItems, minItems, pattern } = schema as TSchema &
    Record<string, number | string | undefined>;
  const cases: [string, unknown][] = [];
  if (typeof maxLength === 'number' && maxLength < 1_000_000) cases.push(['one character too long', 'a'.repeat(maxLength + 1)]);
  if (typeof minLength === 'number' && minLength > 0) cases.push(['one character too short', 'a'.repeat(minLength - 1)]);
  if (typeof pattern === 'string') cases.push(['not of its form', '\u0007']);
  if (typeof maximum === 'number') cases.push(['above its maximum', maximum + 1]);
  if (typeof minimum === 'number') cases.push(['below its minimum', minimum - 1]);
  if (TypeGuard.IsInteger(schema)) cases.push(['a fraction', 1.5]);
  if (TypeGuard.IsArray(schema)) {
    if (typeof maxItems === 'number')
      cases.push(['with one item too many', Array.from({ length: maxItems + 1 }, () => itemOf(schema.items))]);
    if (typeof minItems === 'number' && minItems > 0) cases.push(['without items', []]);
    cases.push(['with an item of a wrong type', [wrongType(schema.items)]]);
  }
  return cases;
}

function itemOf(schema: TSchema): unknown {
  if (TypeGuard.IsString(schema)) return 'a';
  if (TypeGuard.IsObject(schema))
    return Object.fromEntries(
      Object.entries(schema.properties)
        .filter(([name]) => schema.required?.includes(name))
        .map(([name, property]) => [name, itemOf(property)]),
    );
  return 'a';
}
