/**
 * Our link to one peer: dialled, and dialled again until the peer is dropped. Asks, events and hints go out on it, answers and
 * acknowledgements come back. An ask on a link that is not open fails at once; nothing waits for a connection. Events wait in
 * the log, and the peer's hello says from which one on it needs them.
 */
import { connect, type TLSSocket } from 'node:tls';
import type { CancelTimer, Clock } from '../../actors/ports.ts';
import { jitter } from '../../ids.ts';
import type { Logger } from '../../log.ts';
import type { EventLog } from './event-log.ts';
import { answerFlag, type Chunk, FrameError, frameKind, type Hello, readAnswer, readBeat, readHello, readSeq } from './frames.ts';
import type { Pieces } from './frame-writer.ts';
import {
  cutBeats,
  type Heard,
  type PeerAddress,
  type PeerBounds,
  PeerError,
  type PeerErrorKind,
  type PeerMeters,
  type PeerReply,
  silentBeats,
} from './peer.ts';
import { PeerLink } from './peer-link.ts';
import { dialTls } from './peer-tls.ts';
import { WaitingAsks } from './waiting-asks.ts';

export interface PeerDialOptions {
  readonly address: PeerAddress;
  readonly key: Uint8Array;
  readonly hello: () => Omit<Hello, 'to' | 'has'>;
  readonly log: Logger;
  readonly clock: Clock;
  readonly events: EventLog;
  readonly heard: Heard;
  readonly pieces: Pieces;
  readonly bounds: PeerBounds;
  readonly meters: PeerMeters;
  readonly onUp: (up: boolean) => void;
  readonly onAck: () => void;
  /** Called with what a caller's reply threw. */
  readonly onFault: (thrown: unknown) => void;
}

const firstBackoffMs = 100;
const lastBackoffMs = 2_000;

export class PeerDial {
  readonly #options: PeerDialOptions;
  readonly #asks: WaitingAsks;
  #link: PeerLink | undefined;
  #open = false;
  #attempt = 0;
  #again: CancelTimer | undefined;
  #stopped = false;
  /** The last event the peer has for certain, and the last one laid into the socket. */
  #acked: number;
  #sent = 0;

  constructor(options: PeerDialOptions) {
    this.#options = options;
    this.#asks = new WaitingAsks(options.meters, options.onFault);
    // What was published before this node was a peer was not for it.
    this.#acked = options.events.last;
    this.#dial();
  }

  get address(): PeerAddress {
    return this.#options.address;
  }

  /** The number of the last event that the peer acknowledged, or that was never for it. */
  get acked(): number {
    return this.#acked;
  }

  get waiting(): number {
    return this.#asks.size;
  }

  /** Open, and not silent for two beats. */
  get reachable(): boolean {
    return this.#open && this.#link !== undefined && this.#link.silent <= silentBeats;
  }

