/** `tween.auth.*`, `tween.mfa.*`, `tween.device.*`: the user behind the token. Protocol sections 9, 15, 20. */
import { Type } from '@sinclair/typebox';
import { defineOperation, IdempotencyKey, strictObject } from '../operation.ts';
import { AppId, DeviceId, Iso } from '../schemas.ts';

const user = (_input: unknown, who: { readonly userId: string }): string => `user:${who.userId}`;

export const getUserInfo = defineOperation({
  name: 'tween.auth.getUserInfo',
  summary: 'The profile of the signed-in user',
  http: { method: 'GET', path: '/api/v1/user' },
  scopes: ['user:read'],
  input: strictObject({}),
  output: Type.Object({
    user_id: Type.String(),
    display_name: Type.Optional(Type.String()),
    avatar_url: Type.Optional(Type.String()),
    wallet_id: Type.String(),
  }),
  errors: ['USER_NOT_FOUND'],
  perCaller: true,
  actor: user,
});

export const getScopes = defineOperation({
  name: 'tween.auth.getScopes',
  summary: 'The scopes this token holds, and those the user has granted to the app',
  http: { method: 'GET', path: '/api/v1/auth/scopes' },
  input: strictObject({}),
  output: Type.Object({ scopes: Type.Array(Type.String()), granted: Type.Array(Type.String()) }),
  perCaller: true,
  actor: user,
});

export const revokeAccess = defineOperation({
  name: 'tween.auth.revoke',
  summary: "Withdraws the app's grant: consents and refresh tokens go, every token and live socket of the pair dies",
  http: { method: 'POST', path: '/api/v1/auth/revoke' },
  access: 'write',
  idempotency: 'optional',
  input: strictObject({
    miniapp_id: Type.Optional(AppId),
    scopes: Type.Optional(Type.Array(Type.String({ maxLength: 128 }), { maxItems: 64 })),
    reason: Type.Optional(Type.String({ maxLength: 200 })),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: Type.Object({ miniapp_id: Type.String(), revoked_scopes: Type.Array(Type.String()), revoked_at: Iso }),
  errors: ['FORBIDDEN'],
  perCaller: true,
  actor: user,
});

export const getMfaMethods = defineOperation({
  name: 'tween.mfa.getMethods',
  summary: 'The second factors the user has enrolled',
  http: { method: 'GET', path: '/wallet/v1/mfa/methods' },
  scopes: ['wallet:pay'],
  input: strictObject({}),
  output: Type.Object({
    methods: Type.Array(
      Type.Object({ type: Type.String(), enabled: Type.Boolean(), display_name: Type.String(), locked_until: Type.Optional(Iso) }),
    ),
  }),
  perCaller: true,
  actor: user,
});

export const registerDevice = defineOperation({
  name: 'tween.device.register',
  summary: 'Registers the public key of a device that will sign payment authorizations',
  http: { method: 'POST', path: '/wallet/v1/devices/register', status: 201 },
  scopes: ['wallet:pay'],
  access: 'write',
  idempotency: 'optional',
  input: strictObject({
    device_id: DeviceId,
    device_name: Type.String({ minLength: 1, maxLength: 100 }),
    platform: Type.Union(['ios', 'android', 'web', 'desktop'].map((name) => Type.Literal(name))),
    public_key: strictObject({
      algorithm: Type.Union([Type.Literal('ECDSA_P256'), Type.Literal('RSA_2048')]),
      format: Type.Literal('SPKI'),
      key_data: Type.String({ minLength: 16, maxLength: 4096, pattern: '^[A-Za-z0-9+/]+={0,2}$' }),
    }),
    biometric_capabilities: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 8 })),
    totp_code: Type.Optional(Type.String({ pattern: '^[0-9]{6}$', description: 'Needed when the user has an authenticator app' })),
    pin: Type.Optional(
      Type.String({ pattern: '^([0-9]{4,12}|[0-9a-f]{64})$', description: 'Needed when the user has a PIN and no authenticator app' }),
    ),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  output: Type.Object({ device_id: Type.String(), registered_at: Iso, status: Type.Literal('active'), public_key_hash: Type.String() }),
  errors: ['CONFLICT', 'MFA_REQUIRED', 'MFA_LOCKED', 'INVALID_MFA_CREDENTIALS'],
  perCaller: true,
  actor: user,
});

export const listDevices = defineOperation({
  name: 'tween.device.list',
  summary: "The user's registered devices",
  http: { method: 'GET', path: '/wallet/v1/devices' },
  scopes: ['wallet:pay'],
  input: strictObject({}),
  output: Type.Object({
    devices: Type.Array(
      Type.Object({
        device_id: Type.String(),
        device_name: Type.String(),
        platform: Type.String(),
        status: Type.String(),
        registered_at: Iso,
        public_key_hash: Type.String(),
      }),
    ),
  }),
  perCaller: true,
  actor: user,
});

export const revokeDevice = defineOperation({
  name: 'tween.device.revoke',
  summary: 'Revokes a device: its signatures are no longer accepted',
  http: { method: 'DELETE', path: '/wallet/v1/devices/{device_id}' },
  scopes: ['wallet:pay'],
  access: 'write',
  idempotency: 'optional',
  input: strictObject({ device_id: DeviceId, idempotency_key: Type.Optional(IdempotencyKey) }),
  output: Type.Object({ device_id: Type.String(), status: Type.Literal('revoked') }),
  errors: ['DEVICE_NOT_FOUND'],
  perCaller: true,
  actor: user,
});

export const accountOperations = [getUserInfo, getScopes, revokeAccess, getMfaMethods, registerDevice, listDevices, revokeDevice] as const;
