/**
 * AES-256-GCM with a random nonce: version byte, 12 bytes of nonce, ciphertext, 16 bytes of tag. The associated data binds a
 * sealed value to its place, so that a row copied elsewhere does not open. Synchronous: small values cost microseconds.
 */
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';

const version = 1;
const nonceBytes = 12;
const tagBytes = 16;

/** Bytes a sealed value is longer than its plain one. */
export const sealOverheadBytes = 1 + nonceBytes + tagBytes;

/** Length of a key. */
export const keyBytes = 32;

// Random bytes are drawn from the system a page at a time: a call each would cost more than the encryption of a small value.
const pool = Buffer.alloc(nonceBytes * 341);
let drawn = pool.length;

/** Seals `plain` under `key` (32 bytes). Every call gives other bytes. */
export function seal(key: Uint8Array, plain: Uint8Array, aad: string): Uint8Array {
  if (drawn === pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  const sealed = new Uint8Array(plain.length + sealOverheadBytes);
  sealed[0] = version;
  sealed.set(pool.subarray(drawn, drawn + nonceBytes), 1);
  drawn += nonceBytes;
  const cipher = createCipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + nonceBytes), { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(aad, 'utf8'));
  sealed.set(cipher.update(plain), 1 + nonceBytes);
  // GCM is a stream: `final` gives no bytes, it only makes the tag.
  cipher.final();
  sealed.set(cipher.getAuthTag(), sealed.length - tagBytes);
  return sealed;
}

/** Opens what `seal` made. Errors: Error when key, place or any bit differs; it does not say which. */
export function open(key: Uint8Array, sealed: Uint8Array, aad: string): Uint8Array {
  if (sealed.length < sealOverheadBytes || sealed[0] !== version) throw new Error('not a sealed value of a known version');
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(aad, 'utf8'));
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  const plain = decipher.update(sealed.subarray(1 + nonceBytes, sealed.length - tagBytes));
  try {
    decipher.final();
  } catch (error) {
    throw new Error('a sealed value does not open: wrong key, wrong place, or altered', { cause: error });
  }
  return new Uint8Array(plain.buffer, plain.byteOffset, plain.byteLength);
}