  ask(body: unknown, deadlineMs: number, trace: string | undefined, reply: PeerReply): void {
    const { bounds, meters, clock } = this.#options;
    const link = this.#link;
    meters.asks.inc();
    if (deadlineMs <= 0) return this.#refuse(reply, 'late', 'the deadline has passed');
    if (!this.reachable || link === undefined) return this.#refuse(reply, 'unreachable', 'no link to the peer');
    if (this.#asks.size >= bounds.asksInFlight) return this.#refuse(reply, 'busy', 'too many asks are under way');
    if (link.writer.unsentBytes >= bounds.unsentBytes) return this.#refuse(reply, 'busy', 'too many bytes wait for the peer');
    if (!link.writer.ask(this.#asks.next, deadlineMs, trace, body)) return this.#refuse(reply, 'busy', 'larger than a frame may be');
    const now = clock.monotonic();
    this.#asks.add(reply, now, now + deadlineMs);
  }

  hint(encoded: Uint8Array): void {
    const link = this.#openLink();
    if (link !== undefined && link.writer.unsentBytes < this.#options.bounds.unsentBytes) link.writer.hint(encoded);
  }

  /** Sends the events that the peer has not been sent, as far as they find room. */
  pump(): void {
    const link = this.#openLink();
    if (link === undefined) return;
    const { events, bounds } = this.#options;
    while (this.#sent < events.last && link.writer.unsentBytes < bounds.unsentBytes) {
      if (this.#sent + 1 < events.first) {
        this.#sent = events.first - 1;
        link.writer.gap(events.first);
      } else {
        this.#sent += 1;
        link.writer.raw(events.frame(this.#sent));
      }
    }
  }

  sweep(now: number): void {
    if (this.#asks.size > 0) this.#asks.sweep(now);
  }

  /** Each half second: says that we are here, and cuts a link whose peer is not. */
  beat(leaseValid: boolean): void {
    const link = this.#link;
    if (link === undefined) return;
    link.silent += 1;
    if (link.silent > cutBeats) link.close('silent');
    else if (this.#open) link.writer.beat(leaseValid);
  }

  /** Drops the peer: what waits fails with `lost`. With `finished`, what was written goes out first. */
  stop(finished?: () => void): void {
    this.#stopped = true;
    this.#again?.();
    const link = this.#link;
    if (link === undefined) finished?.();
    else if (finished === undefined) link.close('the peer is gone');
    else link.finish('we end', finished);
  }

  /** Lets go of a link that `stop` did not end. */
  destroy(): void {
    this.#link?.destroy();
  }

  #openLink(): PeerLink | undefined {
    return this.#open ? this.#link : undefined;
  }

  #refuse(reply: PeerReply, kind: PeerErrorKind, detail: string): void {
    this.#options.meters.errors[kind].inc();
    reply(new PeerError(kind, detail));
  }

  #dial(): void {
    const { address, key, hello, pieces, bounds, meters } = this.#options;
    const socket: TLSSocket = connect({ ...dialTls(key, hello().boot), host: address.host, port: address.port });
    const link: PeerLink = new PeerLink({
      socket,
      pieces,
      bounds,
      meters,
      onFrame: (chunk, start, end) => this.#onFrame(link, chunk, start, end),
      onClosed: (reason, fault) => this.#onClosed(link, reason, fault),
      onTaken: () => this.pump(),
    });
    this.#link = link;
    socket.once('secureConnect', () => {
      if (!link.closed) link.writer.hello({ ...hello(), to: address.bootId });
    });
  }

  #onFrame(link: PeerLink, chunk: Chunk, start: number, end: number): void {
    const kind = chunk.bytes[start];
    if (!this.#open) {
      if (kind !== frameKind.hello) throw new FrameError('a frame before the hello');
      this.#onHello(link, readHello(chunk, start, end));
      return;
    }
    if (kind === frameKind.answer) {
      const { id, flags, value } = readAnswer(chunk, start, end);
      if ((flags & answerFlag.failed) !== 0) this.#asks.fail(id, 'lost', 'the peer failed');
      else this.#asks.answer(id, value, (flags & answerFlag.last) !== 0, this.#options.clock.monotonic());
    } else if (kind === frameKind.ack) {
      const seq = readSeq(chunk, start, end);
      if (seq > this.#sent) throw new FrameError('an acknowledgement of what was not sent');
      this.#acked = Math.max(this.#acked, seq);
      this.#options.onAck();
    } else if (kind === frameKind.beat) {
      this.#options.heard.leaseValid = readBeat(chunk, start, end);
      this.#attempt = 0;
    } else {
      throw new FrameError(`a frame of kind ${kind} on a link that we dialled`);
    }
  }

  #onHello(link: PeerLink, hello: Hello): void {
    const { address, events, heard, log, onUp } = this.#options;
    if (hello.boot !== address.bootId) {
      link.close('another node has this address now', true);
      return;
    }
    const has = hello.has ?? 0;
    if (has > events.last) throw new FrameError('a hello that knows events of tomorrow');
    this.#open = true;
    link.admit(heard);
    heard.leaseValid = hello.lease;
    this.#acked = Math.max(this.#acked, has);
    this.#sent = has;
    log.info({ version: hello.version }, 'The link to a peer is open');
    onUp(true);
    this.pump();
  }

  #onClosed(link: PeerLink, reason: string, fault: boolean): void {
    if (this.#link !== link) return;
    const wasOpen = this.#open;
    this.#open = false;
    const { log, clock, meters } = this.#options;
    if (fault) meters.refused.inc();
    if (!this.#stopped) {
      if (wasOpen) log.warn({ reason }, 'The link to a peer is down');
      else if (this.#attempt === 0) log.warn({ reason }, 'A peer cannot be reached');
      const most = Math.min(lastBackoffMs, firstBackoffMs * 2 ** (this.#attempt + 1));
      this.#attempt += 1;
      this.#link = undefined;
      this.#again = clock.after(firstBackoffMs + jitter() * (most - firstBackoffMs), () => this.#dial());
    }
    if (wasOpen) this.#options.onUp(false);
    this.#asks.failAll('lost', `the link to the peer broke: ${reason}`);
  }
}
