/** What other sessions of the user are told once a write is durable. Live binding, section 7; rules [STO40] to [STO42]. */
import type { UserEvent } from '../ports.ts';
import type { Loser } from './draft.ts';
import { type Entry, isoOf } from './entry.ts';
import type { VaultState } from './vault-state.ts';

/** More changes than this are told as `reset`: the session pulls. */
const maxChanges = 100;
/** Values up to this travel in the event, as long as all of them together stay under the second bound; others are read or pulled. */
const inlineValueBytes = 4 * 1024;
const inlineTotalBytes = 64 * 1024;

/** The `tween.storage.changed` of a flushed write. `exceptSession` caused it. */
export function changedEvent(state: VaultState, changes: readonly Entry[], exceptSession: string | undefined): UserEvent {
  if (changes.length > maxChanges) return event(state, exceptSession, 'tween.storage.changed', { reset: true });
  let inlined = 0;
  const told = changes.map((entry) => {
    const change = { key: entry.key, version: entry.version, kind: entry.deleted ? 'remove' : 'set', updated_at: isoOf(entry.updatedAt) };
    if (entry.value === undefined || entry.sizeBytes > inlineValueBytes || inlined + entry.sizeBytes > inlineTotalBytes) return change;
    inlined += entry.sizeBytes;
    return { ...change, value: entry.value };
  });
  return event(state, exceptSession, 'tween.storage.changed', { changes: told });
}

/** The `tween.sync.conflict` of a flushed write: which writes lost. Their values are in `tween.sync.status`. */
export function conflictEvent(state: VaultState, losers: readonly Loser[], exceptSession: string | undefined): UserEvent {
  const conflicts = losers.slice(0, maxChanges).map((loser) => ({
    key: loser.key,
    op_id: loser.opId,
    kind: loser.kind,
    at: isoOf(loser.at),
    resolution: loser.resolution,
  }));
  return event(state, exceptSession, 'tween.sync.conflict', { conflicts });
}

function event(state: VaultState, exceptSession: string | undefined, method: string, params: UserEvent['params']): UserEvent {
  const to = { userId: state.userId, appId: state.appId, scopes: ['storage:read'] };
  return exceptSession === undefined ? { ...to, method, params } : { ...to, exceptSession, method, params };
}
