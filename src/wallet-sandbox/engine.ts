/**
 * Runs the sandbox's requests: idempotency, faults, the bank's decision, the journal. Nothing is answered, reads included,
 * before all that it saw is written: a killed and restarted sandbox can never contradict an answer it gave.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../actors/ports.ts';
import { idempotencyKeyPattern } from '../transport/tweenpay/contract.ts';
import { Bank, refuse, type Decision } from './bank.ts';
import type { Fault, Faults } from './faults.ts';
import { IdempotencyStore, type StoredAnswer } from './idempotency.ts';
import { LedgerJournal, type JournalOptions } from './journal.ts';
import { Ledger, type LedgerEvent } from './ledger.ts';
import type { Route } from './routes.ts';

/** What the server does with a request: answer it, leave it hanging, or break its connection. */
export type Reply =
  | { readonly kind: 'answer'; readonly status: number; readonly body: string; readonly replayed: boolean }
  | { readonly kind: 'hang' }
  | { readonly kind: 'drop' };

/** One line of the journal: all that one request changed. */
interface Line {
  readonly events: readonly LedgerEvent[];
  readonly answer?: StoredAnswer;
}

export interface EngineOptions extends JournalOptions {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly idempotencyKeepMs: number;
}

const http500 = refuse('internal_error');

export class Engine {
  readonly #clock: Clock;
  readonly #faults: Faults;
  readonly #idempotency: IdempotencyStore;
  readonly #journal: LedgerJournal;
  /** References of charges that came in and are not decided yet. */
  readonly #undecided = new Map<string, number>();
  #bank: Bank;

  constructor(options: EngineOptions) {
    this.#clock = options.clock;
    this.#faults = options.faults;
    this.#idempotency = new IdempotencyStore(options.idempotencyKeepMs);
    this.#bank = new Bank(new Ledger(), options.clock);
    this.#journal = LedgerJournal.open(options, (line) => this.#apply(line as Line));
  }

  get ledger(): Ledger {
    return this.#bank.ledger;
  }

  /** A request of the contract. `body` is undefined when there was none; `key` is the idempotency header. */
  async handle(route: Route, path: string, body: unknown, key: string | undefined): Promise<Reply> {
    const fault = this.#faults.take(route.operation);
    if (fault?.mode === 'down') return { kind: 'drop' };
    if (fault?.mode === 'timeout_before') return { kind: 'hang' };
    if (fault?.mode === 'http_500') return this.#answer(http500);
    if (route.schema !== undefined && !route.schema.Check(body)) {
      const first = route.schema.Errors(body).First();
      return this.#answer(refuse('invalid_request', first === undefined ? undefined : `${first.path || 'body'}: ${first.message}`));
    }
    return route.mutation ? this.#mutate(route, path, body, key, fault) : this.#read(route, body, fault);
  }

  /** An admin door's change: applied and written without an idempotency key. */
  async change(decide: (bank: Bank) => Decision): Promise<Reply> {
    const decision = decide(this.#bank);
    if (decision.events.length > 0) this.#commit({ events: decision.events });
    return this.#answer(decision);
  }

  /** Forgets accounts, bookings, keys and faults. */
  async reset(): Promise<void> {
    await this.#journal.settled();
    this.#journal.reset();
    this.#idempotency.clear();
    this.#faults.clear();
    this.#bank = new Bank(new Ledger(), this.#clock);
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  async #read(route: Route, body: unknown, fault: Fault | undefined): Promise<Reply> {
    if (fault?.mode === 'refuse') return this.#answer(refuse('payment_refused'));
    if (fault?.mode === 'slow') await this.#wait(fault.delayMs);
    const decision = route.decide(this.#bank, body, (reference) => this.#undecided.has(reference));
    return this.#answer(decision, fault);
  }

  async #mutate(route: Route, path: string, body: unknown, key: string | undefined, fault: Fault | undefined): Promise<Reply> {
    if (key === undefined || !idempotencyKeyPattern.test(key)) return this.#answer(refuse('idempotency_key_required'));
    const fingerprint = fingerprintOf(path, body);
    for (;;) {
      const known = this.#idempotency.find(key, fingerprint, this.#clock.now());
      if (known === undefined) break;
      if (known.kind === 'conflict') return this.#answer(refuse('idempotency_conflict'));
      if (known.kind === 'stored') return this.#answer(known.answer, fault, true);
      await known.ended;
    }
    const release = this.#idempotency.begin(key, fingerprint);
    const reference = route.operation === 'charge' ? (body as { reference: string }).reference : undefined;
    if (reference !== undefined) this.#undecided.set(reference, (this.#undecided.get(reference) ?? 0) + 1);
    let decision: Decision & { stored: string };
    try {
      if (fault?.mode === 'slow') await this.#wait(fault.delayMs);
      decision = this.#decideAndCommit(route, body, key, fingerprint, fault);
    } finally {
      if (reference !== undefined) this.#decided(reference);
      release();
    }
    return this.#answer({ status: decision.status, body: decision.stored }, fault);
  }

  /** One turn of the event loop: between reading the ledger and changing it nothing else runs. */
  #decideAndCommit(route: Route, body: unknown, key: string, fingerprint: string, fault: Fault | undefined): Decision & { stored: string } {
    let decision = route.decide(this.#bank, body, () => false);
    if (fault?.mode === 'refuse' && decision.status < 300) {
      decision =
        route.operation === 'charge'
          ? this.#bank.refuseCharge((body as { reference: string }).reference, 'payment_refused')
          : refuse('payment_refused');
    }
    const stored = JSON.stringify(decision.body);
    // A request that was not well formed is not remembered: its key stays free for the corrected one.
    if (decision.status !== 400)
      this.#commit({ events: decision.events, answer: { key, fingerprint, status: decision.status, body: stored, at: this.#clock.now() } });
    return { ...decision, stored };
  }

  #commit(line: Line): void {
    this.#journal.append(line);
    this.#apply(line);
  }

  #apply(line: Line): void {
    for (const event of line.events) this.ledger.apply(event);
    if (line.answer !== undefined) this.#idempotency.store(line.answer);
  }

  async #answer(decision: { readonly status: number; readonly body: unknown }, fault?: Fault, replayed = false): Promise<Reply> {
    const body = typeof decision.body === 'string' ? decision.body : JSON.stringify(decision.body);
    const written = this.#journal.settled();
    if (written !== undefined) await written;
    if (fault?.mode === 'timeout_after') return { kind: 'hang' };
    if (fault?.mode === 'http_500_after')
      return { kind: 'answer', status: http500.status, body: JSON.stringify(http500.body), replayed: false };
    return { kind: 'answer', status: decision.status, body, replayed };
  }

  #decided(reference: string): void {
    const left = (this.#undecided.get(reference) ?? 1) - 1;
    if (left === 0) this.#undecided.delete(reference);
    else this.#undecided.set(reference, left);
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(ms, resolve);
    });
  }
}

/** Bodies are flat objects: sorting their members makes the hash one of content, not of spelling. */
function fingerprintOf(path: string, body: unknown): string {
  const members = Object.entries(body as Record<string, unknown>).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(`${path}\n${JSON.stringify(members)}`)
    .digest('base64url');
}
