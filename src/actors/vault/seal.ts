/** Encryption of values and of the losers of conflicts. The associated data binds each to its place, so none can be moved to another. */
import type { ConflictRow, UserCipher } from '../ports.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Keys hold no control characters, so the newline separates without doubt. */
function valuePlace(address: string, key: string, version: number): string {
  return `${address}\n${version}\n${key}`;
}

export function sealValue(cipher: UserCipher, address: string, key: string, version: number, value: string): Uint8Array {
  return cipher.encrypt(encoder.encode(value), valuePlace(address, key, version));
}

/** Errors: throws what the cipher throws when the bytes are not what was sealed here. */
export function openValue(cipher: UserCipher, address: string, key: string, version: number, sealed: Uint8Array): string {
  return decoder.decode(cipher.decrypt(sealed, valuePlace(address, key, version)));
}

type Loser = Pick<ConflictRow, 'key' | 'opId' | 'clientAt'>;

function loserPlace(address: string, loser: Loser): string {
  return `${address}\nconflict\n${loser.clientAt}\n${loser.opId}\n${loser.key}`;
}

export function sealLoser(cipher: UserCipher, address: string, loser: Loser, value: string): Uint8Array {
  return cipher.encrypt(encoder.encode(value), loserPlace(address, loser));
}

/** Errors: as `openValue`. */
export function openLoser(cipher: UserCipher, address: string, loser: Loser, sealed: Uint8Array): string {
  return decoder.decode(cipher.decrypt(sealed, loserPlace(address, loser)));
}
