/**
 * The user actor: identity reads, access revocation, devices, second factors, wallet reads. One per user, so its counters
 * are the only ones. Never tells another user's data: its id comes from the address, and the gate makes that from the token.
 * Protocol sections 9, 12 and 15; rules of docs/spec/mfa.md.
 */
import type { InputOf, OutputOf } from '../../protocol/catalogue.ts';
import { TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import type { Principal } from '../ports.ts';
import type { ActorContext, Behaviour } from '../runtime/behaviour.ts';
import {
  abandon,
  MachineActor,
  type MachineDefinition,
  receiveInto,
  resume,
  reviveMachine,
  settleLater,
  worked,
} from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import { firstStep } from '../runtime/step.ts';
import { enrolDevice, listDevices, registerDevice, revokeDevice, verifyDevice } from './devices.ts';
import { checkFactor, type Enrolment, enrolFactor, enrolledMethods, type FactorCheck } from './second-factor.ts';
import { absentFactor } from './factor-rules.ts';
import { userMachine, userMachineVersion } from './user.machine.ts';
import type { AccessRevocation, User, UserOptions } from './user-options.ts';
import { stepUser } from './user-step.ts';
import { methods, type UserContext } from './user-types.ts';
import { getBalance, getTransactions } from './wallet-reads.ts';

/** The user's machine as its host sees it. Secrets stay in the snapshot: history is kept for ever, a replaced PIN's hash is not. */
export const userDefinition: MachineDefinition = {
  machine: userMachine,
  version: userMachineVersion,
  upcasts: {},
  fits,
  outbox: new Set(),
  recorded: (event) => ('sealed' in event ? { ...event, sealed: '' } : event),
};

/** The behaviour of `user:{user_id}`. */
export function createUserBehaviour(options: UserOptions): Behaviour<User> {
  return {
    kind: 'user',
    machineVersion: userMachineVersion,
    load: (userId, stored) => ({
      machine:
        stored === undefined
          ? new MachineActor<UserContext>(userDefinition, firstStep(userMachine, { userId }).snapshot)
          : reviveMachine<UserContext>(userDefinition, stored),
      reads: new Map(),
      keys: new Map(),
      cipher: undefined,
    }),
    receive: (user, message, host) => receiveInto(user.machine, message, () => receive(options, user, message, host)),
    busy: ({ machine }) => machine.owed.size > 0,
    abandoned: ({ machine }) => abandon(machine),
  };
}

type Handler = (options: UserOptions, user: User, message: Message, host: ActorContext) => void;

const read =
  (view: (context: UserContext, now: number) => unknown): Handler =>
  (_options, { machine }, message, host) =>
    settleLater(machine, host, { message, result: view(machine.context, host.now()) });

const handlers: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['tween.auth.getUserInfo', getUserInfo],
  ['tween.auth.getScopes', getScopes],
  ['tween.auth.revoke', revokeAccess],
  ['tween.mfa.getMethods', read((context, now) => ({ methods: enrolledMethods(context, now) }))],
  ['tween.device.register', registerDevice],
  ['tween.device.list', read(listDevices)],
  ['tween.device.revoke', (_options, user, message, host) => revokeDevice(user, message, host)],
  ['tween.wallet.getBalance', getBalance],
  ['tween.wallet.getTransactions', getTransactions],
  // Between actors, and for the sign-in pages.
  ['device.verify', (_options, user, message, host) => verifyDevice(user, message, host)],
  ['device.enrol', (_options, user, message, host) => enrolDevice(user, message, host)],
  ['mfa.methods', read(enrolledMethods)],
  // At sign-in only the code of an authenticator app is asked for; a locked one is asked for too.
  ['mfa.required', read(({ factors }) => factors.totp.sealed !== null)],
  ['mfa.check', (options, user, message, host) => checkFactor(options, user, message, host, message.input as FactorCheck)],
  ['mfa.enrol', (options, user, message, host) => enrolFactor(options, user, message, host, message.input as Enrolment)],
]);

function receive(options: UserOptions, user: User, message: Message, host: ActorContext): void {
  const handler = handlers.get(message.type);
  if (handler === undefined) throw new Error(`a user does not take ${message.type}`);
  handler(options, user, message, host);
}

function caller({ who }: Message): Principal {
  if (who === null) throw new Error('this operation needs a caller');
  return who;
}

function getUserInfo(options: UserOptions, { machine }: User, message: Message, host: ActorContext): void {
  const who = caller(message);
  host.work(options.users.find(who.userId), (error, found) =>
    resume(machine, host, message, () => {
      const profile = worked(error, found);
      if (profile === undefined) throw new TmcpError('USER_NOT_FOUND');
      const result: OutputOf<'tween.auth.getUserInfo'> = {
        user_id: profile.userId,
        display_name: profile.displayName,
        ...(profile.avatarUrl === undefined ? {} : { avatar_url: profile.avatarUrl }),
        wallet_id: who.walletId,
      };
      settleLater(machine, host, { message, result });
    }),
  );
}

function getScopes(options: UserOptions, { machine }: User, message: Message, host: ActorContext): void {
  const who = caller(message);
  host.work(options.granted(who.userId, who.appId), (error, granted) =>
    resume(machine, host, message, () => {
      const result: OutputOf<'tween.auth.getScopes'> = { scopes: [...who.scopes].sort(), granted: [...worked(error, granted)].sort() };
      settleLater(machine, host, { message, result });
    }),
  );
}

/** An app may give up its own grant; only an official one may withdraw another's. Errors: `FORBIDDEN`. */
function revokeAccess(options: UserOptions, user: User, message: Message, host: ActorContext): void {
  const who = caller(message);
  const { miniapp_id: appId = who.appId, scopes, reason = 'user_initiated' } = message.input as InputOf<'tween.auth.revoke'>;
  const revocation: AccessRevocation = { userId: who.userId, appId, reason, ...(scopes === undefined ? {} : { scopes }) };
  const work = async (): Promise<Awaited<ReturnType<UserOptions['revoke']>>> => {
    if (appId !== who.appId && (await options.apps.find(who.appId))?.classification !== 'official')
      throw new TmcpError('FORBIDDEN', 'Only the app itself or an official app may do this');
    return options.revoke(revocation);
  };
  host.work(work(), (error, value) =>
    resume(user.machine, host, message, () => {
      const revoked = worked(error, value);
      const result: OutputOf<'tween.auth.revoke'> = {
        miniapp_id: appId,
        revoked_scopes: [...revoked.scopes],
        revoked_at: toIso(revoked.at),
      };
      stepUser(user, host, [{ type: 'access.revoked', at: host.now(), appId, scopes: revoked.scopes, reason }], {
        message,
        result: () => result,
      });
    }),
  );
}

function fits(context: unknown): boolean {
  if (typeof context !== 'object' || context === null) return false;
  const { userId, devices, factors, lastRevocationAt } = context as Partial<UserContext>;
  return (
    typeof userId === 'string' &&
    Array.isArray(devices) &&
    lastRevocationAt !== undefined &&
    methods.every((method) => Object.keys(absentFactor).every((member) => member in (factors?.[method] ?? {})))
  );
}
