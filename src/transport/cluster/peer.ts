/**
 * What the links between nodes share: who a peer is, how an ask fails, how much may wait, and what is counted.
 * A boot id names one start of one process, so a node that was restarted is another peer.
 */

/** Where a peer is: what membership says of it. */
export interface PeerAddress {
  readonly bootId: string;
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/**
 * `unreachable`, `busy`: certainly not delivered, so it may be asked again, there or elsewhere. `late`: the deadline passed, delivered or
 * not. `lost`: the link broke, or the peer failed, after it was sent; the outcome is unknown.
 */
export type PeerErrorKind = 'unreachable' | 'busy' | 'late' | 'lost';

/** Why an ask has no (further) answer. */
export class PeerError extends Error {
  readonly kind: PeerErrorKind;

  constructor(kind: PeerErrorKind, detail: string) {
    super(detail);
    this.name = 'PeerError';
    this.kind = kind;
  }
}

/** Called for each answer, or with an error; after an error or `last` never again. May be called before `ask` returns. */
export type PeerReply = (error: PeerError | null, value?: unknown, last?: boolean) => void;

/** How much may wait. */
export interface PeerBounds {
  /** Asks to one peer that wait for their last answer. */
  readonly asksInFlight: number;
  /** Bytes for one peer that its socket has not taken. One frame more may be there. */
  readonly unsentBytes: number;
  /** Events that a peer has not acknowledged. */
  readonly events: number;
  readonly eventBytes: number;
  /** One frame without its length. */
  readonly frameBytes: number;
}

const mebibyte = 1024 * 1024;

export const defaultBounds: PeerBounds = {
  asksInFlight: 10_000,
  unsentBytes: 16 * mebibyte,
  events: 10_000,
  eventBytes: 8 * mebibyte,
  frameBytes: 8 * mebibyte,
};

interface Count {
  inc(by?: number): void;
}

/** Cells for metrics; a counter or histogram cell of ours fits each. Frames and bytes are added once a chunk, not once a frame. */
export interface PeerMeters {
  readonly framesIn: Count;
  readonly framesOut: Count;
  readonly bytesIn: Count;
  readonly bytesOut: Count;
  readonly asks: Count;
  readonly errors: Readonly<Record<PeerErrorKind, Count>>;
  /** Connections refused: no key, another key, another boot id, a frame past its bound. */
  readonly refused: Count;
  /** Gaps that we were told of. */
  readonly gaps: Count;
  /** Seconds from an ask to its first answer. */
  readonly roundTrip: { observe(seconds: number): void };
}

const uncounted: Count = { inc: () => undefined };

export const noMeters: PeerMeters = {
  framesIn: uncounted,
  framesOut: uncounted,
  bytesIn: uncounted,
  bytesOut: uncounted,
  asks: uncounted,
  errors: { unreachable: uncounted, busy: uncounted, late: uncounted, lost: uncounted },
  refused: uncounted,
  gaps: uncounted,
  roundTrip: { observe: () => undefined },
};

/** Heartbeats: sent this often each way on each link. */
export const beatMs = 500;
/** A peer is reachable while a frame came within two heartbeats: at the third silent beat (1 s) it is not. */
export const silentBeats = 2;
/** A link is cut, and a handshake given up, when the fifth beat finds it silent: after 2 s. */
export const cutBeats = 4;

/**
 * What was heard from one peer over any link. Silence is counted in our own beats, not in time: when our loop stood still, one late beat
 * runs before the frames that waited are read, and no peer is blamed for it.
 */
export class Heard {
  leaseValid: boolean | undefined;
  silent = 0;
  links = 0;

  get recently(): boolean {
    return this.links > 0 && this.silent <= silentBeats;
  }
}
