/**
 * Who wins when two writers meet on a key. Pure: the policy, both stamps and the base version go in, a verdict comes out.
 * Live binding, section 8; rules [STO20] to [STO27] of docs/spec/storage.md.
 */
import { limits } from '../../protocol/limits.ts';
import { compareOpIds } from './op-id.ts';

/** What an app may choose for the keys under a prefix. */
export type ConflictPolicy = 'lww' | 'server_wins' | 'manual' | 'merge';

export interface PrefixPolicy {
  readonly prefix: string;
  readonly policy: ConflictPolicy;
}

/** When a write was made, by its writer's clock (epoch ms, already clamped), and its id where it has one. */
export interface Stamp {
  readonly clientAt: number;
  readonly opId: string | null;
}

export interface Incoming extends Stamp {
  readonly kind: 'set' | 'remove';
  /** The version the writer saw; undefined when it did not say. */
  readonly baseVersion: number | undefined;
}

/** What is stored: a value, or where one was removed or has expired (`live` false). */
export interface Stored extends Stamp {
  readonly version: number;
  readonly live: boolean;
}

/**
 * `apply`: the incoming write takes effect; with `loser` the stored value lost a conflict and is kept. `refuse`: it takes none and
 * its value is kept. `merge`: both values become one; `incomingWins` says whose field wins where both have it.
 */
export type Verdict =
  | { readonly kind: 'apply'; readonly loser: boolean }
  | { readonly kind: 'refuse'; readonly resolution: 'server_wins' | 'manual' }
  | { readonly kind: 'merge'; readonly incomingWins: boolean };

const apply: Verdict = { kind: 'apply', loser: false };
const applyOverLoser: Verdict = { kind: 'apply', loser: true };
const serverWins: Verdict = { kind: 'refuse', resolution: 'server_wins' };
const manual: Verdict = { kind: 'refuse', resolution: 'manual' };

/** A client's Unix seconds as epoch ms; more than five minutes ahead of `now` counts as `now`. */
export function clampClientAt(seconds: number, now: number): number {
  const at = Math.round(seconds * 1000);
  return at > now + limits.clientAheadMs ? now : at;
}

/** Whether the last writer is the incoming one. Equal instants are decided by op id; where one has none, the incoming one wins. */
export function lastWriterIsIncoming(incoming: Stamp, stored: Stamp): boolean {
  if (incoming.clientAt !== stored.clientAt) return incoming.clientAt > stored.clientAt;
  if (incoming.opId === null || stored.opId === null) return true;
  return compareOpIds(incoming.opId, stored.opId) > 0;
}

/** The policy of a key: that of its longest listed prefix, `lww` without one. */
export function policyOf(key: string, policies: readonly PrefixPolicy[]): ConflictPolicy {
  let best: PrefixPolicy | undefined;
  for (const entry of policies) {
    if (key.startsWith(entry.prefix) && (best === undefined || entry.prefix.length > best.prefix.length)) best = entry;
  }
  return best?.policy ?? 'lww';
}

/** What becomes of an incoming write over what is stored. */
export function judge(incoming: Incoming, stored: Stored | undefined, policy: ConflictPolicy): Verdict {
  if (stored === undefined) return apply;
  const wins = lastWriterIsIncoming(incoming, stored);
  if (wins && !movedOn(incoming, stored)) return apply;
  switch (policy) {
    case 'server_wins':
      return serverWins;
    case 'manual':
      return manual;
    case 'merge':
      if (stored.live && incoming.kind === 'set') return { kind: 'merge', incomingWins: wins };
      break;
    case 'lww':
      break;
  }
  if (!wins) return serverWins;
  return stored.live ? applyOverLoser : apply;
}

/** Whether somebody else wrote the key since the version that the writer saw. An earlier write of the same device is its own. */
function movedOn(incoming: Incoming, stored: Stored): boolean {
  if (incoming.baseVersion === undefined || stored.version <= incoming.baseVersion) return false;
  return incoming.opId === null || stored.opId === null || deviceOf(incoming.opId) !== deviceOf(stored.opId);
}

function deviceOf(opId: string): string {
  return opId.slice(0, opId.lastIndexOf(':'));
}
