/** A vault behind the real gate and registry, on a journal, a clock and keys that the test holds in its hand. */
import { randomBytes } from 'node:crypto';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { expect } from 'vitest';
import type { Clock, KeyRing, Principal, UserCipher, UserEvent } from '../../../src/actors/ports.ts';
import type { Message } from '../../../src/actors/runtime/message.ts';
import { Gate } from '../../../src/actors/runtime/gate.ts';
import { UserLimiter } from '../../../src/actors/runtime/limiter.ts';
import { Registry } from '../../../src/actors/runtime/registry.ts';
import { compileCatalogue, issuesOf } from '../../../src/actors/runtime/validators.ts';
import { createVaultBehaviour, type VaultOptions } from '../../../src/actors/vault/vault.ts';
import { open, seal } from '../../../src/persistence/crypto/sealed-box.ts';
import type { InputOf, MethodName, OutputOf } from '../../../src/protocol/catalogue.ts';
import type { TmcpError } from '../../../src/protocol/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { createMemoryJournal, type MemoryJournal } from '../../support/memory-journal.ts';

const operations = compileCatalogue();
const outputs = new Map([...operations].map(([name, operation]) => [name, TypeCompiler.Compile(operation.output)]));

/** A key ring with a random key a user, for as long as the world lives. */
export function memoryKeyRing(): KeyRing {
  const ciphers = new Map<string, UserCipher>();
  return {
    async forUser(userId) {
      let cipher = ciphers.get(userId);
      if (cipher === undefined) {
        const key = randomBytes(32);
        cipher = { encrypt: (plain, aad) => seal(key, plain, aad), decrypt: (sealed, aad) => open(key, sealed, aad) };
        ciphers.set(userId, cipher);
      }
      return cipher;
    },
  };
}

/** A call under way or answered. */
export interface Asked<R> {
  /** Undefined until it is answered. */
  answer: { readonly error: TmcpError | null; readonly result: R } | undefined;
  /** Outcomes told by `durable`, for accepted writes. */
  readonly durable: (Error | null)[];
  readonly done: Promise<R>;
}

export interface WorldOptions {
  readonly autoFlush?: boolean;
  readonly vault?: Partial<Omit<VaultOptions, 'vaults' | 'keys' | 'clock'>>;
}

export const alice = principal('@alice:tween.example', 'ma_demo_shop', 'ses_a');

export function principal(userId: string, appId: string, sessionId?: string): Principal {
  const base = {
    userId,
    appId,
    walletId: 'tw_1',
    scopes: new Set(['storage:read', 'storage:write']),
    tokenId: 'jti_1',
    grantId: 'gr_1',
    expiresAt: Number.MAX_SAFE_INTEGER,
  };
  return sessionId === undefined ? base : { ...base, sessionId };
}

export class World {
  readonly clock = new ManualClock();
  readonly journal: MemoryJournal;
  readonly events: UserEvent[] = [];
  readonly restarts: unknown[] = [];
  readonly keys = memoryKeyRing();
  #vault: WorldOptions['vault'];
  #registry!: Registry;
  #gate!: Gate;

  constructor(options: WorldOptions = {}) {
    this.journal = createMemoryJournal({ autoFlush: options.autoFlush ?? true, now: () => this.clock.now() });
    this.#vault = options.vault;
    this.#boot();
  }

  /** The actors of memory are gone, what the journal committed stays. Options may change, as at a deployment. */
  restart(vault: WorldOptions['vault'] = this.#vault): void {
    this.#registry.close();
    this.journal.crash();
    this.#vault = vault;
    this.#boot();
  }

  /** Forgets idle actors; the next call loads them. */
  passivate(): number {
    return this.#registry.passivate(0);
  }

  /** Past the gate: for messages that no operation can make. */
  tell(address: string, message: Message): void {
    this.#registry.tell(address, message);
  }

