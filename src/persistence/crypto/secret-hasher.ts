/**
 * Slow hashes of PINs and passwords: argon2id on the thread pool, off the event loop, over an HMAC with a pepper that is not in the
 * database. Few run at once, because each takes a core and 19 MiB; what waits is bounded. Anybody can make the sign-in page hash, so
 * the checks that money waits for go first and have a queue of their own.
 */
import { createHmac } from 'node:crypto';
import { hash as argon2Hash, verify as argon2Verify } from '@node-rs/argon2';
import type { SecretHasher } from '../../actors/ports.ts';
import { TmcpError } from '../../protocol/errors.ts';

/** RFC 9106 names argon2id; memory and passes are OWASP's first choice for it. `algorithm` 2 is argon2id. */
const parameters = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 } as const;

export interface SecretHasherOptions {
  /** At least 16 bytes; a hash made with another pepper never verifies. */
  readonly pepper: Uint8Array;
  /** Hashes at once. Default 2. */
  readonly concurrency?: number;
  /** Hashes that may wait for a turn. Default 1,000. */
  readonly maxWaiting?: number;
}

export interface TwoQueueHasher extends SecretHasher {
  /** The same hasher, whose calls are served before all others: for what a payment waits for. */
  readonly urgent: SecretHasher;
}

/** Errors of all methods: `SERVICE_UNAVAILABLE` when too many wait. `verify` also throws Error for a text that is no hash. */
export function createSecretHasher(options: SecretHasherOptions): TwoQueueHasher {
  if (options.pepper.length < 16) throw new Error('the pepper needs at least 16 bytes');
  const turns = new Turns(options.concurrency ?? 2, options.maxWaiting ?? 1_000);
  // As text: the verifier of this library takes no bytes that are not UTF-8.
  const peppered = (secret: string): string => createHmac('sha256', options.pepper).update(secret, 'utf8').digest('base64');
  const inQueue = (queue: Queue): SecretHasher => ({
    hash: (secret) => turns.run(queue, () => argon2Hash(peppered(secret), parameters)),
    verify: (hash, secret) => turns.run(queue, () => argon2Verify(hash, peppered(secret))),
  });
  return { ...inQueue('ordinary'), urgent: inQueue('urgent') };
}

type Queue = 'urgent' | 'ordinary';

/** Lets `most` calls run at once, in the order in which they came, the urgent ones first. */
class Turns {
  readonly #most: number;
  readonly #maxWaiting: number;
  readonly #waiting: Readonly<Record<Queue, (() => void)[]>> = { urgent: [], ordinary: [] };
  #running = 0;

  constructor(most: number, maxWaiting: number) {
    this.#most = most;
    this.#maxWaiting = maxWaiting;
  }

  async run<T>(queue: Queue, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#most) this.#running++;
    else {
      const waiting = this.#waiting[queue];
      if (waiting.length >= this.#maxWaiting) {
        throw new TmcpError('SERVICE_UNAVAILABLE', 'Too many secrets wait to be checked', { retryAfter: 1 });
      }
      // Whoever ends hands its turn over, so `running` stays as it is.
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.urgent.shift() ?? this.#waiting.ordinary.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
