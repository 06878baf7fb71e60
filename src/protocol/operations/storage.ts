/** `tween.storage.*`: the key-value space of one user in one app. Protocol section 19. */
import { type Static, Type } from '@sinclair/typebox';
import type { Issue } from '../errors.ts';
import { limits } from '../limits.ts';
import { defineOperation, IdempotencyKey, strictObject } from '../operation.ts';
import { Iso, Limit, Offset, Pagination } from '../schemas.ts';
import { utf8Length } from '../utf8.ts';

const vault = (_input: unknown, who: { readonly userId: string; readonly appId: string }): string => `vault:${who.userId}:${who.appId}`;

export const StorageKey = Type.String({
  minLength: 1,
  maxLength: limits.storageKeyBytes,
  description: 'UTF-8, at most 256 bytes, NFC, no control characters',
});
export const OpId = Type.String({
  minLength: 3,
  maxLength: 160,
  pattern: '^[\\x21-\\x7e]+:[0-9]{1,15}$',
  description: '`<device id>:<counter>`: applied at most once',
});
const Ttl = Type.Integer({ minimum: limits.ttlMinS, maximum: limits.ttlMaxS, description: 'Seconds' });
const ClientTimestamp = Type.Number({ minimum: 0, maximum: 253_402_300_799, description: 'Unix seconds' });
const ItemMetadata = strictObject({ content_type: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })) });
const Durability = Type.Optional(Type.Union([Type.Literal('durable'), Type.Literal('accepted')]));

const biDi = /\p{Cc}/u;

/** What is wrong with a storage key that its schema cannot say. */
export function keyIssues(key: string, path: string): Issue[] {
  const issues: Issue[] = [];
  if (utf8Length(key) > limits.storageKeyBytes) issues.push({ path, message: `is longer than ${limits.storageKeyBytes} bytes` });
  if (biDi.test(key)) issues.push({ path, message: 'holds a control character' });
  if (key.normalize('NFC') !== key) issues.push({ path, message: 'is not in Unicode normal form C' });
  if (!key.isWellFormed()) issues.push({ path, message: 'holds a lone surrogate' });
  return issues;
}

/** What is wrong with a stored value that its schema cannot say. A value over 1 MiB is refused by the vault as a quota. */
export function valueIssues(value: string, path: string): Issue[] {
  return value.isWellFormed() ? [] : [{ path, message: 'holds a lone surrogate' }];
}

const ValueMembers = {
  key: Type.String(),
  value: Type.String(),
  created_at: Iso,
  updated_at: Iso,
  version: Type.Integer(),
  metadata: Type.Object({ size_bytes: Type.Integer(), content_type: Type.Optional(Type.String()) }),
  expires_at: Type.Optional(Iso),
};

/** A stored value as the wire shows it. */
export const StoredValue = Type.Object(ValueMembers);
export type StoredValueView = Static<typeof StoredValue>;

const Written = Type.Object({
  key: Type.String(),
  success: Type.Boolean(),
  version: Type.Optional(Type.Integer()),
  created_at: Type.Optional(Iso),
  updated_at: Type.Optional(Iso),
  metadata: Type.Optional(Type.Object({ size_bytes: Type.Integer(), content_type: Type.Optional(Type.String()) })),
  expires_at: Type.Optional(Iso),
  conflict_detected: Type.Optional(Type.Boolean()),
  resolution: Type.Optional(Type.String()),
  server_value: Type.Optional(Type.String()),
  write: Type.Optional(Type.Integer({ description: 'Only for accepted writes: grows within the session' })),
  durable: Type.Optional(Type.Boolean()),
});
export type WrittenView = Static<typeof Written>;

export const storageGet = defineOperation({
  name: 'tween.storage.get',
  summary: 'Reads the value of a key',
  http: { method: 'GET', path: '/api/v1/storage/{key}' },
  scopes: ['storage:read'],
  limit: 'storage',
  input: strictObject({ key: StorageKey }),
  output: StoredValue,
  errors: ['KEY_NOT_FOUND'],
  check: (input) => keyIssues(input.key, '/key'),
  perCaller: true,
  actor: vault,
});

