/** `tween.sync.*`: what a device wrote while it was offline goes up, what others wrote comes down. Live binding, section 8. */
import { type Static, Type } from '@sinclair/typebox';
import { limits } from '../limits.ts';
import { defineOperation, strictObject } from '../operation.ts';
import { Iso } from '../schemas.ts';
import { OpId, StorageKey } from './storage.ts';

const vault = (_input: unknown, who: { readonly userId: string; readonly appId: string }): string => `vault:${who.userId}:${who.appId}`;

const PushOp = strictObject({
  op_id: OpId,
  key: Type.String(),
  kind: Type.Union([Type.Literal('set'), Type.Literal('remove')]),
  value: Type.Optional(Type.String()),
  ttl: Type.Optional(Type.Integer()),
  client_timestamp: Type.Number({ minimum: 0, maximum: 253_402_300_799, description: 'Unix seconds' }),
  base_version: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type PushOpValue = Static<typeof PushOp>;

const PushResult = Type.Object({
  op_id: Type.String(),
  status: Type.Union(['applied', 'duplicate', 'conflict', 'rejected'].map((name) => Type.Literal(name))),
  version: Type.Optional(Type.Integer()),
  updated_at: Type.Optional(Iso),
  server_value: Type.Optional(Type.String()),
  resolution: Type.Optional(Type.String()),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() })),
});
export type PushResultValue = Static<typeof PushResult>;

export const syncPush = defineOperation({
  name: 'tween.sync.push',
  summary: 'Applies operations made offline, each at most once; one bad operation never fails the rest',
  http: { method: 'POST', path: '/api/v1/storage-sync/push', bodyBytes: limits.httpStorageBodyBytes },
  scopes: ['storage:write'],
  limit: 'storage_batch',
  access: 'write',
  input: strictObject({ ops: Type.Array(PushOp, { minItems: 1, maxItems: limits.pushOps }) }),
  output: Type.Object({ results: Type.Array(PushResult) }),
  check: (input) =>
    input.ops.reduce((sum, op) => sum + (op.value?.length ?? 0), 0) > limits.pushBytes + limits.storageValueBytes
      ? [{ path: '/ops', message: 'holds more than 1 MiB of values' }]
      : [],
  perCaller: true,
  actor: vault,
});

const Change = Type.Object({
  key: StorageKey,
  version: Type.Integer(),
  kind: Type.Union([Type.Literal('set'), Type.Literal('remove')]),
  value: Type.Optional(Type.String()),
  updated_at: Iso,
});
export type ChangeValue = Static<typeof Change>;

export const syncPull = defineOperation({
  name: 'tween.sync.pull',
  summary: 'All changes after the cursor, oldest first; `reset` with a full listing when the cursor is too old',
  http: { method: 'POST', path: '/api/v1/storage-sync/pull' },
  scopes: ['storage:read'],
  limit: 'storage_batch',
  input: strictObject({
    cursor: Type.Optional(Type.String({ maxLength: 128 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 200 })),
  }),
  output: Type.Object({
    changes: Type.Array(Change),
    cursor: Type.String(),
    has_more: Type.Boolean(),
    reset: Type.Optional(Type.Boolean()),
  }),
  perCaller: true,
  actor: vault,
});

export const syncStatus = defineOperation({
  name: 'tween.sync.status',
  summary: 'The newest version of the namespace and the conflicts of the last 30 days',
  http: { method: 'GET', path: '/api/v1/storage-sync/status' },
  scopes: ['storage:read'],
  limit: 'storage',
  input: strictObject({}),
  output: Type.Object({
    version: Type.Integer(),
    conflicts: Type.Array(
      Type.Object({
        key: Type.String(),
        op_id: Type.String(),
        kind: Type.String(),
        value: Type.Optional(Type.String()),
        at: Iso,
        resolution: Type.String(),
      }),
    ),
  }),
  perCaller: true,
  actor: vault,
});

export const syncOperations = [syncPush, syncPull, syncStatus] as const;
