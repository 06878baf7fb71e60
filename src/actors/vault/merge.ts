/** Joins two values for the `merge` policy. Pure. Live binding, section 8; rule [STO26] of docs/spec/storage.md. */

/**
 * Two JSON objects as one: fields of either, and where both have a field, the winner's. Only the outermost fields are
 * compared. Undefined when one of the texts is no JSON object: the last writer then wins as a whole.
 */
export function mergeValues(winner: string, loser: string): string | undefined {
  const over = parseObject(winner);
  const under = parseObject(loser);
  if (over === undefined || under === undefined) return undefined;
  // A map, because a member may be named `__proto__`.
  const fields = new Map(Object.entries(under));
  for (const [name, value] of Object.entries(over)) fields.set(name, value);
  return JSON.stringify(Object.fromEntries(fields));
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Not JSON: said by the undefined.
    return undefined;
  }
}
