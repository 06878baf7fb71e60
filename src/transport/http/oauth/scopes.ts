/**
 * The scopes a mini-app can ask for, how each is put to a person, and what needs a question (protocol section 8).
 * Pure. The hash of a scope names what the person was shown: when the text changes, people are asked again.
 */
import { createHash } from 'node:crypto';
import type { AppRecord } from '../../../actors/ports.ts';

export type Sensitivity = 'low' | 'medium' | 'high' | 'critical';

interface ScopeRow {
  readonly sensitivity: Sensitivity;
  /** What the app will be able to do, after "This will let it …". */
  readonly text: string;
  readonly note?: string;
  /** `automatic`: never asked. `preapprovable`: not asked when the app's record says so. `ask`: always asked. */
  readonly consent: 'automatic' | 'preapprovable' | 'ask';
  readonly officialOnly?: true;
}

const table: Readonly<Record<string, ScopeRow>> = {
  'user:read': { sensitivity: 'low', text: 'See your name and profile picture', consent: 'preapprovable' },
  'user:read:extended': { sensitivity: 'medium', text: 'See your status and what you wrote about yourself', consent: 'ask' },
  'user:read:contacts': { sensitivity: 'high', text: 'See the list of your friends', consent: 'ask' },
  'wallet:balance': { sensitivity: 'high', text: 'See how much money is in your wallet', consent: 'ask' },
  'wallet:pay': {
    sensitivity: 'critical',
    text: 'Ask you for payments, transfers and gifts from your wallet',
    note: 'You confirm each payment yourself before any money moves.',
    consent: 'ask',
  },
  'wallet:history': { sensitivity: 'high', text: 'See your past payments and transfers', consent: 'ask' },
  'wallet:request': { sensitivity: 'high', text: 'Ask other people for money in your name', consent: 'ask' },
  'messaging:send': { sensitivity: 'high', text: 'Send messages to your rooms', consent: 'ask' },
  'messaging:read': { sensitivity: 'high', text: 'Read the messages in your rooms', consent: 'ask' },
  'storage:read': { sensitivity: 'low', text: 'Read what it stored for you', consent: 'automatic' },
  'storage:write': { sensitivity: 'low', text: 'Store its own data for you', consent: 'automatic' },
  'webhook:send': { sensitivity: 'medium', text: 'Be told about your payments and permissions at its own server', consent: 'ask' },
  'room:create': { sensitivity: 'high', text: 'Create rooms in your name', consent: 'ask' },
  'room:invite': { sensitivity: 'high', text: 'Invite people to your rooms', consent: 'ask' },
  'system:notifications': { sensitivity: 'high', text: 'Show you notifications of the system', consent: 'ask', officialOnly: true },
  'wallet:admin': { sensitivity: 'critical', text: 'Change the settings of your wallet', consent: 'ask', officialOnly: true },
  'messaging:broadcast': {
    sensitivity: 'critical',
    text: 'Send one message to many rooms in your name',
    consent: 'ask',
    officialOnly: true,
  },
  'analytics:detailed': { sensitivity: 'high', text: 'See in detail how you use apps', consent: 'ask', officialOnly: true },
};

/** A scope as it is put to a person. */
export interface ScopeCard {
  readonly scope: string;
  readonly sensitivity: Sensitivity;
  readonly text: string;
  readonly note?: string;
}

/** Every scope there is, for discovery. */
export const allScopes: readonly string[] = Object.keys(table);

/** Whether `app` may be given `scope`: known, registered, and of its class. */
export function mayAsk(app: Pick<AppRecord, 'scopes' | 'classification'>, scope: string): boolean {
  const row = table[scope];
  return row !== undefined && app.scopes.includes(scope) && (row.officialOnly !== true || app.classification === 'official');
}

/** The scope's card. The scope must be known. */
export function scopeCard(scope: string): ScopeCard {
  const row = table[scope];
  if (row === undefined) throw new Error(`${scope} is not a scope`);
  const { sensitivity, text, note } = row;
  return note === undefined ? { scope, sensitivity, text } : { scope, sensitivity, text, note };
}

/** Names the meaning a person is shown for `scope`. */
export function scopeHash(scope: string): string {
  const { sensitivity, text, note } = scopeCard(scope);
  return createHash('sha256')
    .update(JSON.stringify([scope, sensitivity, text, note ?? '']))
    .digest('base64url');
}

/** Whether a person need not be asked: storage of the app's own data never, `user:read` when the reviewer let it pass. */
export function passesUnasked(app: { readonly preapprovedScopes: readonly string[] }, scope: string): boolean {
  const consent = table[scope]?.consent;
  return consent === 'automatic' || (consent === 'preapprovable' && app.preapprovedScopes.includes(scope));
}
