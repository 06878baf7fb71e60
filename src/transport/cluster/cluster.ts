/**
 * This node among others: joins the lease, the links, the placement of slots and the forwarding of messages, and says when the node may not go
 * on. `app.ts` makes the parts that stand on both sides (registry, router, bus) and gives them in.
 */
import type { CancelTimer, Clock, Membership } from '../../actors/ports.ts';
import type { Message } from '../../actors/runtime/message.ts';
import type { Registry } from '../../actors/runtime/registry.ts';
import type { ForwardFailure, Router } from '../../actors/runtime/router.ts';
import type { SlotTable } from '../../actors/runtime/slot-table.ts';
import { slotCount, slotOf } from '../../actors/runtime/slots.ts';
import type { Logger } from '../../log.ts';
import type { TmcpError } from '../../protocol/errors.ts';
import type { ClusterBus } from './cluster-bus.ts';
import { EventTrail } from './event-trail.ts';
import { type Answer, Forwarding, type WireMessage } from './forwarding.ts';
import { type ClusterView, Lease } from './lease.ts';
import type { PeerAddress, PeerNet, PeerNetOptions } from './peer-net.ts';
import { Placement } from './placement.ts';

export interface ClusterOptions {
  readonly bootId: string;
  readonly name: string;
  readonly version: string;
  /** 32 bytes that all nodes share. */
  readonly key: Uint8Array;
  readonly listen: { readonly host: string; readonly port: number };
  /** The membership of this node, once its port is known. */
  readonly membership: (peerPort: number) => Membership;
  readonly createNet: (options: PeerNetOptions) => Promise<PeerNet>;
  readonly slots: SlotTable;
  readonly registry: Registry;
  readonly router: () => Router;
  readonly bus: ClusterBus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly load: () => unknown;
  /** Why this node cannot work beside these; asked once, before it takes anything. */
  readonly conflict: (nodes: ClusterView['nodes']) => string | undefined;
  /** Why an operation is turned away here, when this node is too busy for it. */
  readonly busy: (operation: string) => TmcpError | undefined;
  /** Timers and effects: these slots are no longer this node's, or others are now. */
  readonly moved: (lost: ReadonlySet<number>) => void;
  /** Lets go of a session that another node resumes; undefined when it is not here. */
  readonly takeSession: (id: string, secretHash: string) => Promise<unknown>;
  /** Tokens were withdrawn somewhere: read them. */
  readonly onRevoked: () => void;
  /** This node lost its lease while others have theirs: its clients must go (true), or may come again (false). */
  readonly onCutOff: (cut: boolean) => void;
  /**
   * Events of another node were lost on their way: sessions of users who live elsewhere must pull afresh. `slots`: only of users of these, which a
   * node owned that is dead, and may have died before it told what it had done.
   */
  readonly onGap: (slots?: ReadonlySet<number>) => void;
  readonly onDrainRequested: () => void;
  readonly observe?: PeerNetOptions['observe'];
  readonly observeMoves?: (kind: 'claimed' | 'given' | 'received' | 'lost', count: number) => void;
}

export interface ActorPlace {
  readonly address: string;
  readonly slot: number;
  readonly state: string;
  readonly epoch: number;
  readonly node: string;
  readonly inMemory: boolean;
  readonly mailbox: number;
  readonly seq: number;
  readonly lastUsedAt: number | null;
  /** When it last wrote, since it is in memory; null: not yet. */
  readonly lastFlushedAt: number | null;
}

const tickMs = 500;
/** How long after its lease a node that is cut off keeps its clients. */
const cutOffAfterMs = 1_500;
const failuresOfAnOutage = 2;
/** How long reads go on without a lease: nodes that nobody here has heard of may have come meanwhile. */
const longestOutageMs = 60_000;
const mostLeft = 1_000;
const smallAskMs = 2_000;

export class Cluster {
  /** What this node has heard of all nodes' events. */
  readonly trail: EventTrail;
  readonly #options: ClusterOptions;
  readonly #net: PeerNet;
  readonly #lease: Lease;
  readonly #placement: Placement;
  readonly #forwarding: Forwarding;
  #view: ClusterView | undefined;
  #conflict: string | undefined;
  readonly #membership: Membership;
  #outage = false;
  #cut = false;
  #tick: CancelTimer | undefined;
  #drainAsked = false;
  /** Nodes that ended in order. */
  readonly #left = new Set<string>();

