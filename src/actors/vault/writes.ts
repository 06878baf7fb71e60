/**
 * `set`, `remove`, `batchSet`, `batchRemove`. Each works on a draft, commits it once, and is answered by that commit.
 * A write without `client_timestamp` is made now and wins; one with it may have been overtaken. Rules [STO3], [STO12] to [STO22].
 */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { asTmcpError, invalidRequest, TmcpError } from '../../protocol/errors.ts';
import type { WrittenView } from '../../protocol/operations/storage.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { checkAcceptedBound, finish } from './answers.ts';
import { clampClientAt, lastWriterIsIncoming, type Stamp } from './conflict.ts';
import { type ColdValues, Draft, tooManyDevices } from './draft.ts';
import { type Entry, isLive, isoOf, writtenView } from './entry.ts';
import { type OpIdParts, parseOpId } from './op-id.ts';
import type { VaultState } from './vault-state.ts';

type SetItem = InputOf<'tween.storage.batchSet'>['items'][number];
type RemoveItem = Pick<InputOf<'tween.storage.remove'>, 'key' | 'client_timestamp'>;
type RemovedView = OutputOf<'tween.storage.remove'>;

/** A write: `now` and the values it may need were settled before. Errors: throws refusals, with nothing changed. */
export type Writer = (state: VaultState, message: Message, context: ActorContext, now: number, cold: ColdValues) => void;

export const set: Writer = (state, message, context, now, cold) => {
  checkAcceptedBound(state, message);
  const input = message.input as InputOf<'tween.storage.set'>;
  const draft = new Draft(state, now, cold);
  const op = operationOf(draft, input.op_id);
  if (op === 'duplicate') {
    const entry = draft.entry(input.key);
    finish(state, context, message, draft, entry === undefined ? { key: input.key, success: true } : writtenView(entry));
    return;
  }
  const result = setOne(draft, input, input.op_id ?? null);
  if (op !== undefined) draft.devices.take(op);
  finish(state, context, message, draft, result);
};

export const remove: Writer = (state, message, context, now, cold) => {
  checkAcceptedBound(state, message);
  const input = message.input as InputOf<'tween.storage.remove'>;
  const draft = new Draft(state, now, cold);
  const op = operationOf(draft, input.op_id);
  if (op === 'duplicate') {
    const entry = draft.entry(input.key);
    const written = entry === undefined ? { key: input.key, success: true } : writtenView(entry);
    finish(state, context, message, draft, { ...written, removed: entry?.deleted ?? false } satisfies RemovedView);
    return;
  }
  const result = removeOne(draft, input, input.op_id ?? null);
  if (op !== undefined) draft.devices.take(op);
  finish(state, context, message, draft, result);
};

export const batchSet: Writer = (state, message, context, now, cold) => {
  const { items } = message.input as InputOf<'tween.storage.batchSet'>;
  const draft = new Draft(state, now, cold);
  const results = items.map((item): OutputOf<'tween.storage.batchSet'>['results'][number] => {
    try {
      return setOne(draft, item, null);
    } catch (thrown) {
      if (!(thrown instanceof TmcpError)) throw thrown;
      const { code, message: text, details } = asTmcpError(thrown);
      return { key: item.key, success: false, error: details === undefined ? { code, message: text } : { code, message: text, details } };
    }
  });
  finish(state, context, message, draft, { results });
};

export const batchRemove: Writer = (state, message, context, now, cold) => {
  const { keys } = message.input as InputOf<'tween.storage.batchRemove'>;
  const draft = new Draft(state, now, cold);
  const results = keys.map((key) => ({ key, success: true, removed: removeOne(draft, { key }, null).removed }));
  finish(state, context, message, draft, { results } satisfies OutputOf<'tween.storage.batchRemove'>);
};

/** The operation behind an id: undefined without one, `duplicate` when it was taken before. Errors: one that cannot be remembered. */
function operationOf(draft: Draft, opId: string | undefined): OpIdParts | 'duplicate' | undefined {
  if (opId === undefined) return undefined;
  const op = parseOpId(opId);
  if (op === undefined) throw invalidRequest([{ path: '/op_id', message: 'names a device id that is too long' }]);
  if (draft.devices.taken(op)) return 'duplicate';
  if (!draft.devices.hasRoom(op.device)) throw tooManyDevices(draft);
  return op;
}

function setOne(draft: Draft, item: SetItem, opId: string | null): WrittenView {
  const { key, value, ttl } = item;
  draft.sizeOf(value);
  const known = draft.entry(key);
  const stamp = stampOf(item.client_timestamp, known, draft.now, opId);
  if (known !== undefined && overtaken(item.client_timestamp, stamp, known)) {
    draft.keep({ key, value, kind: 'set', ...loserOf(stamp) });
    return lostView(draft, known);
  }
  const expiresAt = ttl === undefined ? Number.POSITIVE_INFINITY : draft.now + ttl * 1000;
  return writtenView(draft.put(key, { value, contentType: item.metadata?.content_type ?? null, expiresAt, ...stamp }));
}

function removeOne(draft: Draft, item: RemoveItem, opId: string | null): RemovedView {
  const { key } = item;
  const known = draft.entry(key);
  if (known === undefined || !isLive(known, draft.now)) return { key, success: true, removed: false };
  const stamp = stampOf(item.client_timestamp, known, draft.now, opId);
  if (overtaken(item.client_timestamp, stamp, known)) {
    draft.keep({ key, value: null, kind: 'remove', ...loserOf(stamp) });
    return { ...lostView(draft, known), removed: false };
  }
  return { ...writtenView(draft.bury(key, stamp)), removed: true };
}

/** Without a time of its own a write is made now; it never stamps a key earlier than it was, so that order stays what it was. */
function stampOf(seconds: number | undefined, known: Entry | undefined, now: number, opId: string | null): Stamp {
  return { clientAt: seconds === undefined ? Math.max(now, known?.clientAt ?? now) : clampClientAt(seconds, now), opId };
}

/** Whether the key holds something that was written later than this. */
export function overtaken(seconds: number | undefined, stamp: Stamp, known: Stamp): boolean {
  return seconds !== undefined && !lastWriterIsIncoming(stamp, known);
}

function loserOf(stamp: Stamp): { opId: string; clientAt: number; resolution: string } {
  return { opId: stamp.opId ?? '', clientAt: stamp.clientAt, resolution: 'server_wins' };
}

function lostView(draft: Draft, known: Entry): WrittenView {
  const view: WrittenView = {
    key: known.key,
    success: true,
    version: known.version,
    updated_at: isoOf(known.updatedAt),
    conflict_detected: true,
    resolution: 'server_wins',
  };
  return isLive(known, draft.now) ? { ...view, server_value: draft.valueOf(known) } : view;
}
