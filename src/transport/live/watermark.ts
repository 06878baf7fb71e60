/**
 * The numbers of a session's accepted writes, and how far they are committed. The mark only ever covers a run without holes,
 * so that "all writes up to n" is true whatever order the groups commit in. Rules: docs/spec/session.md, [LIVE30] to [LIVE32].
 */
export class Watermark {
  /** The last number given to a write. */
  last = 0;
  /** Every write up to this number is committed. */
  mark = 0;
  #ahead: Set<number> | undefined;

  /** The number of the next accepted write. */
  next(): number {
    return ++this.last;
  }

  /** Write `number` is committed. True when the mark moved. */
  durable(number: number): boolean {
    if (number !== this.mark + 1) {
      if (number > this.mark) {
        this.#ahead ??= new Set();
        this.#ahead.add(number);
      }
      return false;
    }
    this.mark = number;
    while (this.#ahead?.delete(this.mark + 1)) this.mark++;
    return true;
  }
}

/** What an accepted write does to its session. */
export interface WriteOwner {
  /** Number `write` is committed. */
  durable(write: number): void;
  /** An answered write is certain never to be committed. */
  failed(error: Error): void;
}

/**
 * One write asked for as accepted. Its answer and its commit come in either order; only a write that was answered before its
 * commit has a number.
 */
export class AcceptedWrite {
  readonly #watermark: Watermark;
  readonly #owner: WriteOwner;
  #number = 0;
  #end: Error | null | undefined;

  constructor(watermark: Watermark, owner: WriteOwner) {
    this.#watermark = watermark;
    this.#owner = owner;
  }

  /** The result as it is sent: with its number when it says that it is not durable yet. */
  answered(result: unknown): unknown {
    if ((result as { readonly durable?: unknown } | null | undefined)?.durable !== false) return result;
    this.#number = this.#watermark.next();
    if (this.#end !== undefined) this.#tell(this.#end);
    return { ...(result as object), write: this.#number };
  }

  /** The commit's end: null when it is committed. */
  settled(error: Error | null): void {
    if (this.#number === 0) this.#end = error;
    else this.#tell(error);
  }

  #tell(error: Error | null): void {
    if (error === null) this.#owner.durable(this.#number);
    else this.#owner.failed(error);
  }
}
