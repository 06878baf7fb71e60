/**
 * This node's membership: joins, renews the lease, and knows by the monotonic clock until when the lease certainly lasts, also
 * after the process stood still. Every answer also tells the state of the cluster; what is made of it is the listener's.
 */
import type { CancelTimer, ClusterNode, Clock, Membership } from '../../actors/ports.ts';
import type { SlotFact } from '../../actors/runtime/slot-table.ts';
import type { Logger } from '../../log.ts';

export interface ClusterView {
  /** Nodes with a lease, this one among them. */
  readonly nodes: readonly ClusterNode[];
  readonly slots: readonly SlotFact[];
  readonly drainRequested: boolean;
}

export interface LeaseOptions {
  readonly bootId: string;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly log: Logger;
  /** What an operator sees of this node. */
  readonly load: () => unknown;
  /** `sentAt`: monotonic; what the view says was so then or later. */
  readonly onView: (view: ClusterView, sentAt: number) => void;
  readonly leaseMs?: number;
  readonly renewEveryMs?: number;
}

const leaseMs = 5_000;
const renewEveryMs = 1_500;
/** Clocks of two machines do not tick alike, and a check is not the deed. */
const marginMs = 250;
/** A renewal without an answer for so long is left to itself, and another one is sent. */
/** After an outage of all, each gets back what was its own before anybody takes anything. */
const regainedForMs = 2_500;
const answerWithinMs = 2_000;

export class Lease {
  state: 'live' | 'draining' = 'live';
  /** Renewals that failed or came late, in a row. */
  failures = 0;
  readonly #options: LeaseOptions;
  #until = Number.NEGATIVE_INFINITY;
  #regainedUntil = Number.NEGATIVE_INFINITY;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #next: CancelTimer | undefined;
  #renewing: Promise<void> | undefined;
  #closed = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Nobody else can have taken this node's slots. */
  holds(): boolean {
    return this.#options.clock.monotonic() < this.#until;
  }

  /** The lease was over and came back a moment ago: others whose lease is still over may be about to renew theirs. */
  get regained(): boolean {
    return this.#options.clock.monotonic() < this.#regainedUntil;
  }

  /** How long ago the lease was renewed, ms. */
  get ageMs(): number {
    return this.#options.clock.monotonic() - this.#renewedAt;
  }

  /** How long the lease has been over, ms; 0 while it lasts. */
  get overForMs(): number {
    return Math.max(0, this.#options.clock.monotonic() - this.#until);
  }

  /** Joins and begins to renew. Errors: `NodeRefusedError`, also when the name is still taken after a dead node's lease. */
  async start(): Promise<void> {
    await this.#join();
    await this.renew();
    if (!this.holds()) throw new Error('the node joined and could not renew its lease');
    this.#schedule();
  }

  /** Renews at once, together with whoever asked meanwhile. Never rejects. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  /** Ends the lease as far as this process is concerned. */
  close(): void {
    this.#closed = true;
    this.#next?.();
    this.#until = Number.NEGATIVE_INFINITY;
  }

  async #join(): Promise<void> {
    const { membership, clock, log } = this.#options;
    const giveUpAt = clock.monotonic() + (this.#options.leaseMs ?? leaseMs) + 1_000;
    for (;;) {
      try {
        await membership.join();
        return;
      } catch (error) {
        const { reason, leaseLeftMs = 0 } = (error ?? {}) as { reason?: string; leaseLeftMs?: number };
        // The same name with a lease that is not renewed: this node's former process, which is dead.
        if (reason !== 'name' || clock.monotonic() >= giveUpAt) throw error;
        log.info({ event: 'cluster.name_taken', waitMs: leaseLeftMs }, 'waiting for the lease of a former process of this name to end');
        await new Promise<void>((resolve) => clock.after(Math.max(50, Math.min(leaseLeftMs, 1_000)), resolve));
      }
    }
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#next = this.#options.clock.after(this.#options.renewEveryMs ?? renewEveryMs, () => {
      void this.renew();
      this.#schedule();
    });
  }

  async #renewOnce(): Promise<void> {
    const { membership, clock, log, bootId, load, onView } = this.#options;
    const sentAt = clock.monotonic();
    const asked = membership.heartbeat(bootId, this.state, load()).then(async (view) => {
      if (this.#closed) return;
      if (view === undefined) {
        // Lapsed for so long that the row is gone, or taken away by a node of this name: begin anew, with no slot.
        this.#until = Number.NEGATIVE_INFINITY;
        await membership.join();
        clock.after(0, () => void this.renew());
        return;
      }
      if (Number.isFinite(this.#until) && !this.holds()) this.#regainedUntil = clock.monotonic() + regainedForMs;
      this.#until = Math.max(this.#until, sentAt + (this.#options.leaseMs ?? leaseMs) - marginMs);
      this.#renewedAt = Math.max(this.#renewedAt, sentAt);
      this.failures = 0;
      onView(view, sentAt);
    });
    let cancel = (): void => {};
    const late = new Promise<never>((_, reject) => {
      cancel = clock.after(answerWithinMs, () => reject(new Error('no answer to a renewal in time')));
    });
    try {
      await Promise.race([asked, late]);
    } catch (error) {
      asked.catch(() => {});
      if (this.failures++ % 10 === 0) log.warn({ event: 'cluster.renewal_failed', err: error }, 'the lease could not be renewed');
    } finally {
      cancel();
    }
  }
}
