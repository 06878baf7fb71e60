/** What fits into a vault. Pure: no clock, no state. Protocol section 19; rules [STO8] to [STO11] of docs/spec/storage.md. */
import { TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';

/** Live values of a vault: their bytes (UTF-8) and how many they are. */
export interface Usage {
  readonly bytes: number;
  readonly keys: number;
}

/** Which bound a write would pass. */
export type QuotaLimit = 'total' | 'value' | 'keys' | 'conflicts' | 'devices';

/**
 * The bound that a value of `bytes` would pass in a vault that holds `usedBytes` in `keys`, when it takes the place of one of
 * `replacedBytes` (undefined: of none).
 */
export function exceeded(usedBytes: number, keys: number, replacedBytes: number | undefined, bytes: number): QuotaLimit | undefined {
  if (bytes > limits.storageValueBytes) return 'value';
  if (replacedBytes === undefined && keys + 1 > limits.storageKeys) return 'keys';
  if (usedBytes - (replacedBytes ?? 0) + bytes > limits.storageTotalBytes) return 'total';
  return undefined;
}

/** The refusal of a write that passes `limit`. */
export function quotaError(usage: Usage, limit: QuotaLimit): TmcpError {
  return new TmcpError('STORAGE_QUOTA_EXCEEDED', undefined, {
    details: { current_usage_bytes: usage.bytes, quota_bytes: limits.storageTotalBytes, limit },
  });
}
