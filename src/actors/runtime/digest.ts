/** Hashes of names and inputs: addresses that follow from a key, and inputs that must match an earlier one. */
import { createHash, createHmac } from 'node:crypto';
import { base32 } from '../../ids.ts';
import type { Naming } from '../../protocol/operation.ts';
import { shardOf } from './slots.ts';

/** 160 bits of SHA-256 over length-prefixed parts, base 32. */
export function digest(parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return base32(hash.digest().subarray(0, 20));
}

/** How the catalogue names actors. */
export const naming: Naming = { digest, shard: shardOf };

/**
 * HMAC-SHA-256 of an input in canonical form: members sorted, `idempotency_key` left out. `key` must not be in the database: the hash
 * is, and an input may be a PIN beside things that are known, which a plain hash would give away to a few million guesses.
 */
export function inputHash(input: Readonly<Record<string, unknown>>, key: Uint8Array): string {
  const { idempotency_key: _key, ...rest } = input;
  return createHmac('sha256', key).update(canonical(rest)).digest('base64url');
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value as Record<string, unknown>).filter(([, member]) => member !== undefined);
    members.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}