  /** Opens the links, joins, and takes what nobody has. Errors: `NodeRefusedError`; the database's. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    let cluster: Cluster | undefined;
    const trail = new EventTrail(options.bootId, options.clock);
    const net = await options.createNet({
      self: { bootId: options.bootId, name: options.name, version: options.version },
      key: options.key,
      listen: options.listen,
      clock: options.clock,
      log: options.log,
      leaseValid: () => (cluster === undefined ? false : cluster.#lease.holds()),
      onAsk: (from, body, deadlineMs, trace, answer) => {
        if (cluster === undefined) answer(['starting'], true);
        else cluster.#asked(from, body, deadlineMs, trace, answer);
      },
      onEvent: (origin, userId, body, seq) => {
        const stamp = { origin, seq };
        options.bus.receive(userId, body, stamp);
        trail.note(stamp, userId);
      },
      onGap: (from, upTo) => {
        trail.gap(from, upTo);
        options.onGap();
      },
      onHint: (from, body) => {
        if ((body as readonly unknown[])[0] === 'bye') cluster?.left(from);
        else options.onRevoked();
      },
      ...(options.observe === undefined ? {} : { observe: options.observe }),
    });
    cluster = new Cluster(options, net, trail, options.membership(net.port));
    try {
      await cluster.#lease.start();
      if (cluster.#conflict !== undefined) {
        await cluster.#membership.leave(options.bootId);
        throw new Error(cluster.#conflict);
      }
      await cluster.#placement.tend();
      cluster.#ticking();
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  private constructor(options: ClusterOptions, net: PeerNet, trail: EventTrail, membership: Membership) {
    this.trail = trail;
    const { bootId, clock, log, slots, registry, moved } = options;
    this.#options = options;
    this.#membership = membership;
    this.#net = net;
    this.#lease = new Lease({
      bootId,
      membership,
      clock,
      log,
      load: () => this.#load(),
      onView: (view, sentAt) => this.#seen(view, sentAt),
    });
    this.#forwarding = new Forwarding((node, body, given, reply) => net.ask(node, body, given, reply), {
      onFault: (error, type, requestId) =>
        log.error({ event: 'cluster.fault', operation: type, requestId, err: error.cause ?? error }, 'a forwarded request failed'),
      busy: options.busy,
    });
    this.#placement = new Placement({
      bootId,
      name: options.name,
      membership,
      lease: this.#lease,
      slots,
      registry,
      router: options.router(),
      clock,
      log,
      moved,
      grant: (node, granted) => net.ask(node, ['g', granted], { deadlineMs: smallAskMs }, () => {}),
      ...(options.observeMoves === undefined ? {} : { observe: { moves: options.observeMoves } }),
    });
  }

  /** Where other nodes reach this one. */
  get peerPort(): number {
    return this.#net.port;
  }

  /** Nodes with a lease, as of the last renewal. */
  get nodes(): ClusterView['nodes'] {
    return this.#view?.nodes ?? [];
  }

  get leaseAgeMs(): number {
    return this.#lease.ageMs;
  }

  /** This node may act for its slots: nobody else can have taken them, or nobody else can take anything at the moment. */
  holds(): boolean {
    return this.#lease.holds() || this.#outage;
  }

