/**
 * Proof that a form post comes from a page of ours in the same browser: the signed interaction cookie (checked by the library), a
 * value only the page knew, and where the browser says the post started.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** Makes and checks form proofs. Proofs made with an older key of `keys` stay good while the key is listed. */
export function createCsrf(keys: readonly string[], origin: string) {
  const proofWith = (key: string, uid: string): Buffer => createHmac('sha256', key).update(`form ${uid}`).digest();
  return {
    /** The proof for the forms of one interaction. */
    proof(uid: string): string {
      return proofWith(keys[0] ?? '', uid).toString('base64url');
    },
    /** Whether a post may be believed. `header` reads a request header, empty when there is none. */
    holds(uid: string, given: string | null, header: (name: string) => string): boolean {
      const from = header('origin');
      const site = header('sec-fetch-site');
      if (from !== '' && from !== origin) return false;
      if (site !== '' && site !== 'same-origin') return false;
      const actual = Buffer.from(given ?? '', 'base64url');
      return keys.some((key) => {
        const expected = proofWith(key, uid);
        return expected.length === actual.length && timingSafeEqual(expected, actual);
      });
    },
  };
}
