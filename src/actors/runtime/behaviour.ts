/**
 * What an actor kind is to the host: how its state is loaded, and what it does with a message. A behaviour is synchronous
 * and does no I/O; it asks its context to commit, to ask other actors, to run work. One message at a time.
 */
import type { TmcpError } from '../../protocol/errors.ts';
import type { Address, JournalEntry, StoredActor, UserEvent } from '../ports.ts';
import type { Message } from './message.ts';

/** What a commit writes; the host adds address, sequence numbers, epoch and idempotency rows. */
export type Write = Pick<JournalEntry, 'snapshot' | 'storage' | 'conflicts' | 'outbox' | 'outboxDone' | 'timers' | 'timersDone'> & {
  /** History lines; each takes the next sequence number. Without one the commit as a whole takes one. */
  readonly records?: readonly {
    readonly event: { readonly type: string; readonly [member: string]: unknown };
    readonly stateAfter: string;
  }[];
};

/** An answer that leaves when the commit it was given to is flushed. */
export interface Settlement {
  readonly message: Message;
  readonly error?: TmcpError;
  readonly result?: unknown;
}

export interface ActorContext {
  readonly address: Address;
  /** The part of the address after its kind. */
  readonly id: string;
  /** Wall time, epoch ms. */
  now(): number;
  /** The actor's sequence number: what it will be once all commits so far are flushed. */
  readonly seq: number;
  /**
   * Appends to the journal. `settle` are answered, and `after` runs (in this actor's turn), when it is flushed. When the flush
   * fails the settlements get an error, `after` never runs, and this activation is dropped; the next message loads afresh.
   * Errors: throws `SERVICE_UNAVAILABLE` with nothing taken when the journal is full.
   */
  commit(write: Write, settle?: readonly Settlement[], after?: () => void): void;
  /** Answers once everything committed so far is flushed; at once when nothing waits. For reads that saw unflushed state. */
  settleWhenFlushed(settlement: Settlement): void;
  /** Sends an internal event to another actor; the answer comes back in this actor's turn. */
  ask(address: Address, type: string, input: unknown, answer: (error: TmcpError | null, result: unknown) => void): void;
  /** Runs outside work; its end comes back in this actor's turn. A rejection arrives as an error. */
  work<T>(promise: Promise<T>, done: (error: unknown, value: T | undefined) => void): void;
  /** Publishes an event to the user's live sessions. Call it from `after`, so that nothing unflushed is told. */
  publish(event: UserEvent): void;
}

export interface Behaviour<S> {
  readonly kind: string;
  readonly machineVersion: number;
  /** Builds the state from what is stored; the only asynchronous step. A throw quarantines after the usual count. */
  load(id: string, stored: StoredActor | undefined, address: Address): S | Promise<S>;
  /** Handles one message; must answer it, now or later, exactly once. A throw answers an error and changes nothing. */
  receive(state: S, message: Message, context: ActorContext): void;
  /** True while something only this activation knows is under way; such an actor is not passivated. */
  busy?(state: S): boolean;
  /** The activation is out of use: answers what it still owes, and touches nothing else. */
  abandoned?(state: S): void;
}
