/**
 * What every actor kind that is a state machine shares: an event goes through the pure step, what came of it is written in
 * one commit (history line, snapshot, timers, effects that leave), and only then are callers answered and others told.
 * Holds no rule of any machine. Timers are rows named by the machine's own timer ids; effects are rows named by the place
 * of their history line, so that the same history names them alike.
 */
import { HistoryDivergedError } from './history-diverged.ts';
import type { AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { asTmcpError, TmcpError } from '../../protocol/errors.ts';
import type { OutboxRow, RecordRow, StoredActor, TimerRow } from '../ports.ts';
import type { ActorContext, Settlement, Write } from './behaviour.ts';
import type { Message } from './message.ts';
import { type Effect, firstStep, restore, step } from './step.ts';

/** What a machine receives. `at` is epoch ms; the first event of an actor holds the machine's `input`. */
export interface MachineEvent {
  readonly type: string;
  readonly at: number;
  readonly [member: string]: unknown;
}

/** A snapshot as it is stored: plain JSON. `timers` holds when each armed timer is due, by its id. */
export interface StoredSnapshot {
  readonly value: unknown;
  readonly context: unknown;
  readonly timers: Readonly<Record<string, number>>;
}

/** A machine, and what its host must know about it. */
export interface MachineDefinition {
  readonly machine: AnyStateMachine;
  readonly version: number;
  /** `upcasts[n]` carries a stored snapshot of version n to version n + 1. */
  readonly upcasts: Readonly<Record<number, (stored: StoredSnapshot) => StoredSnapshot>>;
  /** Whether a stored context holds every member the machine reads; XState itself would take one that does not. */
  readonly fits: (context: unknown) => boolean;
  /** Types of the effects that leave the system: their parameters become the payload of an outbox row. */
  readonly outbox: ReadonlySet<string>;
  /** What of an event is kept as history; for events that carry a secret. */
  readonly recorded?: (event: MachineEvent) => MachineEvent;
}

/** A machine's actor in memory. `C` is the machine's context. */
export class MachineActor<C> {
  readonly definition: MachineDefinition;
  snapshot: AnyMachineSnapshot | undefined;
  timers: Readonly<Record<string, number>> = {};
  /** Messages taken and not answered yet. */
  readonly owed = new Set<Message>();

  constructor(definition: MachineDefinition, snapshot?: AnyMachineSnapshot, timers: Readonly<Record<string, number>> = {}) {
    this.definition = definition;
    this.snapshot = snapshot;
    this.timers = timers;
  }

  /** The context. Errors: throws when the actor has no history yet. */
  get context(): C {
    if (this.snapshot === undefined) throw new Error('the actor has no history yet');
    return this.snapshot.context as C;
  }

  /** The state's name, dotted; empty for an actor without history. */
  get state(): string {
    return this.snapshot === undefined ? '' : stateName(this.snapshot.value);
  }
}

/** What an event led to, before anything of it is written. */
export interface Advanced<C> {
  readonly state: string;
  readonly context: C;
  readonly effects: readonly Effect[];
}

/** Who is answered when it is flushed, and what happens then (in the actor's turn; only when there was something to commit). */
export interface Conclusion {
  readonly settle?: readonly Settlement[];
  readonly after?: () => void;
}

/** A state value as one name: `processing.unknown`; regions of a parallel state in their order, joined by `|`. */
export function stateName(value: unknown): string {
  if (typeof value === 'string') return value;
  const parts = Object.entries(value as Record<string, unknown>).map(([name, inner]) => {
    const rest = stateName(inner);
    return rest === '' ? name : `${name}.${rest}`;
  });
  return parts.join('|');
}

/** The actor of stored state, or one without history. Errors: throws for a version it does not know, a context that does not fit, a state that is gone. */
export function reviveMachine<C>(definition: MachineDefinition, stored: StoredActor | undefined): MachineActor<C> {
  if (stored === undefined) return new MachineActor<C>(definition);
  const { version } = definition;
  if (stored.machineVersion > version)
    throw new HistoryDivergedError(`a snapshot of version ${stored.machineVersion}, this machine is version ${version}`);
  let snapshot = stored.snapshot as StoredSnapshot;
  for (let from = stored.machineVersion; from < version; from++) {
    const upcast = definition.upcasts[from];
    if (upcast === undefined) throw new HistoryDivergedError(`no way from snapshot version ${from} to ${from + 1}`);
    snapshot = upcast(snapshot);
  }
  if (!definition.fits(snapshot.context)) throw new HistoryDivergedError('the stored context lacks members of this machine');
  try {
    return new MachineActor<C>(definition, restore(definition.machine, snapshot), snapshot.timers);
  } catch (error) {
    throw new HistoryDivergedError('the stored state is not one of this machine', error);
  }
}

/**
 * Steps the machine through `events`, in order, and writes all of it as one commit: one history line for each event that
 * changed something, the new snapshot, timers, effects. What changed nothing is not written; its answers then wait only for
 * what is unflushed. Errors: `SERVICE_UNAVAILABLE` when the journal is full, or what a guard throws; the state is then as before.
 */
export function advance<C>(
  actor: MachineActor<C>,
  host: ActorContext,
  events: readonly MachineEvent[],
  conclude: (advanced: Advanced<C>) => Conclusion,
  done: Pick<Write, 'outboxDone' | 'timersDone'> = {},
): void {
  const { definition } = actor;
  let { snapshot } = actor;
  let { seq } = host;
  const timers = new Map(Object.entries(actor.timers));
  const gone = new Set(done.timersDone ?? []);
  for (const id of gone) timers.delete(id);
  const set = new Map<string, TimerRow>();
  const effects: Effect[] = [];
  const outbox: OutboxRow[] = [];
  const records: { event: MachineEvent; stateAfter: string }[] = [];
  for (const event of events) {
    const stepped = snapshot === undefined ? firstStep(definition.machine, event['input']) : step(definition.machine, snapshot, event);
    effects.push(...stepped.effects);
    const leaving = stepped.effects.filter(({ type }) => definition.outbox.has(type));
    if (stepped.snapshot === snapshot && leaving.length === 0 && stepped.timersSet.length === 0) continue;
    seq++;
    snapshot = stepped.snapshot;
    records.push({ event: definition.recorded?.(event) ?? event, stateAfter: stateName(snapshot.value) });
    for (const [index, { type, params }] of leaving.entries())
      outbox.push({ id: `${host.address}#${seq}.${index}`, type, payload: params });
    for (const id of stepped.timersCancelled) {
      if (timers.delete(id)) gone.add(id);
      set.delete(id);
    }
    // A state that is entered anew cancels its timer and sets it again: setting wins.
    for (const { id, delayMs } of stepped.timersSet) {
      const dueAt = event.at + delayMs;
      timers.set(id, dueAt);
      set.set(id, { id, dueAt });
      gone.delete(id);
    }
  }
  if (snapshot === undefined) throw new Error('no event to begin with');
  const { settle = [], after } = conclude({ state: stateName(snapshot.value), context: snapshot.context as C, effects });
  if (records.length === 0 && gone.size === 0 && (done.outboxDone ?? []).length === 0) {
    for (const settlement of settle) settleLater(actor, host, settlement);
    return;
  }
  const stored: StoredSnapshot = { value: snapshot.value, context: snapshot.context, timers: Object.fromEntries(timers) };
  host.commit(
    {
      snapshot: stored,
      records,
      ...(outbox.length > 0 ? { outbox } : {}),
      ...(done.outboxDone === undefined ? {} : { outboxDone: done.outboxDone }),
      ...(set.size > 0 ? { timers: [...set.values()] } : {}),
      ...(gone.size > 0 ? { timersDone: [...gone] } : {}),
    },
    settle,
    after,
  );
  for (const { message } of settle) actor.owed.delete(message);
  actor.snapshot = snapshot;
  actor.timers = stored.timers;
}

/** Steps the machine by a timer that fired; a timer that was cancelled or set anew meanwhile moves nothing. */
export function timerFired<C>(
  actor: MachineActor<C>,
  host: ActorContext,
  message: Message,
  conclude: (advanced: Advanced<C>) => Conclusion,
): void {
  const { id, dueAt } = message.input as { readonly id: string; readonly dueAt: number };
  if (actor.snapshot !== undefined && actor.timers[id] === dueAt) {
    advance(actor, host, [{ type: id, at: host.now() }], conclude, { timersDone: [id] });
    return;
  }
  settleLater(actor, host, { message, result: {} });
  // A row that no state stands for would be fired for ever.
  if (actor.snapshot !== undefined && actor.timers[id] === undefined) host.commit({ timersDone: [id] });
}

/** Takes a message into the actor's books and runs its handling; a throw leaves the answer to the host. */
export function receiveInto<C>(actor: MachineActor<C>, message: Message, handle: () => void): void {
  actor.owed.add(message);
  try {
    handle();
  } catch (thrown) {
    actor.owed.delete(message);
    throw thrown;
  }
}

/** Runs a later part of a message's handling. A refusal thrown there is its answer; any other throw is a fault, and goes on. */
export function resume<C>(actor: MachineActor<C>, host: ActorContext, message: Message, part: () => void): void {
  try {
    part();
  } catch (thrown) {
    settleLater(actor, host, { message, error: asTmcpError(thrown) });
    if (!(thrown instanceof TmcpError)) throw thrown;
  }
}

/** The value of outside work. Errors: the refusal it ended with; `SERVICE_UNAVAILABLE` when it failed otherwise. */
export function worked<T>(error: unknown, value: T | undefined): T {
  if (error instanceof TmcpError) throw error;
  if (error !== undefined) throw new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1, cause: error });
  return value as T;
}

