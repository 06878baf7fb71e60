/**
 * Which slot an address falls into. Placement, fencing and journal lanes all use this one function, on every node and in every
 * release: a change of it would give one actor two owners. All actors of one person share a slot, so that a session on the node that owns
 * it needs no other node. Pure.
 */
import type { Address } from '../ports.ts';

/** Slots of the whole system; the `slots` table has as many rows. */
export const slotCount = 1024;

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
/** Characters of a transaction id behind its prefix: the payer's shard and a digest. */
const transactionChars = 34;

/**
 * The slot of `address`. `user:U` and `vault:U:app` have that of U; a transaction id that begins with a shard (`pay_` and 34
 * characters) says its own; anything else is hashed whole.
 */
export function slotOf(address: Address): number {
  const kind = address.indexOf(':');
  if (address.startsWith('user:')) return hash(address, kind + 1, address.length);
  if (address.startsWith('vault:')) return hash(address, kind + 1, address.lastIndexOf(':'));
  const id = address.length - transactionChars;
  if (id > kind && address.charCodeAt(id - 1) === 0x5f) {
    const high = alphabet.indexOf(address.charAt(id));
    const low = alphabet.indexOf(address.charAt(id + 1));
    if (high >= 0 && low >= 0) return high * 32 + low;
  }
  return hash(address, 0, address.length);
}

/** The slot of a person's actors as two base-32 characters: the first of their transactions' ids, and what balancers hash. */
export function shardOf(userId: string): string {
  const slot = hash(userId, 0, userId.length);
  return alphabet.charAt(slot >> 5) + alphabet.charAt(slot & 31);
}

/** 32-bit FNV-1a over UTF-16 code units (low byte, then high byte when there is one), modulo `slotCount`. */
function hash(text: string, from: number, to: number): number {
  let value = 0x811c9dc5;
  for (let index = from; index < to; index++) {
    const unit = text.charCodeAt(index);
    value = Math.imul(value ^ (unit & 0xff), 0x01000193);
    if (unit > 0xff) value = Math.imul(value ^ (unit >>> 8), 0x01000193);
  }
  // FNV's low bits mix worst; the high half is folded in before the remainder is taken.
  return ((value ^ (value >>> 16)) >>> 0) % slotCount;
}
