/** A valid input for every operation of the catalogue; a new operation without one does not compile. */
import type { InputOf, MethodName } from '../../src/protocol/catalogue.ts';

type Samples = { readonly [M in Exclude<MethodName, `tween.session.${string}`>]: InputOf<M> };

const payment_id = 'pay_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';

export const samples: Samples = {
  'tween.auth.getUserInfo': {},
  'tween.auth.getScopes': {},
  'tween.auth.revoke': { reason: 'test' },
  'tween.mfa.getMethods': {},
  'tween.device.register': {
    device_id: 'device_sample',
    device_name: 'Sample',
    platform: 'web',
    public_key: {
      algorithm: 'ECDSA_P256',
      format: 'SPKI',
      key_data:
        'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==',
    },
  },
  'tween.device.list': {},
  'tween.device.revoke': { device_id: 'device_sample' },
  'tween.wallet.getBalance': {},
  'tween.wallet.getTransactions': { limit: 10, offset: 0 },
  'tween.wallet.pay': { amount: 1, currency: 'USD', description: 'A sample', merchant_order_id: 'order-1', idempotency_key: 'sample-key' },
  'tween.payment.get': { payment_id },
  'tween.payment.authorize': { payment_id, signature: 'AAAAAAAAAAAA', device_id: 'device_sample', timestamp: '2026-01-01T00:00:00Z' },
  'tween.payment.verifyMfa': { payment_id, challenge_id: 'mfa_ch_abc', method: 'totp', credentials: { code: '123456' } },
  'tween.payment.cancel': { payment_id },
  'tween.storage.get': { key: 'sample' },
  'tween.storage.set': { key: 'sample', value: 'v' },
  'tween.storage.remove': { key: 'sample' },
  'tween.storage.list': { prefix: 's', limit: 10, offset: 0 },
  'tween.storage.batchGet': { keys: ['sample'] },
  'tween.storage.batchSet': { items: [{ key: 'sample', value: 'v' }] },
  'tween.storage.batchRemove': { keys: ['sample'] },
  'tween.storage.usage': {},
  'tween.sync.push': { ops: [{ op_id: 'device_sample:1', key: 'sample', kind: 'set', value: 'v', client_timestamp: 1_767_225_600 }] },
  'tween.sync.pull': { limit: 10 },
  'tween.sync.status': {},
};