/** Answers once everything committed so far is flushed; a message that is answered already is left alone. */
export function settleLater<C>(actor: MachineActor<C>, host: ActorContext, settlement: Settlement): void {
  if (actor.owed.delete(settlement.message)) host.settleWhenFlushed(settlement);
}

/** The activation is out of use: those it still owes an answer are told to come again. */
export function abandon<C>(actor: MachineActor<C>): void {
  for (const message of actor.owed) message.reply(new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }));
  actor.owed.clear();
}

/**
 * Folds a history through the machine and compares each line with the state it was written with.
 * `initial`: the snapshot before the first line, for machines that exist before their first event.
 * Errors: `HistoryDivergedError` at the first line that differs.
 */
export function replay(definition: MachineDefinition, records: readonly RecordRow[], initial?: AnyMachineSnapshot): AnyMachineSnapshot {
  let snapshot = initial;
  for (const { seq, event, stateAfter } of records) {
    snapshot = (snapshot === undefined ? firstStep(definition.machine, event['input']) : step(definition.machine, snapshot, event))
      .snapshot;
    const reached = stateName(snapshot.value);
    if (reached !== stateAfter)
      throw new HistoryDivergedError(`line ${seq} (${event.type}) leads to ${reached}, the history says ${stateAfter}`);
  }
  if (snapshot === undefined) throw new HistoryDivergedError('there is no history');
  return snapshot;
}
