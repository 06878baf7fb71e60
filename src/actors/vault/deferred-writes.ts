/**
 * A write that meets a stored value which is not hot reads it first: the answer shows it, or the history keeps it. Meanwhile the
 * vault's other messages wait in order, so that nobody sees them overtake it. Rule [STO7].
 */
import type { InputOf } from '../../protocol/catalogue.ts';
import { asTmcpError, TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { VaultStore } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { refuse } from './answers.ts';
import { clampClientAt } from './conflict.ts';
import { noColdValues } from './draft.ts';
import { type Entry, isLive } from './entry.ts';
import { parseOpId } from './op-id.ts';
import { incomingOf, verdictOf } from './push.ts';
import { readValues } from './stored-values.ts';
import type { VaultState } from './vault-state.ts';
import { overtaken, type Writer } from './writes.ts';

/** Runs a write, now or when the values it needs are read. `again` takes a message that waited. Errors: throws what the write throws. */
export function runWrite(
  writer: Writer,
  state: VaultState,
  store: VaultStore,
  message: Message,
  context: ActorContext,
  again: (message: Message) => void,
): void {
  const now = context.now();
  const cold = coldEntries(state, message, now);
  if (cold === undefined) {
    writer(state, message, context, now, noColdValues);
    return;
  }
  state.waiting = [];
  readValues(state, store, context, [...cold], (read) => {
    const waiting = state.waiting ?? [];
    state.waiting = undefined;
    if (read.kind === 'gone') {
      for (const each of [message, ...waiting]) refuse(each, read.error, context);
      return;
    }
    if (read.kind === 'failed') refuse(message, read.error, context);
    else attempt(message, context, waiting, () => writer(state, message, context, now, read.values));
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const held: Message = next;
      attempt(held, context, waiting, () => again(held));
    }
  });
}

/** Lets a message wait while a write reads. Errors: `SERVICE_UNAVAILABLE` past the bound. */
export function holdBack(waiting: Message[], message: Message): void {
  if (waiting.length >= limits.acceptedPerUser) throw new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 });
  waiting.push(message);
}

/** Outside the host's own care for a message: a refusal is answered, and a fault goes on to the host once nobody is left waiting. */
function attempt(message: Message, context: ActorContext, waiting: Message[], run: () => void): void {
  try {
    run();
  } catch (thrown) {
    refuse(message, asTmcpError(thrown), context);
    if (thrown instanceof TmcpError) return;
    for (const each of waiting.splice(0)) refuse(each, new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }), context);
    throw thrown;
  }
}

/** Entries whose values the write may need; undefined when it needs none. */
function coldEntries(state: VaultState, message: Message, now: number): ReadonlySet<Entry> | undefined {
  const cold = new Set<Entry>();
  const consider = (entry: Entry | undefined, needed: (entry: Entry) => boolean): void => {
    if (entry !== undefined && entry.value === undefined && isLive(entry, now) && needed(entry)) cold.add(entry);
  };
  const plain = (item: { readonly key: string; readonly client_timestamp?: number; readonly op_id?: string }): void => {
    const { key, client_timestamp: seconds, op_id: opId = null } = item;
    if (seconds !== undefined)
      consider(state.index.get(key), (entry) => overtaken(seconds, { clientAt: clampClientAt(seconds, now), opId }, entry));
  };
  switch (message.type) {
    case 'tween.storage.set':
    case 'tween.storage.remove':
      plain(message.input);
      break;
    case 'tween.storage.batchSet':
      for (const item of (message.input as InputOf<'tween.storage.batchSet'>).items) plain(item);
      break;
    case 'tween.sync.push':
      for (const op of (message.input as InputOf<'tween.sync.push'>).ops) {
        if (parseOpId(op.op_id) === undefined) continue;
        consider(state.index.get(op.key), (entry) => {
          const verdict = verdictOf(state, incomingOf(op, now), op.key, entry, now);
          return verdict.kind !== 'apply' || verdict.loser;
        });
      }
      break;
  }
  return cold.size === 0 ? undefined : cold;
}
