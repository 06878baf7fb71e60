/**
 * A user: devices, and two second factors with their counters. Pure: time, hashes and what a code matched arrive in events.
 * Each factor is a region of its own: absent, ready, locked (until a time), blocked (no time unlocks it). A try is charged
 * before it is looked at, so a crash between the two forgives nothing. Rules MFA1 to MFA25 of docs/spec/mfa.md.
 */
import { assign, setup } from 'xstate';
import type { ErrorCode } from '../../protocol/errors.ts';
import { absentFactor, charged, chargeVerdict, type ChargeVerdict, counts, passed } from './factor-rules.ts';
import type { Factor, Method, UserContext, UserEvent } from './user-types.ts';

export const userMachineVersion = 1;

/** Devices a user may have had; revoked ones keep their ids, so that no id ever comes back with another key. */
export const maxDevices = 100;

type On<T extends UserEvent['type']> = { readonly context: UserContext; readonly event: Extract<UserEvent, { type: T }> };
type DeviceVerdict = 'new' | 'same' | 'taken' | 'full';
type Rejection = { readonly code: ErrorCode };

const machine = setup({
  types: { context: {} as UserContext, events: {} as UserEvent, input: {} as { readonly userId: string } },
  guards: {
    charge: (_, params: { readonly mine: boolean; readonly verdict: ChargeVerdict; readonly is: ChargeVerdict }) =>
      params.mine && params.verdict === params.is,
    mine: (_, params: { readonly mine: boolean }) => params.mine,
    success: (_, params: { readonly mine: boolean; readonly counts: boolean; readonly unlocks: boolean }) =>
      params.mine && params.counts && params.unlocks,
    device: (_, params: { readonly verdict: DeviceVerdict; readonly is: DeviceVerdict }) => params.verdict === params.is,
    known: (_, params: { readonly known: boolean }) => params.known,
  },
  actions: {
    reject: (_, _params: Rejection) => {},
    /** The try is charged; once that is durable it may be looked at. */
    'mfa.evaluate': (_, _params: { readonly method: Method; readonly try: number }) => {},
    show: () => {},
    charge: assign(({ context }, params: { readonly method: Method; readonly at: number }) =>
      put(context, params.method, charged(context.factors[params.method], params.at)),
    ),
    pass: assign(({ context }, params: Extract<UserEvent, { type: 'mfa.passed' }>) =>
      put(context, params.method, passed(context.factors[params.method], params)),
    ),
    noteFailure: assign(({ context }, params: { readonly method: Method; readonly at: number }) =>
      put(context, params.method, { ...context.factors[params.method], lastFailedAt: params.at }),
    ),
    enrol: assign(({ context }, params: Extract<UserEvent, { type: 'mfa.enrolled' }>) =>
      put(context, params.method, {
        ...absentFactor,
        sealed: params.sealed,
        enrolledAt: params.at,
        tries: context.factors[params.method].tries,
      }),
    ),
    addDevice: assign(({ context }, params: Extract<UserEvent, { type: 'device.registered' }>) => {
      const { type: _type, at, ...device } = params;
      return { devices: [...context.devices, { ...device, status: 'active' as const, registeredAt: at, revokedAt: null }] };
    }),
    revokeDevice: assign(({ context }, params: { readonly deviceId: string; readonly at: number }) => ({
      devices: context.devices.map((device) =>
        device.deviceId === params.deviceId ? { ...device, status: 'revoked' as const, revokedAt: params.at } : device,
      ),
    })),
    noteRevocation: assign((_, params: { readonly at: number }) => ({ lastRevocationAt: params.at })),
  },
});

function put(context: UserContext, method: Method, factor: Factor): Pick<UserContext, 'factors'> {
  return { factors: { ...context.factors, [method]: factor } };
}

function deviceVerdict({ devices }: UserContext, asked: { readonly deviceId: string; readonly keyHash: string }): DeviceVerdict {
  const known = devices.find(({ deviceId }) => deviceId === asked.deviceId);
  if (known !== undefined) return known.status === 'active' && known.keyHash === asked.keyHash ? 'same' : 'taken';
  return devices.length >= maxDevices ? 'full' : 'new';
}

const wrong = { type: 'reject', params: { code: 'INVALID_MFA_CREDENTIALS' } } as const;
const locked = { type: 'reject', params: { code: 'MFA_LOCKED' } } as const;
const device = (is: DeviceVerdict) =>
  ({ type: 'device', params: ({ context, event }: On<'device.registered'>) => ({ verdict: deviceVerdict(context, event), is }) }) as const;

