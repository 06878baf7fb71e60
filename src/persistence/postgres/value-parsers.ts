/** How column values of the wire's text form become plain values, the same for `pg` and PGlite. */

/** Type numbers (`pg_type.oid`) that both drivers must read and write alike. */
export const oid = { bool: 16, bytea: 17, int8: 20, int4: 23, text: 25, jsonb: 3802 } as const;

/** A `bigint` column as a number. Errors: RangeError past 2^53 - 1, because a rounded sequence number would be a silent fault. */
export function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is not a safe integer`);
  return value;
}

/** A `bytea` column in hex form as bytes of its own. */
export function parseBytea(text: string): Uint8Array {
  const bytes = Buffer.from(text.slice(2), 'hex');
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