  /** Rejects when balancers must not send anybody here. */
  ready(): void {
    if (!this.#lease.holds() && !this.#outage) throw new Error('this node has lost its lease');
  }

  forward(node: string, address: string, message: Message, leftMs: number, failed: (why: ForwardFailure) => void): void {
    this.#forwarding.send(node, address, message, leftMs, (why) => {
      if (why === 'unreachable') this.#placement.unreachable(slotOf(address));
      failed(why);
    });
  }

  settle(slot: number): void {
    this.#placement.settle(slot);
  }

  fenced(address: string): void {
    this.#placement.fenced(slotOf(address));
  }

  resumed(session: string, generation: number): void {
    this.#forwarding.resumed(session, generation);
  }

  broadcast(userId: string, body: unknown): void {
    this.trail.note({ origin: this.#options.bootId, seq: this.#net.publish(userId, body) }, userId);
  }

  /** A node says that it ends, and that all it had to tell is told. */
  left(bootId: string): void {
    this.#left.add(bootId);
    if (this.#left.size > mostLeft) this.#left.delete(this.#left.keys().next().value as string);
  }

  /** Tells other nodes to look for withdrawn tokens now. */
  hintRevoked(): void {
    this.#net.hint(['revoked']);
  }

  /** Asks the node that a session's id names for the session. Undefined: it is not there, or the node does not answer. */
  takeSession(home: string, id: string, secretHash: string): Promise<unknown> {
    const node = this.nodes.find(({ bootId }) => bootId !== this.#options.bootId && homeOf(bootId) === home);
    if (node === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#net.ask(node.bootId, ['t', id, secretHash], { deadlineMs: smallAskMs }, (error, value) =>
        resolve(error === null ? ((value as [unknown])[0] ?? undefined) : undefined),
      );
    });
  }

  /** Where an actor is, and how it is. */
  describe(address: string): ActorPlace {
    const { slots, registry, name } = this.#options;
    const slot = slotOf(address);
    const known = registry.find(address);
    return {
      address,
      slot,
      state: slots.stateOf(slot),
      epoch: slots.newestEpoch(slot),
      node: name,
      inMemory: known !== undefined,
      mailbox: known?.depth ?? 0,
      seq: known?.seq ?? 0,
      lastUsedAt: known?.lastUsedAt ?? null,
      lastFlushedAt: known === undefined || known.lastFlushedAt === 0 ? null : known.lastFlushedAt,
    };
  }

  /** From here on the node takes no slots; balancers and other nodes see that it drains. */
  beginDrain(): void {
    this.#lease.state = 'draining';
    void this.#lease.renew();
  }

  /** Gives all slots to other nodes, each once its actors have come to rest. */
  async giveAll(boundMs: number): Promise<void> {
    await this.#lease.renew();
    await this.#placement.giveAll(boundMs);
  }

  /** Stops taking part; nothing can be delivered afterwards. The membership is left by `leave`. */
  async close(): Promise<void> {
    this.#tick?.();
    // The links still carry what was written to them.
    this.#net.hint(['bye']);
    this.#placement.close();
    this.#lease.close();
    await this.#net[Symbol.asyncDispose]();
  }

  #ticking(): void {
    this.#tick = this.#options.clock.after(tickMs, () => {
      this.#look();
      this.#ticking();
    });
  }

  /** Whether the lease is over, and if so, whether it is only us. */
  #look(): void {
    const held = this.#lease.holds();
    const peers = this.nodes.filter(({ bootId }) => bootId !== this.#options.bootId);
    // While no node has a lease none can take a slot: what is in memory is still the newest there is.
    // A process that stood still has not failed to renew: it must ask before it believes that.
    this.#outage =
      !held &&
      this.#lease.failures >= failuresOfAnOutage &&
      this.#lease.overForMs < longestOutageMs &&
      !this.#net.anyLease() &&
      peers.every(({ bootId }) => this.#net.peerLease(bootId) === false);
    const cut = !held && !this.#outage && this.#lease.overForMs > cutOffAfterMs;
    if (cut === this.#cut) return;
    this.#cut = cut;
    this.#options.log.warn(
      { event: 'cluster.cut_off', state: cut ? 'cut off' : 'back' },
      'the lease was lost while others have theirs, or is back',
    );
    this.#options.onCutOff(cut);
  }

  #load(): unknown {
    const wants = this.#placement.wanted();
    return { ...(this.#options.load() as object), ...(wants.length === 0 ? {} : { wants }) };
  }

  #seen(view: ClusterView, sentAt: number): void {
    if (this.#view === undefined) this.#conflict = this.#options.conflict(view.nodes);
    if (this.#conflict !== undefined) return;
    this.#mourn(view);
    this.#view = view;
    const peers: PeerAddress[] = [];
    for (const { bootId, name, peerHost, peerPort } of view.nodes) {
      if (bootId !== this.#options.bootId) peers.push({ bootId, name, host: peerHost, port: peerPort });
    }
    this.#net.setPeers(peers);
    this.trail.keep(new Set(view.nodes.map(({ bootId }) => bootId)));
    this.#forwarding.keep(new Set(peers.map(({ bootId }) => bootId)));
    this.#placement.learn(view, sentAt);
    void this.#placement
      .tend()
      .catch((error: unknown) => this.#options.log.error({ event: 'cluster.placement_failed', err: error }, 'slots could not be placed'));
    if (view.drainRequested && !this.#drainAsked) {
      this.#drainAsked = true;
      this.#options.onDrainRequested();
    }
  }

  /** Nodes that died, as far as they were known: what they published last may not have arrived. */
  #mourn(view: ClusterView): void {
    const live = new Set(view.nodes.map(({ bootId }) => bootId));
    const dead = new Set(this.nodes.map(({ bootId }) => bootId).filter((bootId) => !live.has(bootId) && !this.#left.has(bootId)));
    if (dead.size === 0) return;
    const { slots, onGap, log } = this.#options;
    const theirs = new Set<number>();
    for (let slot = 0; slot < slotCount; slot++) if (dead.has(slots.ownerOf(slot) ?? '')) theirs.add(slot);
    log.warn({ event: 'cluster.node_gone', count: theirs.size }, 'a node is gone without a word; sessions of its users pull afresh');
    if (theirs.size > 0) onGap(theirs);
  }

  #asked(from: string, body: unknown, deadlineMs: number, trace: string | undefined, answer: Answer): void {
    const [kind, ...rest] = body as [string, ...unknown[]];
    switch (kind) {
      case 'm':
        this.#forwarding.receive(
          from,
          rest[0] as WireMessage,
          trace,
          this.#options.clock.monotonic() + deadlineMs,
          answer,
          (address, message, moved) => this.#options.router().arrive(from, address, message, deadlineMs, moved),
        );
        break;
      case 'g':
        this.#placement.granted(rest[0] as { slot: number; epoch: number }[]);
        answer(['ok'], true);
        break;
      case 't':
        void this.#options.takeSession(rest[0] as string, rest[1] as string).then(
          (record) => answer([record ?? null], true),
          () => answer([null], true),
        );
        break;
      case 'd':
        answer([this.describe(rest[0] as string)], true);
        break;
      default:
        answer(['unknown'], true);
    }
  }
}

/** What a session's id says of the node that has it. */
export function homeOf(bootId: string): string {
  return bootId.replaceAll('-', '').slice(0, 8);
}
