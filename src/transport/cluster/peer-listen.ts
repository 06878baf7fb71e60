/**
 * The links that peers dialled to us: their asks, events and hints come in, our answers go out. Who holds the key may come; what it
 * says it is must be the identity it proved the key with. Per peer it is known which of its events has come last, also
 * while it is away, so that each is handed on once and in order.
 */
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Clock } from '../../actors/ports.ts';
import type { Logger } from '../../log.ts';
import { type Chunk, FrameError, frameKind, type Hello, readAsk, readBeat, readBody, readEvent, readHello, readSeq } from './frames.ts';
import type { Pieces } from './frame-writer.ts';
import { cutBeats, type Heard, type PeerBounds, type PeerMeters } from './peer.ts';
import { PeerLink } from './peer-link.ts';
import { listenTls } from './peer-tls.ts';

/** What comes in. None of these may throw: what one throws is told to `onFault`, and an ask answered with a failure. */
export interface PeerListenOptions {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly bootId: string;
  readonly key: Uint8Array;
  readonly hello: () => Omit<Hello, 'to' | 'has'>;
  readonly log: Logger;
  readonly pieces: Pieces;
  readonly bounds: PeerBounds;
  readonly meters: PeerMeters;
  readonly heardOf: (bootId: string) => Heard;
  readonly onAsk: (
    from: string,
    body: unknown,
    deadlineMs: number,
    trace: string | undefined,
    answer: (value: unknown, last: boolean) => void,
  ) => void;
  readonly onEvent: (from: string, userId: string, body: () => unknown, seq: number) => void;
  readonly onGap: (from: string, upTo: number) => void;
  readonly onHint: (from: string, body: unknown) => void;
  readonly onFault: (thrown: unknown) => void;
}

/** A peer acknowledges after so many events or bytes, and else at its next beat. */
const ackEvents = 256;
const ackBytes = 256 * 1024;
/** Peers whose last event is remembered. One that is forgotten, because so many came since, is told of a gap. */
const remembered = 1_024;
const handshakeMs = 2_000;
const connectionsAtMost = 1_024;
/** Connections of one address that have not shown the key: whoever has none cannot keep the others out. */
const strangersAtMost = 16;
const refusalsLoggedEveryMs = 1_000;

export class PeerListen {
  readonly #options: PeerListenOptions;
  readonly #server: Server;
  readonly #identities = new WeakMap<object, string>();
  readonly #links = new Set<Inbound>();
  readonly #sockets = new Set<Socket>();
  /** Sockets that have not shown the key, and how many each address has of them. */
  readonly #unknown = new Set<Socket>();
  readonly #strangers = new Map<string, number>();
  #refusalLoggedAt = Number.NEGATIVE_INFINITY;
  /** The last event that came, by publisher; those heard of last stand last. */
  readonly #received = new Map<string, number>();

