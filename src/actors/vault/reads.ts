/** `get`, `batchGet`, `list`, `usage`: they change nothing, and a hot `get` makes nothing but its answer. Rules [STO3] to [STO6], [STO18]. */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { StoredValueView } from '../../protocol/operations/storage.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { VaultStore } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { answerRead, refuse } from './answers.ts';
import { type Entry, isLive, isoOf, valueView } from './entry.ts';
import { readValues } from './stored-values.ts';
import { keysInOrder, usageAt, type VaultState } from './vault-state.ts';

/** Values of one `batchGet`: under the 8 MiB at which a live session is closed. */
const batchGetBytes = 7 * 1024 * 1024;

/** Made once: a missing key is no event worth a stack trace. */
const keyNotFound = new TmcpError('KEY_NOT_FOUND');

export function get(state: VaultState, store: VaultStore, message: Message, context: ActorContext): void {
  const { key } = message.input as InputOf<'tween.storage.get'>;
  const entry = state.index.get(key);
  if (entry === undefined || !isLive(entry, context.now())) {
    if (entry !== undefined && entry.durableCommit > state.flushed) context.settleWhenFlushed({ message, error: keyNotFound });
    else message.reply(keyNotFound);
    return;
  }
  if (entry.value !== undefined) {
    answerRead(state, context, message, hotView(entry, entry.value), entry.durableCommit);
    return;
  }
  readValues(state, store, context, [entry], (read) => {
    if (read.kind !== 'values') refuse(message, read.error, context);
    else if (state.index.get(key) !== entry || !isLive(entry, context.now())) get(state, store, message, context);
    else {
      const value = read.values.get(key);
      if (value === undefined) refuse(message, missing(), context);
      else answerRead(state, context, message, valueView(entry, value), entry.durableCommit);
    }
  });
}

export function batchGet(state: VaultState, store: VaultStore, message: Message, context: ActorContext): void {
  const { keys } = message.input as InputOf<'tween.storage.batchGet'>;
  const now = context.now();
  const found = new Map<string, Entry>();
  // Taken now: what is hot may be cold again when the others have been read.
  const hot = new Map<string, string>();
  const cold: Entry[] = [];
  let bytes = 0;
  let seen = 0;
  for (const key of keys) {
    const entry = state.index.get(key);
    if (entry === undefined || found.has(key)) continue;
    seen = Math.max(seen, entry.durableCommit);
    if (!isLive(entry, now)) continue;
    found.set(key, entry);
    bytes += entry.sizeBytes;
    if (entry.value === undefined) cold.push(entry);
    else {
      entry.touched = true;
      hot.set(key, entry.value);
    }
  }
  if (bytes > batchGetBytes) {
    const details = { size_bytes: bytes, limit_bytes: batchGetBytes };
    refuse(message, new TmcpError('PAYLOAD_TOO_LARGE', 'The values are too large for one answer', { details }), context);
    return;
  }
  const answer = (values: ReadonlyMap<string, string>): void => {
    const items: StoredValueView[] = [];
    const absent: string[] = [];
    for (const key of new Set(keys)) {
      const entry = found.get(key);
      if (entry === undefined) {
        absent.push(key);
        continue;
      }
      const value = hot.get(key) ?? values.get(key);
      if (value === undefined) {
        refuse(message, missing(), context);
        return;
      }
      items.push(valueView(entry, value));
    }
    answerRead(state, context, message, { items, missing: absent } satisfies OutputOf<'tween.storage.batchGet'>, seen);
  };
  if (cold.length === 0) {
    answer(hot);
    return;
  }
  readValues(state, store, context, cold, (read) => {
    if (read.kind !== 'values') refuse(message, read.error, context);
    else if (cold.some((entry) => state.index.get(entry.key) !== entry)) batchGet(state, store, message, context);
    else answer(read.values);
  });
}

export function list(state: VaultState, message: Message, context: ActorContext): void {
  const { prefix = '', limit = 100, offset = 0 } = message.input as InputOf<'tween.storage.list'>;
  const now = context.now();
  const keys: OutputOf<'tween.storage.list'>['keys'] = [];
  let total = 0;
  for (const key of keysInOrder(state)) {
    if (!key.startsWith(prefix)) continue;
    const entry = state.index.get(key) as Entry;
    if (!isLive(entry, now)) continue;
    if (total >= offset && keys.length < limit) keys.push(listed(entry));
    total++;
  }
  const pagination = { total, limit, offset, has_more: offset + keys.length < total };
  answerRead(state, context, message, { keys, pagination } satisfies OutputOf<'tween.storage.list'>, state.lastDurable);
}

export function usage(state: VaultState, message: Message, context: ActorContext): void {
  const { bytes, keys } = usageAt(state, context.now());
  const result: OutputOf<'tween.storage.usage'> = {
    usage_bytes: bytes,
    quota_bytes: limits.storageTotalBytes,
    keys,
    keys_quota: limits.storageKeys,
  };
  answerRead(state, context, message, result, state.lastDurable);
}

function hotView(entry: Entry, value: string): StoredValueView {
  entry.touched = true;
  if (entry.view === undefined) entry.view = valueView(entry, value);
  return entry.view;
}

function listed(entry: Entry): OutputOf<'tween.storage.list'>['keys'][number] {
  const row = { key: entry.key, size_bytes: entry.sizeBytes, updated_at: isoOf(entry.updatedAt), version: entry.version };
  return entry.expiresAt === Number.POSITIVE_INFINITY ? row : { ...row, expires_at: toIso(entry.expiresAt) };
}

/** The index names a version that the store does not have. */
function missing(): TmcpError {
  return new TmcpError('INTERNAL_ERROR', undefined, { cause: new Error('a stored value is not where the index says') });
}
