/** Which of some nodes a slot belongs to by highest random weight: when a node comes or goes, only its share moves. Pure. */

const weights = new Map<string, Float64Array>();

/** The one of `names` (at least one) with the highest weight for `slot`. */
export function preferred(slot: number, names: readonly string[]): string {
  let best = names[0] as string;
  let highest = -1;
  for (const name of names) {
    const weight = weightOf(name, slot);
    if (weight > highest || (weight === highest && name < best)) {
      best = name;
      highest = weight;
    }
  }
  return best;
}

function weightOf(name: string, slot: number): number {
  let known = weights.get(name);
  if (known === undefined) {
    // Names of nodes that are gone stay; there are few in the life of a process.
    if (weights.size > 1_000) weights.clear();
    known = new Float64Array(1024).fill(-1);
    weights.set(name, known);
  }
  if (known[slot] === -1) known[slot] = mix(`${name}/${slot}`);
  return known[slot] as number;
}

/** FNV-1a and the finaliser of MurmurHash3, which spreads what FNV leaves close together. */
function mix(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
