/**
 * The events this node has published and not every peer has acknowledged, as frames ready to send. One log for all peers: an event
 * has one number and one frame wherever it goes, and each peer's link remembers how far it is. Bounded in number and bytes;
 * past a bound the oldest goes, and a peer that still needed it is told of a gap by its link.
 */

export class EventLog {
  readonly #frames: (Uint8Array | undefined)[];
  readonly #maxBytes: number;
  #first = 1;
  #last = 0;
  #bytes = 0;

  /** `maxEvents` >= 1; `maxBytes` counts whole frames. */
  constructor(maxEvents: number, maxBytes: number) {
    this.#frames = new Array<Uint8Array | undefined>(maxEvents);
    this.#maxBytes = maxBytes;
  }

  /** Number of the oldest event that is kept; one past `last` when none is. Numbers begin with 1. */
  get first(): number {
    return this.#first;
  }

  /** Number of the newest event, kept or not; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps the event numbered `last + 1`. What does not fit beside it goes, and so does itself when it alone is past the bound. */
  append(frame: Uint8Array): void {
    if (this.#last - this.#first + 1 === this.#frames.length) this.#dropFirst();
    this.#last += 1;
    this.#frames[this.#last % this.#frames.length] = frame;
    this.#bytes += frame.length;
    while (this.#bytes > this.#maxBytes) this.#dropFirst();
  }

  /** Counts an event that is not kept, and so none before it: a peer that needs one of them has a gap. */
  skip(): void {
    this.trim(this.#last);
    this.#last += 1;
    this.#first = this.#last + 1;
  }

  /** The frame of an event between `first` and `last`. */
  frame(seq: number): Uint8Array {
    const frame = this.#frames[seq % this.#frames.length];
    if (frame === undefined || seq < this.#first || seq > this.#last) throw new RangeError(`event ${seq} is not kept`);
    return frame;
  }

  /** Lets go of all events up to `seq`, which nobody needs any more. */
  trim(seq: number): void {
    const upTo = Math.min(seq, this.#last);
    while (this.#first <= upTo) this.#dropFirst();
  }

  #dropFirst(): void {
    const index = this.#first % this.#frames.length;
    this.#bytes -= (this.#frames[index] as Uint8Array).length;
    this.#frames[index] = undefined;
    this.#first += 1;
  }
}
