/**
 * Whether this node is alone or one of many. Alone it takes every slot over, whoever had it, and a message has no further to go than the
 * registry; among others it joins them. The rest of the application sees one way of both.
 */
import { createHmac } from 'node:crypto';
import { hostname } from 'node:os';
import type { Clock, EventBus, EventTrailView, ResumeRecord, ResumeStore } from '../actors/ports.ts';
import type { UserLimiter } from '../actors/runtime/limiter.ts';
import type { Message } from '../actors/runtime/message.ts';
import type { Registry } from '../actors/runtime/registry.ts';
import { Router } from '../actors/runtime/router.ts';
import { SlotTable } from '../actors/runtime/slot-table.ts';
import { slotOf } from '../actors/runtime/slots.ts';
import type { Config } from '../config.ts';
import { newBootId, newId } from '../ids.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Database } from '../persistence/database.ts';
import { FencedError } from '../persistence/journal/errors.ts';
import { createClusterStore } from '../persistence/stores/cluster-store.ts';
import { claimSlots } from '../persistence/stores/slots.ts';
import { type ActorPlace, Cluster, homeOf } from '../transport/cluster/cluster.ts';
import { type ClusterBus, createClusterBus } from '../transport/cluster/cluster-bus.ts';
import { noMeters, type PeerMeters } from '../transport/cluster/peer.ts';
import { createPeerNet } from '../transport/cluster/peer-net.ts';
import type { TmcpError } from '../protocol/errors.ts';
import { version } from '../version.ts';
import { linkKey } from './link-key.ts';
import { keyConflict, keyPrints } from './key-print.ts';
import type { AppSecrets } from './secrets.ts';

export interface NodesOptions {
  readonly config: Config;
  readonly secrets: AppSecrets;
  readonly publicUrl: string;
  readonly serverName: string;
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** What the other parts give once they are there. */
export interface NodesParts {
  readonly registry: Registry;
  readonly limiter: UserLimiter;
  readonly moved: (lost: ReadonlySet<number>) => void;
  readonly onRevoked: () => void;
  readonly load: () => unknown;
  /** Why an operation is turned away here, when this node is too busy for it. */
  readonly busy: (operation: string) => TmcpError | undefined;
}

/** What the live transport gives once it is there. */
export interface NodesLive {
  readonly surrender: (session: string, secretHash: string) => Promise<ResumeRecord | undefined>;
  readonly gap: (here: (userId: string) => boolean) => void;
  readonly evacuate: (cut: boolean) => void;
}

export class Nodes {
  readonly bootId = newBootId();
  readonly name: string;
  readonly slots = new SlotTable(this.bootId);
  readonly bus: EventBus;
  /** Why this node may not go on for good: another one took its actors over while it was alone. */
  fencedOff = false;
  readonly #options: NodesOptions;
  #router: Router | undefined;
  #cluster: Cluster | undefined;
  #live: NodesLive | undefined;
  #onDrainRequested: () => void = () => {};
  #drainRequested = false;
  readonly #deliverEvent: ClusterBus['receive'];

