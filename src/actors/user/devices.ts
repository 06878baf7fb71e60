/** Devices: registration, list, revocation, and the verification of what they sign. Rules MFA17 to MFA23 of docs/spec/mfa.md. */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import { settleLater } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { keyObjectOf, readDeviceKey, verifiesAny } from './device-key.ts';
import { checkFactor } from './second-factor.ts';
import type { User, UserOptions } from './user-options.ts';
import { stepUser } from './user-step.ts';
import type { UserContext, UserEvent } from './user-types.ts';

type Registered = OutputOf<'tween.device.register'>;

/** A device to enrol, as the internal event tells it. */
export interface DeviceEnrolment {
  readonly deviceId: string;
  readonly name: string;
  readonly platform: string;
  readonly algorithm: string;
  /** SPKI, DER, base64. */
  readonly key: string;
}

/** What is asked of a device: that it signed one of `texts`. */
export interface DeviceQuestion {
  readonly deviceId: string;
  readonly texts: readonly string[];
  readonly signature: string;
}

/**
 * Registers a device. A user who has a factor must prove the stronger one of those he has, unless this very device is there already.
 * Errors: `INVALID_REQUEST` for the key, `CONFLICT` for a taken id, `MFA_REQUIRED` without credentials, and those of `checkFactor`.
 */
export function registerDevice(options: UserOptions, user: User, message: Message, host: ActorContext): void {
  const asked = message.input as InputOf<'tween.device.register'>;
  const { context } = user.machine;
  const enrolment: DeviceEnrolment = {
    deviceId: asked.device_id,
    name: asked.device_name,
    platform: asked.platform,
    algorithm: asked.public_key.algorithm,
    key: asked.public_key.key_data,
  };
  const registered = registrationOf(enrolment);
  const known = context.devices.some(({ deviceId }) => deviceId === asked.device_id);
  // A taken id is told before a code is spent on it; the same device again is only told what it is.
  const method = (['totp', 'transaction_pin'] as const).find((one) => context.factors[one].sealed !== null);
  if (known || method === undefined) {
    stepUser(user, host, [registered(host.now())], { message, result: (after) => viewOf(after, asked.device_id) });
    return;
  }
  const given = method === 'totp' ? asked.totp_code : asked.pin;
  if (given === undefined) {
    const what = method === 'totp' ? 'A code of the authenticator app' : 'The PIN';
    throw new TmcpError('MFA_REQUIRED', `${what} is needed to register a device`, { details: { methods: [method] } });
  }
  const credentials = method === 'totp' ? { code: given } : { pin: given };
  checkFactor(
    options,
    user,
    message,
    host,
    { method, credentials },
    {
      events: () => [registered(host.now())],
      result: (after) => viewOf(after, asked.device_id),
    },
  );
}

/** Registers a device without a second factor: for hosts that have made sure by other means. Errors: as `registerDevice`. */
export function enrolDevice(user: User, message: Message, host: ActorContext): void {
  const enrolment = message.input as DeviceEnrolment;
  stepUser(user, host, [registrationOf(enrolment)(host.now())], { message, result: (after) => viewOf(after, enrolment.deviceId) });
}

/** The user's devices in the order of registration, revoked ones too. */
export function listDevices({ devices }: UserContext): OutputOf<'tween.device.list'> {
  return {
    devices: devices.map(({ deviceId, name, platform, status, registeredAt, keyHash }) => ({
      device_id: deviceId,
      device_name: name,
      platform,
      status,
      registered_at: toIso(registeredAt),
      public_key_hash: keyHash,
    })),
  };
}

/** Revokes a device; again is the same answer. Errors: `DEVICE_NOT_FOUND`. */
export function revokeDevice(user: User, message: Message, host: ActorContext): void {
  const { device_id: deviceId } = message.input as InputOf<'tween.device.revoke'>;
  stepUser(user, host, [{ type: 'device.revoked', at: host.now(), deviceId }], {
    message,
    result: () => ({ device_id: deviceId, status: 'revoked' }),
  });
}

/** Answers `{ok: true}` when the device signed one of the texts. Errors: `DEVICE_NOT_REGISTERED`, `INVALID_SIGNATURE`. */
export function verifyDevice(user: User, message: Message, host: ActorContext): void {
  const { deviceId, texts, signature } = message.input as DeviceQuestion;
  const device = user.machine.context.devices.find((one) => one.deviceId === deviceId);
  if (device?.status !== 'active') throw new TmcpError('DEVICE_NOT_REGISTERED');
  let key = user.keys.get(device.keyHash);
  if (key === undefined) {
    key = keyObjectOf(device.key);
    user.keys.set(device.keyHash, key);
  }
  if (!verifiesAny(key, texts, signature)) throw new TmcpError('INVALID_SIGNATURE');
  settleLater(user.machine, host, { message, result: { ok: true } });
}

function registrationOf({ deviceId, name, platform, algorithm, key: keyData }: DeviceEnrolment): (at: number) => UserEvent {
  const { key, keyHash } = readDeviceKey(algorithm, keyData);
  return (at) => ({ type: 'device.registered', at, deviceId, name, platform, algorithm, key, keyHash });
}

function viewOf({ devices }: UserContext, id: string): Registered {
  const device = devices.find(({ deviceId }) => deviceId === id);
  if (device === undefined) throw new Error('the device was not registered');
  return { device_id: id, registered_at: toIso(device.registeredAt), status: 'active', public_key_hash: device.keyHash };
}
