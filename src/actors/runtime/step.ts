/**
 * The pure step over an XState machine: (snapshot, event) → (snapshot, effects, timers). Nothing here starts an actor, waits
 * or reads a clock. What a machine schedules with `after` comes back as data: XState keeps no timers in a snapshot.
 */
import { type AnyMachineSnapshot, type AnyStateMachine, initialTransition, transition } from 'xstate';

/** A named action with its parameters: what the host must do. */
export interface Effect {
  readonly type: string;
  // biome-ignore lint/suspicious/noExplicitAny: each machine names the parameters of its effects
  readonly params: any;
}

export interface Stepped {
  readonly snapshot: AnyMachineSnapshot;
  readonly effects: readonly Effect[];
  /** Timers that the machine set, by their stable id, with their delay in ms. */
  readonly timersSet: readonly { readonly id: string; readonly delayMs: number; readonly event: { readonly type: string } }[];
  /** Ids of timers that the machine cancelled. */
  readonly timersCancelled: readonly string[];
  /** Same snapshot and nothing to do: the event meant nothing in this state. */
  readonly ignored: boolean;
}

/** The first snapshot of a machine from its input. */
export function firstStep(machine: AnyStateMachine, input: unknown): Stepped {
  const [snapshot, actions] = initialTransition(machine, input as never);
  return sort(undefined, snapshot as AnyMachineSnapshot, actions);
}

/** One event. Throws what a guard or an `assign` throws; the given snapshot stays as it was. */
export function step(machine: AnyStateMachine, snapshot: AnyMachineSnapshot, event: { readonly type: string }): Stepped {
  const [next, actions] = transition(machine, snapshot as never, event as never);
  return sort(snapshot, next as AnyMachineSnapshot, actions);
}

/** Rebuilds a snapshot from what was stored. Throws for a state that the machine no longer has. */
export function restore(machine: AnyStateMachine, stored: { readonly value: unknown; readonly context: unknown }): AnyMachineSnapshot {
  return machine.resolveState({ value: stored.value as never, context: stored.context as never }) as AnyMachineSnapshot;
}

/** What is stored of a snapshot: plain JSON. */
export function stored(snapshot: AnyMachineSnapshot): { value: unknown; context: unknown } {
  return { value: snapshot.value, context: snapshot.context };
}

function sort(
  before: AnyMachineSnapshot | undefined,
  snapshot: AnyMachineSnapshot,
  actions: readonly { readonly type: string; readonly params?: unknown }[],
): Stepped {
  const effects: Effect[] = [];
  const timersSet: { id: string; delayMs: number; event: { type: string } }[] = [];
  const timersCancelled: string[] = [];
  for (const action of actions) {
    const params = action.params as { id?: string; delay?: number; event?: { type: string }; sendId?: string } | undefined;
    if (action.type === 'xstate.raise') {
      if (params?.delay !== undefined && params.event !== undefined)
        timersSet.push({ id: params.id ?? params.event.type, delayMs: params.delay, event: params.event });
    } else if (action.type === 'xstate.cancel') {
      if (params?.sendId !== undefined) timersCancelled.push(params.sendId);
    } else effects.push({ type: action.type, params: action.params });
  }
  return { snapshot, effects, timersSet, timersCancelled, ignored: snapshot === before && actions.length === 0 };
}
