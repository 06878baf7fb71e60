/**
 * The vault actor: one storage namespace, of one user in one app. It alone orders the namespace's writes, so versions, quota and
 * operation ids need no lock. It decides in memory and answers by its commits; it does no I/O of its own and never waits.
 * Protocol section 19, live binding sections 5 and 8; rules in docs/spec/storage.md. TTLs are enforced on read, and expired
 * values are buried by the next write or pull: the vault keeps no timers.
 */
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { Clock, KeyRing, VaultStore } from '../ports.ts';
import type { ActorContext, Behaviour } from '../runtime/behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { PrefixPolicy } from './conflict.ts';
import { holdBack, runWrite } from './deferred-writes.ts';
import { HotBudget } from './hot-cache.ts';
import { pull, status } from './pull.ts';
import { push } from './push.ts';
import { batchGet, get, list, usage } from './reads.ts';
import { buildState, ownerOf, type VaultState } from './vault-state.ts';
import { batchRemove, batchSet, remove, set, type Writer } from './writes.ts';

export interface VaultOptions {
  readonly vaults: VaultStore;
  readonly keys: KeyRing;
  /** Names one life of the database; pull cursors of another one start afresh. */
  readonly dbEpoch: string;
  /** Tells which tombstones are too old to load; without it the oldest go only by their number. */
  readonly clock?: Pick<Clock, 'now'>;
  /** Values kept in clear in memory: of one vault (default 256 KiB) and of all on this node (default 256 MiB). */
  readonly cacheBytesPerVault?: number;
  readonly totalBytes?: number;
  /**
   * Told up to which version a vault has forgotten its tombstones, durably: their rows are of no more use. Without anybody to take them away, removals of
   * ever new keys would fill the database past any quota.
   */
  readonly onForgotten?: (address: string, version: number) => void;
  /** How an app wants conflicts decided, by key prefix; `lww` where it says nothing. */
  readonly policies?: (appId: string) => readonly PrefixPolicy[];
}

const writers: ReadonlyMap<string, Writer> = new Map([
  ['tween.storage.set', set],
  ['tween.storage.remove', remove],
  ['tween.storage.batchSet', batchSet],
  ['tween.storage.batchRemove', batchRemove],
  ['tween.sync.push', push],
]);

/** The behaviour of the kind `vault`, at `vault:{user_id}:{app_id}`. All vaults it makes share one cache budget. */
export function createVaultBehaviour(options: VaultOptions): Behaviour<VaultState> {
  const {
    vaults,
    keys,
    dbEpoch,
    clock,
    cacheBytesPerVault = 256 * 1024,
    totalBytes = 256 * 1024 * 1024,
    onForgotten,
    policies = () => [],
  } = options;
  const budget = new HotBudget(cacheBytesPerVault, totalBytes);

  const receive = (state: VaultState, message: Message, context: ActorContext): void => {
    const { who } = message;
    if (who === null || who.userId !== state.userId || who.appId !== state.appId) throw new TmcpError('FORBIDDEN');
    if (state.waiting !== undefined) {
      holdBack(state.waiting, message);
      return;
    }
    switch (message.type) {
      case 'tween.storage.get':
        get(state, vaults, message, context);
        return;
      case 'tween.storage.batchGet':
        batchGet(state, vaults, message, context);
        return;
      case 'tween.storage.list':
        list(state, message, context);
        return;
      case 'tween.storage.usage':
        usage(state, message, context);
        return;
      case 'tween.sync.pull':
        pull(state, vaults, message, context);
        return;
      case 'tween.sync.status':
        status(state, vaults, message, context);
        return;
    }
    const writer = writers.get(message.type);
    if (writer === undefined) throw new TmcpError('INVALID_REQUEST', 'A vault does not know this operation');
    runWrite(writer, state, vaults, message, context, (held) => receive(state, held, context));
  };

  return {
    kind: 'vault',
    machineVersion: 1,
    async load(id, stored, address) {
      const { userId, appId } = ownerOf(id);
      const [cipher, rows] = await Promise.all([keys.forUser(userId), vaults.index(address)]);
      const now = clock?.now() ?? limits.tombstoneMs;
      return buildState({
        address,
        id,
        cipher,
        rows,
        snapshot: stored?.snapshot,
        dbEpoch,
        budget,
        policies: policies(appId),
        now,
        onForgotten: onForgotten === undefined ? undefined : (version) => onForgotten(address, version),
      });
    },
    receive,
  };
}
