/** The key of the links between nodes, derived from what all nodes of a cluster share. Also what `tmcp actors` dials with. */
import { hkdfSync } from 'node:crypto';

/** 32 bytes for `peer-net.ts`; of the pepper, from which nothing of it can be told. */
export function linkKey(pepper: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', pepper, '', 'links between nodes', 32));
}
