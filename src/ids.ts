/** The only reader of randomness: prefixed identifiers and secrets. */
import { randomBytes, randomUUID } from 'node:crypto';

/** `prefix_` and 26 lower-case base-32 characters (128 random bits). */
export function newId(prefix: string): string {
  return `${prefix}_${base32(randomBytes(16))}`;
}

/** A secret of `bytes` random bytes (default 32: 256 bits), base64url. */
export function newSecret(bytes = 32): string {
  return randomBytes(bytes).toString('base64url');
}

/** A boot identity: differs at every start of a process. */
export function newBootId(): string {
  return randomUUID();
}

/** A number in [0, 1) for jitter; never for secrets. */
export function jitter(): number {
  return Math.random();
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** RFC 4648 base 32, lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let out = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += alphabet[(value >>> bits) & 31];
    }
    value &= 0xff;
  }
  if (bits > 0) out += alphabet[(value << (5 - bits)) & 31];
  return out;
}
