/**
 * The links of this node to all others: asks with answers, events numbered and acknowledged, hints. Each node dials each peer and
 * sends on the socket it dialled. A transport and nothing more: what bodies mean, who owns what and what to do about an error
 * is for the layer above. Why not through a broker: ADR 0011.
 */
import type { CancelTimer, Clock } from '../../actors/ports.ts';
import type { Logger } from '../../log.ts';
import { encodeTrusted } from '../../protocol/codec.ts';
import { EventLog } from './event-log.ts';
import { type Hello, lengthBytes, linkVersion } from './frames.ts';
import { eventFrame, Pieces } from './frame-writer.ts';
import {
  beatMs,
  defaultBounds,
  Heard,
  noMeters,
  type PeerAddress,
  type PeerBounds,
  PeerError,
  type PeerMeters,
  type PeerReply,
} from './peer.ts';
import { PeerDial } from './peer-dial.ts';
import { PeerListen } from './peer-listen.ts';
import { keyBytes } from './peer-tls.ts';

export type { PeerAddress } from './peer.ts';

export interface PeerNetOptions {
  readonly self: { readonly bootId: string; readonly name: string; readonly version: string };
  /** 32 bytes that every node of the cluster has, and nobody else. */
  readonly key: Uint8Array;
  /** Port 0 is a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly clock: Clock;
  readonly log: Logger;
  /** Told to the peers in every heartbeat. */
  leaseValid(): boolean;
  /**
   * A peer asks. `deadlineMs` is what was left when it sent. `answer` may be called several times, later too, the last time with
   * `last`; answers after that, or after the link broke, go nowhere. A throw is told to the asker as `lost`.
   */
  onAsk(from: string, body: unknown, deadlineMs: number, trace: string | undefined, answer: (value: unknown, last: boolean) => void): void;
  /** An event of a peer: each once, in the order of publishing. `body` decodes when called; kept, it keeps up to 64 KiB. `seq` is its publisher's number. */
  onEvent(from: string, userId: string, body: () => unknown, seq: number): void;
  /** Events of that peer up to that number may have been lost; called in their place. Also when it has published before it knew us. */
  onGap(from: string, upTo: number): void;
  onHint(from: string, body: unknown): void;
  /** The link that we dialled is open, or no longer. */
  onPeer?(bootId: string, up: boolean): void;
  readonly bounds?: Partial<PeerBounds>;
  readonly observe?: PeerMeters;
}

export interface PeerNet extends AsyncDisposable {
  readonly port: number;
  /** Whom to dial, all of them; ourselves are left out. Asks that wait for one who is gone fail with `lost`. */
  setPeers(peers: readonly PeerAddress[]): void;
  /**
   * Asks a peer. `reply` gets any number of values, the last one with `last`, or an error and nothing after it. An error may also
   * follow a value that was not the last: the deadline is for the last one. Deadlines are noticed within 50 ms.
   */
  ask(bootId: string, body: unknown, options: { readonly deadlineMs: number; readonly trace?: string }, reply: PeerReply): void;
  /** To all peers, also those that are away for a while. Encoded once. An event larger than a frame may be is a gap for all. Gives its number. */
  publish(userId: string, body: unknown): number;
  /** To all peers that can be reached, once, or not at all. */
  hint(body: unknown): void;
  /** What a peer last told of its lease, on its link or on ours; undefined when no frame came for two heartbeats. */
  peerLease(bootId: string): boolean | undefined;
  /** Whether any node that was heard within two heartbeats, a new one too, says that it has a lease. */
  anyLease(): boolean;
  /** Whether asks can be sent: the link we dialled is open, and a frame came within two heartbeats. */
  reachable(bootId: string): boolean;
}

const sweepMs = 50;
/** How long the end waits for peers to take what was written. */
const lingerMs = 1_000;

/** Listens, and dials nobody yet. Errors: the port cannot be had; a key that is not 32 bytes long. */
export async function createPeerNet(options: PeerNetOptions): Promise<PeerNet> {
  if (options.key.length !== keyBytes) throw new RangeError(`the key of the peer links has ${options.key.length} bytes, not ${keyBytes}`);
  const net = new Net(options);
  await net.start();
  return net;
}

class Net implements PeerNet {
  readonly #options: PeerNetOptions;
  readonly #bounds: PeerBounds;
  readonly #meters: PeerMeters;
  readonly #events: EventLog;
  readonly #pieces = new Pieces();
  readonly #heard = new Map<string, Heard>();
  readonly #dials = new Map<string, PeerDial>();
  readonly #listen: PeerListen;
  #port = 0;
  #beatTimer: CancelTimer | undefined;
  #sweepTimer: CancelTimer | undefined;
  #closed = false;

