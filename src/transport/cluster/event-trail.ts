/**
 * How far this node has heard the events of each node, and whose the newest were. When a session moves here, its record says how far its former
 * home had heard; from both follows whether an event fell between the two, and which ones the session has already. Numbers are the publisher's
 * own ([LIVE52]). Bounded: what was forgotten counts as missed.
 */
import type { Clock, EventStamp, EventTrailView, ResumeRecord } from '../../actors/ports.ts';

const kept = 65_536;
/** Sessions are kept no longer than this: what a node published before it went is of no use to anybody later. */
const goneForMs = 130_000;
const marginMs = 2_000;

interface Origin {
  /** The newest number that was heard, or told to be lost. */
  last: number;
  /** Numbers up to this one are not kept here. */
  forgotten: number;
  goneAt: number | undefined;
}

export class EventTrail implements EventTrailView {
  readonly #self: string;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #origins = new Map<string, Origin>();
  readonly #stamps: (EventStamp | undefined)[] = new Array<EventStamp | undefined>(kept);
  readonly #users: string[] = new Array<string>(kept);
  #next = 0;
  #live: ReadonlySet<string> = new Set();

  constructor(self: string, clock: Clock) {
    this.#self = self;
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
  }

  /** An event was given to this node's sessions. */
  note(stamp: EventStamp, userId: string): void {
    const before = this.#stamps[this.#next];
    if (before !== undefined) {
      const origin = this.#origins.get(before.origin);
      if (origin !== undefined) origin.forgotten = Math.max(origin.forgotten, before.seq);
    }
    this.#stamps[this.#next] = stamp;
    this.#users[this.#next] = userId;
    this.#next = (this.#next + 1) % kept;
    const origin = this.#origins.get(stamp.origin);
    if (origin === undefined) this.#origins.set(stamp.origin, { last: stamp.seq, forgotten: stamp.seq - 1, goneAt: undefined });
    else origin.last = stamp.seq;
  }

  /** Events of a node up to this number did not reach us. */
  gap(from: string, upTo: number): void {
    this.#origins.set(from, { last: upTo, forgotten: upTo, goneAt: undefined });
  }

  /** The nodes that live now. Others are remembered for as long as somebody may resume what heard them. */
  keep(live: ReadonlySet<string>): void {
    this.#live = live;
    const now = this.#clock.monotonic();
    for (const [name, origin] of this.#origins) {
      origin.goneAt = live.has(name) ? undefined : (origin.goneAt ?? now);
      if (origin.goneAt !== undefined && now - origin.goneAt > goneForMs) this.#origins.delete(name);
    }
  }

  seen(): Record<string, number> {
    return Object.fromEntries([...this.#origins].map(([name, { last }]) => [name, last]));
  }

  missed({ userId, seen, at }: Pick<ResumeRecord, 'userId' | 'seen' | 'at'>): boolean {
    if (seen === undefined || at === undefined) return true;
    for (const [name, heard] of Object.entries(seen)) {
      if (heard === 0 || name === this.#self || this.#origins.has(name)) continue;
      // It lives and we have not heard it yet; or it went, and may have published once more after the record was written.
      const upMs = this.#clock.monotonic() - this.#startedAt;
      if (this.#live.has(name) || this.#clock.now() - at > upMs - marginMs) return true;
    }
    let later = 0;
    for (const [name, { last, forgotten }] of this.#origins) {
      const heard = seen[name] ?? 0;
      if (last <= heard) continue;
      if (forgotten > heard) return true;
      later += last - heard;
    }
    for (let back = 1; later > 0 && back <= kept; back++) {
      const place = (this.#next - back + kept) % kept;
      const stamp = this.#stamps[place];
      if (stamp === undefined) return true;
      if (stamp.seq <= (seen[stamp.origin] ?? 0) || !this.#origins.has(stamp.origin)) continue;
      if (this.#users[place] === userId) return true;
      later--;
    }
    return later > 0;
  }
}