/** One factor's region. A try is charged in `ready` or after a lock has run out; a success opens whatever it was in. */
function region(method: Method) {
  const mine = {
    type: 'mine',
    params: ({ event }: On<'mfa.charge' | 'mfa.passed' | 'mfa.failed' | 'mfa.enrolled'>) => ({ mine: event.method === method }),
  } as const;
  const charge = (is: ChargeVerdict) =>
    ({
      type: 'charge',
      params: ({ context, event }: On<'mfa.charge'>) => ({
        mine: event.method === method,
        verdict: chargeVerdict(context.factors[method], event.at),
        is,
      }),
    }) as const;
  const evaluate = [
    { type: 'charge', params: ({ event }: On<'mfa.charge'>) => event },
    { type: 'mfa.evaluate', params: ({ context }: On<'mfa.charge'>) => ({ method, try: context.factors[method].tries }) },
  ] as const;
  const success = (unlocks: boolean) =>
    ({
      type: 'success',
      params: ({ context, event }: On<'mfa.passed'>) => {
        const factor = context.factors[method];
        return {
          mine: event.method === method,
          counts: counts(factor, event),
          unlocks: (passed(factor, event).lockedUntil === null) === unlocks,
        };
      },
    }) as const;
  const pass = [{ type: 'pass', params: ({ event }: On<'mfa.passed'>) => event }, 'show'] as const;
  const noteFailure = { type: 'noteFailure', params: ({ event }: On<'mfa.failed' | 'mfa.passed'>) => event } as const;
  const enrolled = {
    guard: mine,
    target: 'ready',
    actions: [{ type: 'enrol', params: ({ event }: On<'mfa.enrolled'>) => event }, 'show'],
  } as const;
  const tried = (reason: typeof wrong | typeof locked) =>
    ({
      'mfa.passed': [
        { guard: success(true), target: 'ready', actions: pass },
        // Matched, but guesses charged after it have locked the factor by themselves.
        { guard: success(false), actions: pass },
        // A step that was used already: as wrong as any other code.
        { guard: mine, actions: [noteFailure, reason] },
      ],
      'mfa.failed': { guard: mine, actions: [noteFailure, reason] },
      'mfa.enrolled': enrolled,
    }) as const;
  const chargeable = [
    { guard: charge('blocks'), target: 'blocked', actions: evaluate },
    { guard: charge('locks'), target: 'locked', actions: evaluate },
    { guard: charge('taken'), target: 'ready', actions: evaluate },
    { guard: mine, actions: locked },
  ] as const;
  return {
    initial: 'absent',
    states: {
      absent: {
        on: {
          'mfa.charge': { guard: mine, actions: wrong },
          'mfa.passed': { guard: mine, actions: wrong },
          'mfa.failed': { guard: mine, actions: wrong },
          'mfa.enrolled': enrolled,
        },
      },
      ready: { on: { 'mfa.charge': chargeable, ...tried(wrong) } },
      locked: { on: { 'mfa.charge': chargeable, ...tried(locked) } },
      blocked: { on: { 'mfa.charge': { guard: mine, actions: locked }, ...tried(locked) } },
    },
  } as const;
}

export const userMachine = machine.createMachine({
  id: 'user',
  context: ({ input }) => ({
    userId: input.userId,
    devices: [],
    factors: { transaction_pin: absentFactor, totp: absentFactor },
    lastRevocationAt: null,
  }),
  type: 'parallel',
  on: {
    'device.registered': [
      { guard: device('new'), actions: [{ type: 'addDevice', params: ({ event }) => event }, 'show'] },
      { guard: device('same'), actions: 'show' },
      { actions: { type: 'reject', params: { code: 'CONFLICT' } } },
    ],
    'device.revoked': [
      {
        guard: {
          type: 'known',
          params: ({ context, event }) => ({
            known: context.devices.some(({ deviceId, status }) => deviceId === event.deviceId && status === 'active'),
          }),
        },
        actions: [{ type: 'revokeDevice', params: ({ event }) => event }, 'show'],
      },
      {
        guard: {
          type: 'known',
          params: ({ context, event }) => ({ known: context.devices.some(({ deviceId }) => deviceId === event.deviceId) }),
        },
        actions: 'show',
      },
      { actions: { type: 'reject', params: { code: 'DEVICE_NOT_FOUND' } } },
    ],
    'access.revoked': { actions: [{ type: 'noteRevocation', params: ({ event }) => event }, 'show'] },
  },
  states: { transaction_pin: region('transaction_pin'), totp: region('totp') },
});
