/**
 * Which nodes there are, which of them hold a lease, and who owns which slot. All instants are of the database's clock, so nodes
 * need not agree on the time. Who else writes: every other node, through the same functions (migrations/0004-cluster.sql says in
 * which order they lock). Safety is the commit's check of the epoch; the lease is what makes an owner's reads current as well.
 */
import type { ClusterNode } from '../../actors/ports.ts';
import { slotCount } from '../../actors/runtime/slots.ts';
import type { Queryable } from '../database.ts';
import { loadSql } from '../sql.ts';
import type { ClaimedSlot } from './slots.ts';

const joinSql = loadSql(import.meta.url, './cluster-join.sql');
const heartbeatSql = loadSql(import.meta.url, './cluster-heartbeat.sql');
const claimSql = loadSql(import.meta.url, './cluster-claim.sql');
const handOverSql = loadSql(import.meta.url, './cluster-hand-over.sql');
const releaseSql = loadSql(import.meta.url, './cluster-release.sql');
const ownedSql = loadSql(import.meta.url, './cluster-owned.sql');
const leaveSql = loadSql(import.meta.url, './cluster-leave.sql');
const requestDrainSql = loadSql(import.meta.url, './cluster-request-drain.sql');
const nodesSql = loadSql(import.meta.url, './cluster-nodes.sql');

/** Slots that one transaction changes at most: what waits for its locks waits no longer than for so many. */
export const slotsPerChange = 64;
const defaultLeaseMs = 5_000;
/** How long one change waits for commits in flight, all its slots together; slots that are still busy then are left out. */
const defaultLockWaitMs = 1_000;
/** Rounds of a release whose slots stay busy: a commit ends by the pool's statement timeout. */
const releaseRounds = 8;

/** What a node says of itself when it joins. `bootId` is new at every start of the process. */
export interface NodeIdentity {
  readonly bootId: string;
  /** Unique among nodes with a live lease. */
  readonly name: string;
  readonly version: string;
  /** A digest of the configuration that all nodes must share. */
  readonly configHash: string;
  readonly peerHost: string;
  readonly peerPort: number;
  readonly httpUrl: string;
}

type NodeState = ClusterNode['state'];

/** The node may not join. `config`: a live node has another configuration hash; `name`: a live node has the name. */
export class NodeRefusedError extends Error {
  override readonly name = 'NodeRefusedError';
  readonly reason: 'config' | 'name';
  /** The name of the node that is in the way. */
  readonly other: string;
  /** How long that node's lease still lasts; a dead node's name is free after it. */
  readonly leaseLeftMs: number;

  constructor(reason: 'config' | 'name', other: string, leaseLeftMs: number) {
    super(
      reason === 'config'
        ? `The running node ${other} has another configuration (its hash differs): all nodes must share keys and secrets.`
        : `A running node has the name ${other}: give this node another name, or end that one.`,
    );
    this.reason = reason;
    this.other = other;
    this.leaseLeftMs = leaseLeftMs;
  }
}

export interface SlotOwner {
  /** The boot id as stored, whether that node lives or not. */
  readonly owner: string | null;
  /** Never goes down: of two answers about a slot the one with the higher epoch is the later. */
  readonly epoch: number;
  /** The owner had a live lease at the instant of the answer. */
  readonly leased: boolean;
}

export interface Heartbeat {
  /** Nodes with a live lease, the asking one among them, by name. */
  readonly nodes: readonly ClusterNode[];
  /** 1,024, by index. */
  readonly slots: readonly SlotOwner[];
  /** Somebody asked this node to drain. */
  readonly drainRequested: boolean;
}

export interface ClusterStoreOptions {
  /** Default 5,000. The same on all nodes. */
  readonly leaseMs?: number;
  /** How long a change of slots waits for commits in flight, in all. Default 1,000. */
  readonly lockWaitMs?: number;
}

/** Errors of all methods: the driver's, when the database is away or cannot work; nothing is known of the outcome then. */
export interface ClusterStore {
  /**
   * Makes the node a member with a lease. Takes away lapsed rows that would stand against it (its name, another configuration), and
   * those lapsed for over an hour: a node whose row is gone must join anew. Joins take turns. The same boot id may join again.
   * Errors: `NodeRefusedError`.
   */
  join(node: NodeIdentity): Promise<void>;
  /**
   * Renews the lease, a lapsed one too, and reads the cluster, in one round trip. Undefined: the row is gone, and with it the lease.
   * Slots given as ours are ours for a lease from the sending of this call: nobody else can claim them before.
   */
  heartbeat(bootId: string, state: NodeState, load: unknown): Promise<Heartbeat | undefined>;
  /**
   * Takes those of `slots` that nobody owns or whose owner has no live lease, with a raised epoch, and gives also those that
   * are ours already, as they are. Gives nothing when our own lease is over. Waits for commits in flight up to `lockWaitMs`;
   * slots busy for longer are left out. Up to 64 slots are one round trip and one transaction; more go in turns of 64.
   * Shape: ascending by slot.
   */
  claim(bootId: string, slots: readonly number[]): Promise<ClaimedSlot[]>;
  /**
   * Moves those of `slots` that `from` owns to `to`, each epoch raised by one. Nothing moves when `to` has no live lease, drains or was
   * asked to drain. Waits, and goes in turns, as `claim`.
   */
  handOver(from: string, to: string, slots: readonly number[]): Promise<ClaimedSlot[]>;
  /** Gives up those of `slots` (default: all) that are ours: no owner, epoch raised by one. */
  release(bootId: string, slots?: readonly number[]): Promise<void>;
  /** Gives up all slots and takes the node's row away. */
  leave(bootId: string): Promise<void>;
  /** Asks the node of that name to drain: it sees it with its next heartbeat. False: no node with a live lease has the name. */
  requestDrain(name: string): Promise<boolean>;
  /** Every row, also of nodes whose lease is over, by name. */
  nodes(): Promise<ClusterNode[]>;
}

