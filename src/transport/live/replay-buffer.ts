/**
 * The events of one session: their numbers, and those a resume may ask for again. Numbers run 1, 2, 3 … without gaps;
 * what is kept is always the newest run of them, at most `limits.replayEvents` or `limits.replayBytes`. Pure data, no socket.
 * Rules: docs/spec/session.md, [LIVE10] to [LIVE14].
 */
import { limits } from '../../protocol/limits.ts';

/** A numbered event. `bytes` is about what its frame takes. */
export interface KeptEvent {
  readonly seq: number;
  readonly method: string;
  params: Readonly<Record<string, unknown>>;
  bytes: number;
}

/** What every session without events shares; never written to. */
const none: KeptEvent[] = [];

export class ReplayBuffer {
  /** The last number given. */
  seq: number;
  /** The last number that was handed to a socket. */
  sent: number;
  /** Nothing up to this number is kept: it was acknowledged, or it had to be dropped. */
  floor: number;
  #events: KeptEvent[] = none;
  #bytes = 0;
  /** Events that no socket took yet, by method and key. */
  #waiting: Map<string, KeptEvent> | undefined;

  /** A buffer that goes on where another node stopped: `events` are the newest ones up to `seq`. */
  constructor(seq = 0, events: readonly KeptEvent[] = []) {
    this.seq = seq;
    this.sent = seq;
    this.floor = seq - events.length;
    for (const event of events) this.#keep(event);
  }

  get size(): number {
    return this.#events.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True while an event waits for a socket. */
  get hasUnsent(): boolean {
    return this.seq > this.sent;
  }

  /** Numbers an event and keeps it. False: the bound was passed and everything kept was dropped. */
  append(method: string, params: Readonly<Record<string, unknown>>, bytes: number, key?: string): boolean {
    const event: KeptEvent = { seq: ++this.seq, method, params, bytes };
    this.#keep(event);
    if (this.#events.length > limits.replayEvents || this.#bytes > limits.replayBytes) {
      this.#drop(this.seq);
      return false;
    }
    if (key !== undefined) {
      this.#waiting ??= new Map();
      this.#waiting.set(`${method}\n${key}`, event);
    }
    return true;
  }

  /**
   * Puts the newest state in the place of an event of the same method and key that nobody has seen yet. False when there is none:
   * the caller then appends.
   */
  coalesce(method: string, params: Readonly<Record<string, unknown>>, bytes: number, key: string): boolean {
    const event = this.#waiting?.get(`${method}\n${key}`);
    if (event === undefined || event.seq <= this.sent) return false;
    this.#bytes += bytes - event.bytes;
    event.params = params;
    event.bytes = bytes;
    return true;
  }

  /** Everything up to `seq` was handed to a socket. */
  markSent(seq: number): void {
    if (seq > this.sent) this.sent = seq;
    if (this.sent >= this.seq) this.#waiting = undefined;
  }

  /** The client has everything up to `seq`; numbers that were never sent are taken as the last sent one. */
  ack(seq: number): number {
    const upTo = Math.min(seq, this.sent);
    if (upTo > this.floor) this.#drop(upTo);
    return upTo;
  }

  /** The events after `seq`, oldest first; undefined when some of them are gone or `seq` was never given. */
  after(seq: number): readonly KeptEvent[] | undefined {
    if (seq < this.floor || seq > this.seq) return undefined;
    return this.#events.slice(seq - this.floor);
  }

  /** A client that has everything up to `seq` takes over; what comes after is to be sent (again). */
  rewind(seq: number): void {
    if (seq > this.floor) this.#drop(seq);
    this.sent = seq;
  }

  /** What no socket took yet, oldest first. */
  unsent(): readonly KeptEvent[] {
    return this.#events.slice(Math.max(0, this.sent - this.floor));
  }

  /** All that is kept, oldest first. */
  all(): readonly KeptEvent[] {
    return this.#events;
  }

  #keep(event: KeptEvent): void {
    if (this.#events === none) this.#events = [];
    this.#events.push(event);
    this.#bytes += event.bytes;
  }

  #drop(upTo: number): void {
    const gone = this.#events.splice(0, upTo - this.floor);
    for (const event of gone) this.#bytes -= event.bytes;
    this.floor = upTo;
    if (this.#events.length > 0) return;
    this.#waiting = undefined;
    this.#events = none;
  }
}