  constructor(options: PeerListenOptions) {
    this.#options = options;
    const tls = listenTls(options.key, (socket, identity) => this.#identities.set(socket, identity));
    // A handshake is bounded by Node's own timer: there is no socket of ours to count beats for yet.
    this.#server = createServer({ ...tls, handshakeTimeout: handshakeMs }, (socket) => this.#accept(socket));
    this.#server.maxConnections = connectionsAtMost;
    this.#server.on('connection', (socket: Socket) => {
      const address = socket.remoteAddress ?? '';
      const strangers = (this.#strangers.get(address) ?? 0) + 1;
      if (strangers > strangersAtMost) {
        options.meters.refused.inc();
        socket.destroy();
        return;
      }
      this.#strangers.set(address, strangers);
      this.#sockets.add(socket);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        this.#known(socket, address);
      });
      this.#unknown.add(socket);
    });
    // The socket of the handshake and the one under it are two objects; the address and the port name both.
    this.#server.on('secureConnection', (socket: TLSSocket) => {
      for (const raw of this.#unknown)
        if (raw.remotePort === socket.remotePort && raw.remoteAddress === socket.remoteAddress)
          this.#known(raw, socket.remoteAddress ?? '');
    });
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException) => {
      options.meters.refused.inc();
      const now = options.clock.monotonic();
      if (now - this.#refusalLoggedAt < refusalsLoggedEveryMs) return;
      this.#refusalLoggedAt = now;
      options.log.info({ reason: error.code ?? error.message }, 'Connections to the peer port are refused');
    });
  }

  /** Begins to listen; the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.removeListener('error', reject);
        this.#server.on('error', (err) => this.#options.log.error({ err }, 'The peer port has an error'));
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Each half second: acknowledges, says that we are here, and cuts the links whose peer is not. */
  beat(leaseValid: boolean): void {
    for (const inbound of this.#links) inbound.beat(leaseValid);
  }

  /** Takes nobody any more, and ends the links after what was written. Resolves when all sockets are gone. */
  async finish(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const { link } of [...this.#links]) link.finish('we end');
    await closed;
  }

  /** Lets go of the sockets that `finish` waits for. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #known(socket: Socket, address: string): void {
    if (!this.#unknown.delete(socket)) return;
    const left = (this.#strangers.get(address) ?? 1) - 1;
    if (left > 0) this.#strangers.set(address, left);
    else this.#strangers.delete(address);
  }

  #accept(socket: TLSSocket): void {
    const identity = this.#identities.get(socket);
    if (identity === undefined) {
      this.#options.meters.refused.inc();
      socket.destroy();
      return;
    }
    const inbound = new Inbound(socket, identity, this.#options, this.#received, {
      opened: () => {
        // The newest link of a peer is the one it uses; of the older nothing more is read.
        for (const other of this.#links) if (other !== inbound && other.from === identity) other.link.close('replaced');
      },
      closed: () => this.#links.delete(inbound),
    });
    this.#links.add(inbound);
  }
}

/** One link that a peer dialled. */
class Inbound {
  readonly from: string;
  readonly link: PeerLink;
  readonly #options: PeerListenOptions;
  readonly #received: Map<string, number>;
  readonly #opened: () => void;
  #heard: Heard | undefined;
  #last = 0;
  #acked = 0;
  #unackedBytes = 0;
  #paused = false;

  constructor(
    socket: TLSSocket,
    from: string,
    options: PeerListenOptions,
    received: Map<string, number>,
    on: { readonly opened: () => void; readonly closed: () => void },
  ) {
    this.from = from;
    this.#options = options;
    this.#received = received;
    this.#opened = on.opened;
    this.link = new PeerLink({
      socket,
      pieces: options.pieces,
      bounds: options.bounds,
      meters: options.meters,
      onFrame: (chunk, start, end) => this.#onFrame(chunk, start, end),
      onClosed: (reason, fault) => {
        if (fault) {
          options.meters.refused.inc();
          options.log.warn({ bootId: from, reason }, 'A link of a peer was refused');
        }
        on.closed();
      },
      onTaken: () => this.#mayRead(),
    });
  }

  beat(leaseValid: boolean): void {
    this.link.silent += 1;
    if (this.link.silent > cutBeats) {
      this.link.close('silent');
    } else if (this.#heard !== undefined) {
      this.#ack();
      this.link.writer.beat(leaseValid);
    }
  }

  #onFrame(chunk: Chunk, start: number, end: number): void {
    const kind = chunk.bytes[start];
    if (this.#heard === undefined) {
      if (kind !== frameKind.hello) throw new FrameError('a frame before the hello');
      this.#onHello(readHello(chunk, start, end));
      return;
    }
    switch (kind) {
      case frameKind.ask:
        return this.#onAsk(chunk, start, end);
      case frameKind.event:
        return this.#onEvent(chunk, start, end);
      case frameKind.beat:
        this.#heard.leaseValid = readBeat(chunk, start, end);
        return;
      case frameKind.gap:
        return this.#onGap(readSeq(chunk, start, end));
      case frameKind.hint: {
        const body = readBody(chunk, start, end);
        return this.#guarded(() => this.#options.onHint(this.from, body));
      }
      default:
        throw new FrameError(`a frame of kind ${kind} on a link that a peer dialled`);
    }
  }

  #onHello(hello: Hello): void {
    const { heardOf, bootId } = this.#options;
    if (hello.boot !== this.from) throw new FrameError('a hello of another node than the key was proved for');
    const known = this.#received.get(this.from);
    // Also to one who means another: it learns from our hello that it dialled an address of old.
    this.link.writer.hello({ ...this.#options.hello(), ...(known === undefined ? {} : { has: known }) });
    if (hello.to !== bootId) {
      this.link.finish('it means another node');
      return;
    }
    this.#opened();
    this.#last = known ?? 0;
    this.#acked = this.#last;
    this.#remember(this.#last);
    this.#heard = heardOf(this.from);
    this.#heard.leaseValid = hello.lease;
    this.link.admit(this.#heard);
  }

  #onAsk(chunk: Chunk, start: number, end: number): void {
    const { id, deadlineMs, trace, body } = readAsk(chunk, start, end);
    let ended = false;
    const answer = (value: unknown, last: boolean): void => {
      if (ended || this.link.closed) return;
      ended = last;
      if (!this.link.writer.answer(id, last, value)) {
        ended = true;
        this.link.writer.failed(id);
        this.#options.log.error('An answer to a peer is larger than a frame may be');
      }
      if (!this.#paused && this.link.writer.unsentBytes > this.#options.bounds.unsentBytes) {
        this.#paused = true;
        this.link.pause(true);
      }
    };
    try {
      this.#options.onAsk(this.from, body, deadlineMs, trace, answer);
    } catch (thrown) {
      this.#options.onFault(thrown);
      if (ended || this.link.closed) return;
      ended = true;
      this.link.writer.failed(id);
    }
  }

  #onEvent(chunk: Chunk, start: number, end: number): void {
    const { seq, userId, bodyAt } = readEvent(chunk, start, end);
    if (seq !== this.#last + 1) throw new FrameError(`event ${seq} after event ${this.#last}`);
    this.#last = seq;
    this.#received.set(this.from, seq);
    this.#unackedBytes += end - start;
    this.#guarded(() => this.#options.onEvent(this.from, userId, () => readBody(chunk, bodyAt - 1, end), seq));
    if (seq - this.#acked >= ackEvents || this.#unackedBytes >= ackBytes) this.#ack();
  }

  #onGap(next: number): void {
    if (next <= this.#last + 1) throw new FrameError('a gap in what has come');
    this.#last = next - 1;
    this.#received.set(this.from, this.#last);
    this.#options.meters.gaps.inc();
    this.#guarded(() => this.#options.onGap(this.from, this.#last));
  }

  #ack(): void {
    if (this.#acked === this.#last || this.link.closed) return;
    this.#acked = this.#last;
    this.#unackedBytes = 0;
    this.link.writer.ack(this.#last);
  }

  #mayRead(): void {
    if (!this.#paused || this.link.writer.unsentBytes > this.#options.bounds.unsentBytes) return;
    this.#paused = false;
    this.link.pause(false);
  }

  /** Puts the peer last in line to be forgotten. */
  #remember(seq: number): void {
    this.#received.delete(this.from);
    this.#received.set(this.from, seq);
    for (const bootId of this.#received.keys()) {
      if (this.#received.size <= remembered) break;
      this.#received.delete(bootId);
    }
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (thrown) {
      this.#options.onFault(thrown);
    }
  }
}