  #boot(): void {
    const clock: Clock = this.clock;
    const vault = createVaultBehaviour({ vaults: this.journal, keys: this.keys, dbEpoch: 'epoch-1', clock, ...this.#vault });
    this.#registry = new Registry({
      journal: this.journal,
      store: this.journal,
      bus: { publish: (event) => this.events.push(event), subscribe: () => () => {} },
      clock,
      behaviours: [vault],
      mailboxLimit: 10_000,
      maxActors: 1_000,
      idleMs: 60_000,
      observe: { restarted: (_kind, _address, error) => this.restarts.push(error) },
    });
    this.#gate = new Gate({
      operations,
      limiter: new UserLimiter(clock, 1e9),
      tell: (address, message) => this.#registry.tell(address, message),
      hashKey: Buffer.from('a key of the process'),
    });
  }

  /** Asks without waiting. The input may be of any shape; a result is checked against the operation's output schema. */
  ask<N extends MethodName>(name: N, input: InputOf<N>, who: Principal = alice): Asked<OutputOf<N>> {
    const operation = operations.get(name);
    if (operation === undefined) throw new Error(`no operation ${name}`);
    const durable: (Error | null)[] = [];
    let settle: (value: unknown) => void = () => {};
    let fail: (error: TmcpError) => void = () => {};
    const done = new Promise<OutputOf<N>>((resolve, reject) => {
      settle = resolve as (value: unknown) => void;
      fail = reject;
    });
    done.catch(() => {});
    const asked: Asked<OutputOf<N>> = { answer: undefined, durable, done };
    const call = { requestId: 'req_1', durable: (error: Error | null) => durable.push(error) };
    this.#gate.call(operation, who, input, call, (error, result) => {
      if (asked.answer !== undefined) throw new Error(`${name} was answered twice`);
      asked.answer = { error, result: result as OutputOf<N> };
      if (error !== null) {
        fail(error);
        return;
      }
      const checked = outputs.get(name)?.Check(result);
      if (checked !== true) throw new Error(`${name} answered outside its schema: ${JSON.stringify(result)}`);
      settle(result);
    });
    return asked;
  }

  /** Asks and waits for the answer. */
  call<N extends MethodName>(name: N, input: InputOf<N>, who: Principal = alice): Promise<OutputOf<N>> {
    return this.ask(name, input, who).done;
  }

  /** Asks and waits for the refusal. */
  async refusal<N extends MethodName>(name: N, input: InputOf<N>, who: Principal = alice): Promise<TmcpError> {
    const outcome: unknown = await this.call(name, input, who).then(
      () => undefined,
      (error: TmcpError) => error,
    );
    expect(outcome).toBeInstanceOf(Error);
    return outcome as TmcpError;
  }

  /** The value of a key, undefined when there is none. */
  async value(key: string, who: Principal = alice): Promise<string | undefined> {
    const { items } = await this.call('tween.storage.batchGet', { keys: [key] }, who);
    return items[0]?.value;
  }

  /** Every key and value, by pulling all pages from nothing. */
  async map(who: Principal = alice): Promise<Record<string, string>> {
    const map = new Map<string, string>();
    let cursor: string | undefined;
    for (;;) {
      const page: OutputOf<'tween.sync.pull'> = await this.call('tween.sync.pull', cursor === undefined ? {} : { cursor }, who);
      for (const change of page.changes) {
        if (change.kind === 'set') map.set(change.key, change.value as string);
        else map.delete(change.key);
      }
      cursor = page.cursor;
      if (!page.has_more) return Object.fromEntries([...map].sort());
    }
  }

  /** Unix seconds now, as a device with a right clock says them. */
  get seconds(): number {
    return this.clock.now() / 1000;
  }
}

/** Lets promises that are ready run. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What the gate would say of an input. */
export function issues(name: MethodName, input: unknown): readonly unknown[] {
  const operation = operations.get(name);
  return operation === undefined ? [] : issuesOf(operation, input);
}