/** The store on a migrated database. */
export function createClusterStore(db: Queryable, options: ClusterStoreOptions = {}): ClusterStore {
  const leaseMs = options.leaseMs ?? defaultLeaseMs;
  const lockWaitMs = options.lockWaitMs ?? defaultLockWaitMs;

  const inTurns = async (slots: readonly number[], change: (turn: number[]) => Promise<ClaimedSlot[]>): Promise<ClaimedSlot[]> => {
    const ascending = [...new Set(slots)].sort((a, b) => a - b);
    const changed: ClaimedSlot[] = [];
    for (let from = 0; from < ascending.length; from += slotsPerChange) {
      changed.push(...(await change(ascending.slice(from, from + slotsPerChange))));
    }
    return changed;
  };

  const owned = async (bootId: string): Promise<number[]> =>
    (await db.query<{ slot: number }>(ownedSql, [bootId], 'cluster_owned')).map(({ slot }) => slot);

  const release = async (bootId: string, slots: readonly number[]): Promise<void> => {
    let left = slots;
    for (let round = 0; left.length > 0 && round < releaseRounds; round++) {
      await inTurns(left, (turn) => db.query<ClaimedSlot>(releaseSql, [bootId, turn, lockWaitMs], 'cluster_release'));
      const still = new Set(await owned(bootId));
      left = left.filter((slot) => still.has(slot));
    }
    if (left.length > 0) throw new Error(`${left.length} slots could not be given up: commits in flight hold them`);
  };

  return {
    join: async (node) => {
      const { bootId, name, version, configHash, peerHost, peerPort, httpUrl } = node;
      const params = [bootId, name, version, configHash, peerHost, peerPort, httpUrl, leaseMs];
      const [row] = await db.query<{ refusal: 'config' | 'name' | null; other: string; leaseLeftMs: number }>(joinSql, params);
      if (row === undefined) throw new Error('a join gave no row');
      if (row.refusal !== null) throw new NodeRefusedError(row.refusal, row.other, row.leaseLeftMs);
    },

    heartbeat: async (bootId, state, load) => {
      const params = [bootId, state, JSON.stringify(load ?? null), leaseMs];
      const [row] = await db.query<HeartbeatRow>(heartbeatSql, params, 'cluster_heartbeat');
      if (row === undefined || row.epochs === null) return undefined;
      return { nodes: row.nodes, slots: slotsOf(row), drainRequested: row.drainRequested };
    },

    claim: (bootId, slots) => inTurns(slots, (turn) => db.query<ClaimedSlot>(claimSql, [bootId, turn, lockWaitMs], 'cluster_claim')),

    handOver: (from, to, slots) =>
      inTurns(slots, (turn) => db.query<ClaimedSlot>(handOverSql, [from, to, turn, lockWaitMs], 'cluster_hand_over')),

    release: async (bootId, slots) => release(bootId, slots ?? (await owned(bootId))),

    leave: async (bootId) => {
      try {
        await release(bootId, await owned(bootId));
      } finally {
        // Without a row its slots are free to claim, given up or not.
        await db.query(leaveSql, [bootId]);
      }
    },

    requestDrain: async (name) => (await db.query(requestDrainSql, [name])).length > 0,

    nodes: () => db.query<ClusterNode>(nodesSql),
  };
}

interface HeartbeatRow {
  readonly nodes: ClusterNode[];
  readonly drainRequested: boolean;
  /** Distinct owners; `ownerIndexes` counts from 1 in it, 0 where a slot has none. */
  readonly owners: string[] | null;
  readonly ownerIndexes: string;
  /** By slot, with commas between; null when the node's row is gone. */
  readonly epochs: string | null;
}

function slotsOf(row: HeartbeatRow): SlotOwner[] {
  const leased = new Set(row.nodes.map(({ bootId }) => bootId));
  const owners = [null, ...(row.owners ?? [])].map((owner) => ({ owner, leased: owner !== null && leased.has(owner) }));
  const indexes = row.ownerIndexes.split(',');
  const slots = (row.epochs ?? '').split(',').map((epoch, slot) => {
    const owner = owners[Number(indexes[slot])];
    if (owner === undefined) throw new Error(`slot ${slot} has an owner that the answer does not name`);
    return { ...owner, epoch: Number(epoch) };
  });
  if (slots.length !== slotCount) throw new Error(`the database has ${slots.length} slots, not ${slotCount}`);
  return slots;
}
