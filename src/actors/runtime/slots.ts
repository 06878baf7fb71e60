/**
 * Which slot an address falls into. Placement, fencing and journal lanes all use this one function, on every node and in every
 * release: a change of it would give one actor two owners. Pure.
 */
import type { Address } from '../ports.ts';

/** Slots of the whole system; the `slots` table has as many rows. */
export const slotCount = 1024;

/** The slot of `address`: 32-bit FNV-1a over its UTF-16 code units (low byte, then high byte when there is one), modulo `slotCount`. */
export function slotOf(address: Address): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < address.length; index++) {
    const unit = address.charCodeAt(index);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    if (unit > 0xff) hash = Math.imul(hash ^ (unit >>> 8), 0x01000193);
  }
  // FNV's low bits mix worst; the high half is folded in before the remainder is taken.
  return ((hash ^ (hash >>> 16)) >>> 0) % slotCount;
}
