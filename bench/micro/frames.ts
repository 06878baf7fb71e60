/** Values and frames the codec's micro-benchmarks measure: what the live binding sees most, and its extremes. */
import { encodeMsgpack } from '../../src/protocol/codec.ts';

export const values: Readonly<Record<string, unknown>> = {
  'request: storage.get, 62 B': { id: 7, method: 'tween.storage.get', params: { key: 'settings/theme-dark' } },
  'answer: 64 B value, 128 B': { id: 7, result: { key: 'settings/theme', value: 'x'.repeat(64), version: 3, ttl: null } },
  'request: wallet.pay': {
    id: 'r-19',
    method: 'tween.wallet.pay',
    params: { amount: 75.5, currency: 'USD', description: 'Two tickets', idempotency_key: '0190c1d2-idem-1', merchant_order_id: 'o-1' },
  },
  'request: sync.push of 500 operations': {
    id: 8,
    method: 'tween.sync.push',
    params: {
      ops: Array.from({ length: 500 }, (_, i) => ({
        op_id: `device-1:${i}`,
        key: `notes/${i}`,
        kind: 'set',
        value: `{"text":"note ${i}"}`,
        client_timestamp: 1_767_225_600 + i,
        base_version: i,
      })),
    },
  },
  'request: a value of 1 MiB': { id: 9, method: 'tween.storage.set', params: { key: 'big', value: 'x'.repeat(1 << 20) } },
  'a map of 4,094 keys': { keys: Object.fromEntries(Array.from({ length: 4_094 }, (_, i) => [`key${i}`, i])) },
};

/** A frame as a socket hands it over: its own memory, no Buffer. */
export function frameOf(value: unknown): Uint8Array {
  return Uint8Array.from(encodeMsgpack(value));
}