  constructor(options: PeerNetOptions) {
    this.#options = options;
    this.#bounds = { ...defaultBounds, ...options.bounds };
    this.#meters = options.observe ?? noMeters;
    this.#events = new EventLog(this.#bounds.events, this.#bounds.eventBytes);
    this.#listen = new PeerListen({
      clock: options.clock,
      bootId: options.self.bootId,
      key: options.key,
      hello: () => this.#hello(),
      log: options.log,
      pieces: this.#pieces,
      bounds: this.#bounds,
      meters: this.#meters,
      heardOf: (bootId) => this.#heardOf(bootId),
      onAsk: (from, body, deadlineMs, trace, answer) => options.onAsk(from, body, deadlineMs, trace, answer),
      onEvent: (from, userId, body, seq) => options.onEvent(from, userId, body, seq),
      onGap: (from, upTo) => options.onGap(from, upTo),
      onHint: (from, body) => options.onHint(from, body),
      onFault: (thrown) => this.#fault(thrown),
    });
  }

  async start(): Promise<void> {
    const { host, port } = this.#options.listen;
    this.#port = await this.#listen.listen(host, port);
    this.#armBeat();
  }

  get port(): number {
    return this.#port;
  }

  setPeers(peers: readonly PeerAddress[]): void {
    if (this.#closed) return;
    const wanted = new Map(peers.filter(({ bootId }) => bootId !== this.#options.self.bootId).map((peer) => [peer.bootId, peer]));
    for (const [bootId, dial] of this.#dials) {
      const { host, port } = wanted.get(bootId) ?? {};
      if (host === dial.address.host && port === dial.address.port) continue;
      this.#dials.delete(bootId);
      dial.stop();
    }
    for (const [bootId, address] of wanted) if (!this.#dials.has(bootId)) this.#dials.set(bootId, this.#dial(address));
    this.#trim();
  }

  ask(bootId: string, body: unknown, options: { readonly deadlineMs: number; readonly trace?: string }, reply: PeerReply): void {
    const dial = this.#dials.get(bootId);
    if (dial === undefined) {
      this.#meters.asks.inc();
      this.#meters.errors.unreachable.inc();
      reply(new PeerError('unreachable', 'no such peer'));
      return;
    }
    dial.ask(body, options.deadlineMs, options.trace, reply);
    if (this.#sweepTimer === undefined && dial.waiting > 0) this.#armSweep();
  }

  publish(userId: string, body: unknown): number {
    // Counted all the same: who becomes a peer later must learn that it missed something.
    if (this.#dials.size === 0) {
      this.#events.skip();
      return this.#events.last;
    }
    const frame = eventFrame(this.#events.last + 1, userId, body);
    if (frame.length - lengthBytes <= this.#bounds.frameBytes) {
      this.#events.append(frame);
    } else {
      this.#events.skip();
      this.#options.log.error({ sizeBytes: frame.length }, 'An event is larger than a frame may be; peers are told of a gap');
    }
    for (const dial of this.#dials.values()) dial.pump();
    return this.#events.last;
  }

  hint(body: unknown): void {
    const encoded = encodeTrusted(body);
    for (const dial of this.#dials.values()) dial.hint(encoded);
  }

  peerLease(bootId: string): boolean | undefined {
    const heard = this.#heard.get(bootId);
    return heard?.recently === true ? heard.leaseValid : undefined;
  }

  anyLease(): boolean {
    for (const heard of this.#heard.values()) if (heard.recently && heard.leaseValid) return true;
    return false;
  }

  reachable(bootId: string): boolean {
    return this.#dials.get(bootId)?.reachable ?? false;
  }

  /** Takes and dials nobody any more; what is written goes out first, for a second at most. Asks that wait fail with `lost`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#beatTimer?.();
    this.#sweepTimer?.();
    const dials = [...this.#dials.values()];
    this.#dials.clear();
    const ends = dials.map((dial) => new Promise<void>((resolve) => dial.stop(resolve)));
    const enough = this.#options.clock.after(lingerMs, () => {
      for (const dial of dials) dial.destroy();
      this.#listen.destroy();
    });
    await Promise.all([...ends, this.#listen.finish()]);
    enough();
  }

  #dial(address: PeerAddress): PeerDial {
    const { key, log, clock, onPeer } = this.#options;
    const { bootId, name } = address;
    return new PeerDial({
      address,
      key,
      hello: () => this.#hello(),
      log: log.child({ nodeId: name, bootId }),
      clock,
      events: this.#events,
      heard: this.#heardOf(bootId),
      pieces: this.#pieces,
      bounds: this.#bounds,
      meters: this.#meters,
      onUp: (up) => onPeer?.call(this.#options, bootId, up),
      onAck: () => this.#trim(),
      onFault: (thrown) => this.#fault(thrown),
    });
  }

  #hello(): Omit<Hello, 'to' | 'has'> {
    const { bootId, name, version } = this.#options.self;
    return { link: linkVersion, boot: bootId, name, version, lease: this.#options.leaseValid() };
  }

  #heardOf(bootId: string): Heard {
    let heard = this.#heard.get(bootId);
    if (heard === undefined) {
      heard = new Heard();
      this.#heard.set(bootId, heard);
    }
    return heard;
  }

  /** Lets go of the events that all peers have. */
  #trim(): void {
    let acked = this.#events.last;
    for (const dial of this.#dials.values()) acked = Math.min(acked, dial.acked);
    this.#events.trim(acked);
  }

  #armBeat(): void {
    this.#beatTimer = this.#options.clock.after(beatMs, () => {
      this.#armBeat();
      const leaseValid = this.#options.leaseValid();
      for (const heard of this.#heard.values()) heard.silent += 1;
      for (const dial of this.#dials.values()) dial.beat(leaseValid);
      this.#listen.beat(leaseValid);
      for (const [bootId, heard] of this.#heard) if (heard.links === 0 && !this.#dials.has(bootId)) this.#heard.delete(bootId);
    });
  }

  #armSweep(): void {
    this.#sweepTimer = this.#options.clock.after(sweepMs, () => {
      this.#sweepTimer = undefined;
      const now = this.#options.clock.monotonic();
      let waiting = 0;
      for (const dial of this.#dials.values()) {
        dial.sweep(now);
        waiting += dial.waiting;
      }
      if (waiting > 0 && !this.#closed) this.#armSweep();
    });
  }

  #fault(thrown: unknown): void {
    this.#options.log.error({ err: thrown }, 'What a peer sent could not be handled');
  }
}