  constructor(options: NodesOptions) {
    this.#options = options;
    this.name = options.config.nodeName ?? newId('node');
    const bus = createClusterBus((userId, event) => this.#cluster?.broadcast(userId, event));
    this.bus = bus;
    this.#deliverEvent = bus.receive;
  }

  get clustered(): boolean {
    return this.#options.config.clusterPort !== undefined;
  }

  /** What the ids of this node's sessions say of it. */
  get home(): string | undefined {
    return this.clustered ? homeOf(this.bootId) : undefined;
  }

  /** What this node has heard of all nodes' events; undefined when alone. */
  get trail(): EventTrailView | undefined {
    return this.#cluster?.trail;
  }

  /** Slots whose timers and effects are this node's; undefined: all. */
  readonly ownSlots = (): readonly number[] | undefined => (this.clustered ? this.slots.mine() : undefined);

  /** Whether the timers and effects of a slot are this node's. */
  readonly owns = (slot: number): boolean => !this.clustered || this.slots.epochOf(slot) > 0;

  /** The way of every message. */
  readonly tell = (address: string, message: Message): void => {
    if (this.#router === undefined) throw new Error('the router is not there yet');
    this.#router.tell(address, message);
  };

  /** A write was refused because another node owns its actor. */
  fenced(address: string, error: unknown): void {
    if (!(error instanceof FencedError)) return;
    this.#options.metrics.fenceRefusals.inc();
    if (this.#cluster === undefined) this.fencedOff = true;
    else this.#cluster.fenced(address);
  }

  /** Takes part: from here on this node has slots. Errors: `NodeRefusedError`; the database's. */
  async start(parts: NodesParts): Promise<void> {
    const { config, clock, database } = this.#options;
    this.#router = new Router({
      registry: parts.registry,
      slots: this.slots,
      limiter: parts.limiter,
      clock,
      holds: () => (this.#cluster === undefined ? !this.fencedOff : this.#cluster.holds()),
      elsewhere: {
        forward: (node, address, message, leftMs, failed) => {
          if (this.#cluster === undefined) failed('unreachable');
          else this.#cluster.forward(node, address, message, leftMs, failed);
        },
        settle: (slot) => this.#cluster?.settle(slot),
      },
    });
    this.#measure(this.#router);
    if (config.clusterPort === undefined) {
      const others = (await createClusterStore(database).nodes()).filter(({ leaseLeftMs }) => leaseLeftMs > 0);
      if (others.length > 0)
        throw new Error(
          `Nodes run on this database (${others.map(({ name }) => name).join(', ')}): set TMCP_CLUSTER_PORT to join them, or use a database of your own.`,
        );
      for (const { slot, epoch } of await claimSlots(database, this.bootId)) this.slots.take(slot, epoch);
      return;
    }
    this.#cluster = await this.#join(parts, config.clusterPort);
    this.#options.metrics.leaseAgeSeconds.from(() => Math.max(0, this.#cluster?.leaseAgeMs ?? 0) / 1_000);
  }

  /** The live transport is there: sessions can be handed over, and clients sent away. */
  attach(live: NodesLive, onDrainRequested: () => void): void {
    this.#live = live;
    this.#onDrainRequested = onDrainRequested;
    // It was asked while it still started.
    if (this.#drainRequested) onDrainRequested();
  }

  /** Errors: throws when balancers must not send anybody here. */
  ready(): void {
    if (this.fencedOff) throw new Error('another node has taken this node’s actors over: restart it');
    this.#cluster?.ready();
  }

  /** Nodes with a lease; 1 when alone. */
  count(): number {
    return Math.max(1, this.#cluster?.nodes.length ?? 1);
  }

  resumed(session: string, generation: number): void {
    this.#cluster?.resumed(session, generation);
  }

  hintRevoked(): void {
    this.#cluster?.hintRevoked();
  }

  describe(address: string): ActorPlace | undefined {
    return this.#cluster?.describe(address);
  }

  /** A resume store that first asks the node which still has the session. */
  resumes(store: ResumeStore): ResumeStore {
    return {
      put: (record) => store.put(record),
      take: async (session, secretHash) => {
        const home = session.includes('.') ? session.slice(session.lastIndexOf('.') + 1) : '';
        if (this.#cluster !== undefined && secretHash !== undefined && home !== '' && home !== this.home) {
          const record = await this.#cluster.takeSession(home, session, secretHash);
          if (record !== undefined) return record as ResumeRecord;
        }
        return store.take(session, secretHash);
      },
    };
  }

  /** Other nodes give this one nothing more. */
  beginDrain(): void {
    this.#cluster?.beginDrain();
  }

  /** Gives the slots away, within a bound. */
  async giveAll(boundMs: number): Promise<void> {
    await this.#cluster?.giveAll(boundMs);
  }

  /** Takes no more messages; what waits is refused. */
  async stop(): Promise<void> {
    this.#router?.close();
    await this.#cluster?.close();
  }

  /** Gives up what is left, once everything is flushed. */
  async leave(): Promise<void> {
    if (!this.clustered) return;
    await createClusterStore(this.#options.database.urgent)
      .leave(this.bootId)
      .catch((error: unknown) =>
        this.#options.log.warn({ event: 'cluster.leave_failed', err: error }, 'the node could not leave; its lease ends by itself'),
      );
  }

  #join(parts: NodesParts, port: number): Promise<Cluster> {
    const { config, secrets, database, clock, log, metrics } = this.#options;
    const store = createClusterStore(database.urgent);
    const host =
      config.clusterAddress ?? (config.clusterHost === '0.0.0.0' || config.clusterHost === '::' ? hostname() : config.clusterHost);
    const router = this.#router as Router;
    const keys = keyPrints(secrets);
    return Cluster.start({
      bootId: this.bootId,
      name: this.name,
      version,
      key: linkKey(secrets.pepper),
      listen: { host: config.clusterHost, port },
      membership: (peerPort) => ({
        heartbeat: (bootId, state, load) => store.heartbeat(bootId, state, load),
        claim: (bootId, slots) => store.claim(bootId, slots),
        handOver: (from, to, slots) => store.handOver(from, to, slots),
        leave: (bootId) => store.leave(bootId),
        join: () =>
          store.join({
            bootId: this.bootId,
            name: this.name,
            version,
            configHash: this.#configHash(),
            peerHost: host,
            peerPort,
            httpUrl: `http://${host}:${config.port}`,
          }),
      }),
      createNet: createPeerNet,
      slots: this.slots,
      registry: parts.registry,
      router: () => router,
      bus: { ...this.bus, receive: this.#deliverEvent },
      clock,
      log: log.child({ component: 'cluster' }),
      load: () => ({ ...(parts.load() as object), keys }),
      conflict: (nodes) => {
        for (const { bootId, name, load } of nodes) {
          const kind = bootId === this.bootId ? undefined : keyConflict(keys, (load as { keys?: unknown } | null)?.keys);
          if (kind !== undefined)
            return `The running node ${name} has another configuration: it does not know this node's current ${kind} key, or this node does not know its own.`;
        }
        return undefined;
      },
      busy: parts.busy,
      moved: parts.moved,
      takeSession: async (id, secretHash) => this.#live?.surrender(id, secretHash),
      onRevoked: parts.onRevoked,
      onCutOff: (cut) => this.#live?.evacuate(cut),
      onGap: (slots) =>
        this.#live?.gap((userId) => {
          const slot = slotOf(`user:${userId}`);
          return slots === undefined ? this.slots.epochOf(slot) > 0 : !slots.has(slot);
        }),
      onDrainRequested: () => {
        this.#drainRequested = true;
        this.#onDrainRequested();
      },
      observe: meters(metrics),
      observeMoves: (kind, count) => metrics.slotMoves.with(kind).inc(count),
    });
  }

  /** What all nodes must share: two that differ in it would not accept each other's tokens, secrets or ciphertexts. */
  #configHash(): string {
    const { secrets, publicUrl, serverName } = this.#options;
    // Keys of which there may be several are looked at one by one: `key-print.ts`.
    return createHmac('sha256', secrets.pepper)
      .update(JSON.stringify([publicUrl, serverName]))
      .digest('base64url');
  }

  #measure(router: Router): void {
    const { metrics } = this.#options;
    metrics.slotsOwned.from(() => this.slots.count);
    metrics.forwardsWaiting.from(() => router.waiting);
    metrics.forwards.with('sent').from(() => router.counters.forwarded);
    metrics.forwards.with('moved').from(() => router.counters.moved);
    metrics.forwards.with('refused').from(() => router.counters.refused);
  }
}

function meters(metrics: Metrics): PeerMeters {
  const { peerErrors } = metrics;
  return {
    ...noMeters,
    errors: {
      unreachable: peerErrors.with('unreachable'),
      busy: peerErrors.with('busy'),
      late: peerErrors.with('late'),
      lost: peerErrors.with('lost'),
    },
    refused: metrics.peerRefused,
    gaps: metrics.peerGaps,
    roundTrip: metrics.peerRoundTripSeconds,
  };
}
