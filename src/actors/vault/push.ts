/**
 * `tween.sync.push`: operations made offline, each taken at most once and answered for itself, all in one commit. A bad one is
 * rejected and the rest go on; a rejected one was not taken and may be sent again. Rules [STO14] to [STO28].
 */
import type { InputOf } from '../../protocol/catalogue.ts';
import { type Issue, TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { keyIssues, valueIssues } from '../../protocol/operations/storage.ts';
import type { PushOpValue, PushResultValue } from '../../protocol/operations/sync.ts';
import { finish } from './answers.ts';
import { clampClientAt, type Incoming, judge, policyOf, type Verdict } from './conflict.ts';
import { Draft, tooManyDevices } from './draft.ts';
import { type Entry, isLive, isoOf } from './entry.ts';
import { mergeValues } from './merge.ts';
import { parseOpId } from './op-id.ts';
import { quotaError } from './quota.ts';
import type { VaultState } from './vault-state.ts';
import type { Writer } from './writes.ts';

/** Server values in one answer; past it they are left out, and a pull brings them. */
const serverValueBytes = 1024 * 1024;

export const push: Writer = (state, message, context, now, cold) => {
  const { ops } = message.input as InputOf<'tween.sync.push'>;
  const draft = new Draft(state, now, cold);
  const told = { bytes: 0 };
  const results = ops.map((op): PushResultValue => {
    try {
      return pushOne(state, draft, op, told);
    } catch (thrown) {
      if (!(thrown instanceof TmcpError)) throw thrown;
      return rejected(op, thrown.code, thrown.message);
    }
  });
  finish(state, context, message, draft, { results });
};

/** What an operation is to the conflict rules. */
export function incomingOf(op: PushOpValue, now: number): Incoming {
  return { kind: op.kind, clientAt: clampClientAt(op.client_timestamp, now), opId: op.op_id, baseVersion: op.base_version };
}

/** What a push would do to a key as it is now. */
export function verdictOf(state: VaultState, incoming: Incoming, key: string, known: Entry | undefined, now: number): Verdict {
  if (known === undefined) return judge(incoming, undefined, 'lww');
  const { version, clientAt, opId } = known;
  return judge(incoming, { version, clientAt, opId, live: isLive(known, now) }, policyOf(key, state.policies));
}

function pushOne(state: VaultState, draft: Draft, op: PushOpValue, told: { bytes: number }): PushResultValue {
  const id = parseOpId(op.op_id);
  if (id === undefined) return rejected(op, 'INVALID_REQUEST', 'op_id names a device id that is too long');
  const known = draft.entry(op.key);
  if (draft.devices.taken(id)) return { op_id: op.op_id, status: 'duplicate', ...placeOf(known) };
  const issue = issueOf(op);
  if (issue !== undefined) return rejected(op, 'INVALID_REQUEST', `${issue.path.slice(1)} ${issue.message}`);
  if (!draft.devices.hasRoom(id.device)) throw tooManyDevices(draft);
  if (op.value !== undefined) draft.sizeOf(op.value);
  const incoming = incomingOf(op, draft.now);
  const result = resolve(state, draft, op, incoming, known, told);
  // Last, because everything before may reject.
  draft.devices.take(id);
  return result;
}

function resolve(
  state: VaultState,
  draft: Draft,
  op: PushOpValue,
  incoming: Incoming,
  known: Entry | undefined,
  told: { bytes: number },
): PushResultValue {
  if (known === undefined && forgotten(state, draft, op, incoming)) return lost(draft, op, incoming, known, 'server_wins', told);
  const verdict = verdictOf(state, incoming, op.key, known, draft.now);
  if (verdict.kind === 'refuse') return lost(draft, op, incoming, known, verdict.resolution, told);
  if (verdict.kind === 'merge') {
    const merged = merge(draft, op, incoming, known as Entry, verdict.incomingWins, told);
    if (merged !== undefined) return merged;
    if (!verdict.incomingWins) return lost(draft, op, incoming, known, 'server_wins', told);
  }
  if (known === undefined || (verdict.kind === 'apply' && !verdict.loser)) {
    return { op_id: op.op_id, status: 'applied', ...placeOf(write(draft, op, incoming)) };
  }
  const value = draft.valueOf(known);
  if (!draft.canKeep(value)) throw quotaError(draft.usage, 'conflicts');
  const entry = write(draft, op, incoming);
  draft.keep({ key: op.key, opId: known.opId ?? '', value, kind: 'set', clientAt: known.clientAt, resolution: 'client_wins' });
  return { op_id: op.op_id, status: 'applied', ...placeOf(entry), resolution: 'client_wins' };
}

/** Whether a key that is not there may have been removed after this was written, by a tombstone that is gone. Rule [STO28]. */
function forgotten(state: VaultState, draft: Draft, op: PushOpValue, incoming: Incoming): boolean {
  if (op.kind === 'remove' || op.base_version === 0) return false;
  const unknownUpTo = state.removed ? draft.now - limits.tombstoneMs : Number.NEGATIVE_INFINITY;
  return incoming.clientAt < Math.max(unknownUpTo, state.droppedClientAt);
}

function write(draft: Draft, op: PushOpValue, incoming: Incoming): Entry {
  const { clientAt, opId } = incoming;
  // A removal of what is not there is kept too: else an older write that arrives later would bring it back.
  if (op.kind === 'remove') return draft.bury(op.key, { clientAt, opId });
  return draft.put(op.key, { value: op.value as string, contentType: null, expiresAt: expiryOf(op, draft.now), clientAt, opId });
}

function merge(
  draft: Draft,
  op: PushOpValue,
  incoming: Incoming,
  known: Entry,
  incomingWins: boolean,
  told: { bytes: number },
): PushResultValue | undefined {
  const mine = op.value as string;
  const theirs = draft.valueOf(known);
  const value = incomingWins ? mergeValues(mine, theirs) : mergeValues(theirs, mine);
  if (value === undefined) return undefined;
  const losing = incomingWins ? theirs : mine;
  if (!draft.canKeep(losing)) throw quotaError(draft.usage, 'conflicts');
  const stamp = incomingWins ? incoming : known;
  const entry = draft.put(op.key, {
    value,
    contentType: known.contentType,
    expiresAt: incomingWins ? expiryOf(op, draft.now) : known.expiresAt,
    clientAt: stamp.clientAt,
    opId: stamp.opId,
  });
  const loser = incomingWins ? known : incoming;
  draft.keep({ key: op.key, opId: loser.opId ?? '', value: losing, kind: 'set', clientAt: loser.clientAt, resolution: 'merged' });
  return { op_id: op.op_id, status: 'applied', ...placeOf(entry), resolution: 'merged', ...tell(entry.sizeBytes, value, told) };
}

function lost(
  draft: Draft,
  op: PushOpValue,
  incoming: Incoming,
  known: Entry | undefined,
  resolution: 'server_wins' | 'manual',
  told: { bytes: number },
): PushResultValue {
  const value = op.kind === 'set' ? (op.value as string) : null;
  draft.keep({ key: op.key, opId: op.op_id, value, kind: op.kind, clientAt: incoming.clientAt, resolution });
  const server = known !== undefined && isLive(known, draft.now) ? tell(known.sizeBytes, draft.valueOf(known), told) : {};
  return { op_id: op.op_id, status: 'conflict', ...placeOf(known), resolution, ...server };
}

function tell(sizeBytes: number, value: string, told: { bytes: number }): { server_value?: string } {
  if (told.bytes > 0 && told.bytes + sizeBytes > serverValueBytes) return {};
  told.bytes += sizeBytes;
  return { server_value: value };
}

function expiryOf(op: PushOpValue, now: number): number {
  return op.ttl === undefined ? Number.POSITIVE_INFINITY : now + op.ttl * 1000;
}

function placeOf(entry: Entry | undefined): { version?: number; updated_at?: string } {
  return entry === undefined ? {} : { version: entry.version, updated_at: isoOf(entry.updatedAt) };
}

function issueOf(op: PushOpValue): Issue | undefined {
  if (op.key === '') return { path: '/key', message: 'is empty' };
  const [key] = keyIssues(op.key, '/key');
  if (key !== undefined || op.kind === 'remove') return key;
  if (op.value === undefined) return { path: '/value', message: 'is missing' };
  if (op.ttl !== undefined && (op.ttl < limits.ttlMinS || op.ttl > limits.ttlMaxS)) {
    return { path: '/ttl', message: `is not between ${limits.ttlMinS} and ${limits.ttlMaxS} seconds` };
  }
  return valueIssues(op.value, '/value')[0];
}

function rejected(op: PushOpValue, code: string, message: string): PushResultValue {
  return { op_id: op.op_id, status: 'rejected', error: { code, message } };
}
