/**
 * The catalogue: every operation, once. Adding one is an entry in a family here, the actor's answer, and a test.
 * Imports only the floor; the compiled validators are made from it in `actors/runtime/validators.ts`.
 */
import type { Static } from '@sinclair/typebox';
import type { Operation } from './operation.ts';
import { accountOperations } from './operations/account.ts';
import { paymentOperations } from './operations/payment.ts';
import { sessionOperations } from './operations/session.ts';
import { storageOperations } from './operations/storage.ts';
import { syncOperations } from './operations/sync.ts';
import { walletOperations } from './operations/wallet.ts';

export const catalogue = [
  ...sessionOperations,
  ...accountOperations,
  ...walletOperations,
  ...paymentOperations,
  ...storageOperations,
  ...syncOperations,
] as const;

type Entry = (typeof catalogue)[number];
/** Every method name. */
export type MethodName = Entry['name'];
type EntryOf<N extends MethodName> = Extract<Entry, { readonly name: N }>;
/** Input of a method, as sent. */
export type InputOf<N extends MethodName> = Static<EntryOf<N>['input']>;
/** Result of a method. */
export type OutputOf<N extends MethodName> = Static<EntryOf<N>['output']>;

/** The entries without their literal types, for loops. */
export const operations: readonly Operation[] = catalogue as unknown as readonly Operation[];

/** Events the server sends (live binding, section 7). */
export const eventMethods = [
  'tween.session.expiring',
  'tween.session.draining',
  'tween.session.durable',
  'tween.payment.updated',
  'tween.storage.changed',
  'tween.sync.conflict',
  'tween.auth.revoked',
  'tween.wallet.updated',
] as const;
export type EventMethod = (typeof eventMethods)[number];
