/** What the user actor needs from outside, and what it keeps in memory beside its machine. */
import type { KeyObject } from 'node:crypto';
import type { AppDirectory, Clock, KeyRing, SecretHasher, UserCipher, UserDirectory, Wallet } from '../ports.ts';
import type { MachineActor } from '../runtime/machine-behaviour.ts';
import type { Message } from '../runtime/message.ts';
import type { UserContext } from './user-types.ts';

/** What is withdrawn from an app. Without `scopes`: all of them. */
export interface AccessRevocation {
  readonly userId: string;
  readonly appId: string;
  readonly scopes?: readonly string[];
  readonly reason: string;
}

export interface UserOptions {
  readonly wallet: Wallet;
  readonly users: UserDirectory;
  readonly apps: AppDirectory;
  readonly keys: KeyRing;
  readonly hasher: SecretHasher;
  readonly clock: Pick<Clock, 'now'>;
  /** The scopes that the user has granted to the app. */
  granted(userId: string, appId: string): Promise<readonly string[]>;
  /** Withdraws a grant; resolves when it is durable. `at` is epoch ms. */
  revoke(revocation: AccessRevocation): Promise<{ readonly scopes: readonly string[]; readonly at: number }>;
}

export interface User {
  readonly machine: MachineActor<UserContext>;
  /** Wallet reads under way, by what they ask: later ones that ask the same join. */
  readonly reads: Map<string, Message[]>;
  /** Imported device keys, by hash. */
  readonly keys: Map<string, KeyObject>;
  cipher: UserCipher | undefined;
}