export const storageSet = defineOperation({
  name: 'tween.storage.set',
  summary: 'Writes the value of a key; without a ttl an earlier one is cleared',
  http: { method: 'PUT', path: '/api/v1/storage/{key}', bodyBytes: limits.httpStorageBodyBytes },
  scopes: ['storage:write'],
  limit: 'storage',
  access: 'write',
  idempotency: 'optional',
  accepted: true,
  input: strictObject({
    key: StorageKey,
    value: Type.String({ description: 'At most 1 MiB of UTF-8' }),
    ttl: Type.Optional(Ttl),
    metadata: Type.Optional(ItemMetadata),
    client_timestamp: Type.Optional(ClientTimestamp),
    op_id: Type.Optional(OpId),
    durability: Durability,
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: Written,
  errors: ['STORAGE_QUOTA_EXCEEDED', 'DUPLICATE_TRANSACTION'],
  check: (input) => [...keyIssues(input.key, '/key'), ...valueIssues(input.value, '/value')],
  perCaller: true,
  actor: vault,
});

export const storageRemove = defineOperation({
  name: 'tween.storage.remove',
  summary: 'Removes a key; removing what is not there succeeds',
  http: { method: 'DELETE', path: '/api/v1/storage/{key}' },
  scopes: ['storage:write'],
  limit: 'storage',
  access: 'write',
  idempotency: 'optional',
  accepted: true,
  input: strictObject({
    key: StorageKey,
    client_timestamp: Type.Optional(ClientTimestamp),
    op_id: Type.Optional(OpId),
    durability: Durability,
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: Type.Object({ ...Written.properties, removed: Type.Boolean() }),
  errors: ['DUPLICATE_TRANSACTION'],
  check: (input) => keyIssues(input.key, '/key'),
  perCaller: true,
  actor: vault,
});

export const storageList = defineOperation({
  name: 'tween.storage.list',
  summary: 'Lists keys in order, without their values; the prefix is literal',
  http: { method: 'GET', path: '/api/v1/storage', query: ['prefix', 'limit', 'offset'] },
  scopes: ['storage:read'],
  limit: 'storage',
  input: strictObject({
    prefix: Type.Optional(Type.String({ maxLength: limits.storageKeyBytes })),
    limit: Limit(1000, 100),
    offset: Offset,
  }),
  output: Type.Object({
    keys: Type.Array(
      Type.Object({
        key: Type.String(),
        size_bytes: Type.Integer(),
        updated_at: Iso,
        version: Type.Integer(),
        expires_at: Type.Optional(Iso),
      }),
    ),
    pagination: Pagination,
  }),
  perCaller: true,
  actor: vault,
});

const Keys = Type.Array(StorageKey, { minItems: 1, maxItems: limits.storageBatch });
const keysIssues = (input: { readonly keys: readonly string[] }): Issue[] =>
  input.keys.flatMap((key, index) => keyIssues(key, `/keys/${index}`));

export const storageBatchGet = defineOperation({
  name: 'tween.storage.batchGet',
  summary: 'Reads up to 100 keys',
  http: { method: 'POST', path: '/api/v1/storage/batch/get' },
  scopes: ['storage:read', 'storage:write'],
  limit: 'storage_batch',
  input: strictObject({ keys: Keys }),
  output: Type.Object({ items: Type.Array(StoredValue), missing: Type.Array(Type.String()) }),
  check: keysIssues,
  perCaller: true,
  actor: vault,
});

const SetItem = strictObject({
  key: StorageKey,
  value: Type.String(),
  ttl: Type.Optional(Ttl),
  metadata: Type.Optional(ItemMetadata),
  client_timestamp: Type.Optional(ClientTimestamp),
});

export const storageBatchSet = defineOperation({
  name: 'tween.storage.batchSet',
  summary: 'Writes up to 100 keys; each is answered for itself',
  http: { method: 'POST', path: '/api/v1/storage/batch/set', bodyBytes: limits.httpStorageBodyBytes },
  scopes: ['storage:write'],
  limit: 'storage_batch',
  access: 'write',
  idempotency: 'optional',
  input: strictObject({
    items: Type.Array(SetItem, { minItems: 1, maxItems: limits.storageBatch }),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: Type.Object({
    results: Type.Array(
      Type.Object({
        ...Written.properties,
        error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String(), details: Type.Optional(Type.Unknown()) })),
      }),
    ),
  }),
  errors: ['DUPLICATE_TRANSACTION'],
  check: (input) =>
    input.items.flatMap((item, index) => [
      ...keyIssues(item.key, `/items/${index}/key`),
      ...valueIssues(item.value, `/items/${index}/value`),
    ]),
  perCaller: true,
  actor: vault,
});

export const storageBatchRemove = defineOperation({
  name: 'tween.storage.batchRemove',
  summary: 'Removes up to 100 keys',
  http: { method: 'POST', path: '/api/v1/storage/batch/delete' },
  scopes: ['storage:write'],
  limit: 'storage_batch',
  access: 'write',
  idempotency: 'optional',
  input: strictObject({ keys: Keys, idempotency_key: Type.Optional(IdempotencyKey) }),
  output: Type.Object({ results: Type.Array(Type.Object({ key: Type.String(), success: Type.Boolean(), removed: Type.Boolean() })) }),
  errors: ['DUPLICATE_TRANSACTION'],
  check: keysIssues,
  perCaller: true,
  actor: vault,
});

export const storageUsage = defineOperation({
  name: 'tween.storage.usage',
  summary: 'How much of the quota is used',
  http: { method: 'GET', path: '/api/v1/storage-usage' },
  scopes: ['storage:read'],
  limit: 'storage',
  input: strictObject({}),
  output: Type.Object({ usage_bytes: Type.Integer(), quota_bytes: Type.Integer(), keys: Type.Integer(), keys_quota: Type.Integer() }),
  perCaller: true,
  actor: vault,
});

export const storageOperations = [
  storageGet,
  storageSet,
  storageRemove,
  storageList,
  storageBatchGet,
  storageBatchSet,
  storageBatchRemove,
  storageUsage,
] as const;
