/** Resume secrets: shown once, kept as a hash, compared in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** SHA-256 of a resume secret, base64url. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/** Whether `secret` is the one behind `hash`. */
export function isSecret(secret: string, hash: string): boolean {
  const given = createHash('sha256').update(secret).digest();
  const kept = Buffer.from(hash, 'base64url');
  return kept.length === given.length && timingSafeEqual(given, kept);
}
