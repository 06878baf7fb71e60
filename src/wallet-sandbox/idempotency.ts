/**
 * First answers under idempotency keys. A key belongs to one request: the same again gets the stored status and body,
 * another gets a conflict, and one that comes while the first runs waits for it. Kept at least 24 h; after that only
 * the uniqueness of references protects against a repeat. Docs: docs/tweenpay.md.
 */
export interface StoredAnswer {
  readonly key: string;
  /** Hash of route and body. */
  readonly fingerprint: string;
  readonly status: number;
  readonly body: string;
  readonly at: number;
}

interface Running {
  readonly fingerprint: string;
  readonly ended: Promise<void>;
}

export type Known =
  | { readonly kind: 'stored'; readonly answer: StoredAnswer }
  | { readonly kind: 'running'; readonly ended: Promise<void> }
  | { readonly kind: 'conflict' };

export class IdempotencyStore {
  readonly #keepMs: number;
  readonly #stored = new Map<string, StoredAnswer>();
  readonly #running = new Map<string, Running>();

  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  /** What is known of a key, or undefined when the request may begin. */
  find(key: string, fingerprint: string, now: number): Known | undefined {
    const running = this.#running.get(key);
    if (running !== undefined)
      return running.fingerprint === fingerprint ? { kind: 'running', ended: running.ended } : { kind: 'conflict' };
    const answer = this.#stored.get(key);
    if (answer === undefined || now - answer.at >= this.#keepMs) return undefined;
    return answer.fingerprint === fingerprint ? { kind: 'stored', answer } : { kind: 'conflict' };
  }

  /** Holds the key until the returned function is called. */
  begin(key: string, fingerprint: string): () => void {
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#running.set(key, { fingerprint, ended });
    return () => {
      this.#running.delete(key);
      end();
    };
  }

  /** Keeps an answer, and forgets the oldest that are past their time: insertion order is time order. */
  store(answer: StoredAnswer): void {
    this.#stored.delete(answer.key);
    this.#stored.set(answer.key, answer);
    for (const [key, oldest] of this.#stored) {
      if (answer.at - oldest.at < this.#keepMs) break;
      this.#stored.delete(key);
    }
  }

  clear(): void {
    this.#stored.clear();
  }
}
