/**
 * Users and payments behind the real gate, registry, timers and outbox, on a journal, a ledger and a clock that the test
 * holds in its hand. `crash` throws the process away: what the journal committed stays, everything else is gone.
 */
import { createHash, createSign, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { generateSync } from 'otplib';
import { createChargeRunner } from '../../src/actors/payment/charge-runner.ts';
import { createPaymentBehaviour } from '../../src/actors/payment/payment.ts';
import type { AppRecord, Journal, KeyRing, Principal, SecretHasher, UserCipher, UserEvent, UserProfile } from '../../src/actors/ports.ts';
import { Gate } from '../../src/actors/runtime/gate.ts';
import { UserLimiter } from '../../src/actors/runtime/limiter.ts';
import { Outbox } from '../../src/actors/runtime/outbox.ts';
import { Registry } from '../../src/actors/runtime/registry.ts';
import { Timers } from '../../src/actors/runtime/timers.ts';
import { compileCatalogue } from '../../src/actors/runtime/validators.ts';
import { createUserBehaviour } from '../../src/actors/user/user.ts';
import type { AccessRevocation } from '../../src/actors/user/user-options.ts';
import { open, seal } from '../../src/persistence/crypto/sealed-box.ts';
import type { InputOf, MethodName, OutputOf } from '../../src/protocol/catalogue.ts';
import type { TmcpError } from '../../src/protocol/errors.ts';
import { LedgerWallet } from './ledger-wallet.ts';
import { ManualClock } from './manual-clock.ts';
import { createMemoryJournal, type MemoryJournal } from './memory-journal.ts';

const operations = compileCatalogue();
const outputs = new Map([...operations].map(([name, operation]) => [name, TypeCompiler.Compile(operation.output)]));

export const aliceId = '@alice:tween.example';
export const bobId = '@bob:tween.example';
export const totpSecret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
export const pin = '493817';
export const alice = principal(aliceId);
export const bob = principal(bobId);

export function principal(
  userId: string,
  appId = 'ma_demo_shop',
  scopes = ['wallet:pay', 'wallet:balance', 'wallet:history', 'user:read'],
): Principal {
  return {
    userId,
    appId,
    walletId: `wal_of_${userId}`,
    scopes: new Set(scopes),
    tokenId: 'jti',
    grantId: 'gr',
    expiresAt: Number.MAX_SAFE_INTEGER,
  };
}

/** Quick where argon2 is slow on purpose; counts what it is asked, which is what a brute-force bound is about. */
export class CountingHasher implements SecretHasher {
  verified = 0;
  /** Held calls of `verify`, when `hold` is on. */
  hold = false;
  readonly #held: (() => void)[] = [];

  async hash(secret: string): Promise<string> {
    return `h:${createHash('sha256').update(`pepper ${secret}`).digest('hex')}`;
  }

  async verify(hash: string, secret: string): Promise<boolean> {
    this.verified++;
    if (this.hold) await new Promise<void>((resolve) => this.#held.push(resolve));
    return (await this.hash(secret)) === hash;
  }

  release(): void {
    this.hold = false;
    for (const go of this.#held.splice(0)) go();
  }
}

export interface Signer {
  readonly deviceId: string;
  readonly privateKey: KeyObject;
  readonly key: string;
}

/** A device with a fresh P-256 key. */
export function newSigner(deviceId = 'phone'): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { deviceId, privateKey, key: publicKey.export({ format: 'der', type: 'spki' }).toString('base64') };
}

/** An ES256 signature, DER, base64. */
export function sign(signer: Signer, text: string): string {
  return createSign('sha256').update(text).sign(signer.privateKey, 'base64');
}

const signer = newSigner();

export interface Answer<R> {
  readonly error: TmcpError | null;
  readonly result: R;
}

/** A call under way; `answer` is undefined until it is answered. */
export interface Asked<R> {
  answer: Answer<R> | undefined;
}

export interface WorldOptions {
  readonly autoFlush?: boolean;
  readonly hasher?: SecretHasher;
  readonly currencies?: ReadonlySet<string>;
}

export class PaymentWorld {
  readonly clock = new ManualClock();
  readonly journal: MemoryJournal;
  readonly wallet = new LedgerWallet({ now: () => this.clock.now() });
  readonly hasher: SecretHasher & Partial<CountingHasher>;
  readonly events: UserEvent[] = [];
  readonly restarts: unknown[] = [];
  readonly alarms: string[] = [];
  readonly revocations: AccessRevocation[] = [];
  readonly users = new Map<string, UserProfile>([
    [aliceId, { userId: aliceId, displayName: 'Alice', status: 'active' }],
    [bobId, { userId: bobId, displayName: 'Bob', status: 'active' }],
  ]);
  readonly apps = new Map<string, AppRecord>([
    ['ma_demo_shop', app('ma_demo_shop')],
    ['ma_other', app('ma_other')],
    ['ma_official_host', { ...app('ma_official_host'), classification: 'official' }],
  ]);
  readonly signer = signer;
  readonly keys = memoryKeyRing();
  readonly #options: WorldOptions;
  registry!: Registry;
  outbox!: Outbox;
  #gate!: Gate;
  #timers!: Timers;
  #alive = { now: true };
  #challenges = 0;

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.journal = createMemoryJournal({ autoFlush: options.autoFlush ?? true, now: () => this.clock.now() });
    this.hasher = options.hasher ?? new CountingHasher();
  }

  /** A started world. Alice has 1000.00 and a device and both factors; Bob has 100.00 and a device. */
  static async open(options: WorldOptions = {}): Promise<PaymentWorld> {
    const world = new PaymentWorld(options);
    world.wallet.fund(aliceId, 100_000);
    world.wallet.fund(bobId, 10_000);
    await world.boot();
    const device = { deviceId: signer.deviceId, name: 'Phone', platform: 'ios', algorithm: 'ECDSA_P256', key: signer.key };
    const set = [
      world.internal(`user:${aliceId}`, 'device.enrol', device),
      world.internal(`user:${bobId}`, 'device.enrol', device),
      world.internal(`user:${aliceId}`, 'mfa.enrol', { pin }),
      world.internal(`user:${aliceId}`, 'mfa.enrol', { totpSecret }),
    ];
    // A hasher on real threads takes its time.
    do await world.settle({ flush: true });
    while (set.some(({ answer }) => answer === undefined));
    for (const { answer } of set) if (answer?.error !== null) throw answer?.error ?? new Error('a fixture was not answered');
    return world;
  }

  async boot(): Promise<void> {
    const alive = { now: true };
    this.#alive = alive;
    const { clock } = this;
    // A dead process writes nothing more, whatever still comes back to it.
    const journal: Journal = {
      append: (entry, flushed) => (alive.now ? this.journal.append(entry, flushed) : undefined),
      backlog: () => this.journal.backlog(),
      drain: () => this.journal.drain(),
    };
    const users = { find: async (userId: string) => this.users.get(userId) };
    const apps = { find: async (appId: string) => this.apps.get(appId) };
    this.registry = new Registry({
      journal,
      store: this.journal,
      bus: { publish: (event) => (alive.now ? this.events.push(event) : 0), subscribe: () => () => {} },
      clock,
      behaviours: [
        createUserBehaviour({
          wallet: this.wallet,
          users,
          apps,
          keys: this.keys,
          hasher: this.hasher,
          clock,
          granted: async () => ['wallet:pay', 'user:read'],
          revoke: async (revocation) => {
            this.revocations.push(revocation);
            return { scopes: revocation.scopes ?? ['wallet:pay'], at: clock.now() };
          },
        }),
        createPaymentBehaviour({
          wallet: this.wallet,
          users,
          apps,
          clock,
          newChallengeId: () => `mfa_ch_${++this.#challenges}`,
          onAlarm: (id, what) => this.alarms.push(`${id}: ${what}`),
          ...(this.#options.currencies === undefined ? {} : { currencies: this.#options.currencies }),
        }),
      ],
      mailboxLimit: 10_000,
      maxActors: 10_000,
      idleMs: 60_000,
      onFlushed: (address, entry) => {
        this.#timers.flushed(address, entry);
        this.outbox.flushed(address, entry);
      },
      observe: { restarted: (_kind, _address, error) => this.restarts.push(error) },
    });
    const tell: Registry['tell'] = (address, message) => this.registry.tell(address, message);
    this.#timers = new Timers({ store: this.journal, clock, tell });
    this.outbox = new Outbox({ store: this.journal, clock, runners: createChargeRunner(this.wallet, clock), tell });
    this.#gate = new Gate({ operations, limiter: new UserLimiter(clock, 1e9), tell, hashKey: Buffer.from('a key of the process') });
    await this.#timers.start();
    await this.outbox.start();
  }

  /** The process dies and another starts. Calls under way are never answered. */
  async crash(): Promise<void> {
    this.#alive.now = false;
    this.registry.close();
    this.#timers.close();
    this.outbox.close();
    this.journal.crash();
    await this.boot();
  }

  /** Runs what is ready, until nothing is. `flush`: the journal commits too. */
  async settle({ flush = this.#options.autoFlush ?? true }: { readonly flush?: boolean } = {}): Promise<void> {
    let quiet = 0;
    for (let turn = 0; turn < 400 && quiet < 3; turn++) {
      const committed = this.journal.committed.length;
      if (flush) this.journal.flush();
      await new Promise(setImmediate);
      quiet = this.journal.committed.length === committed && (!flush || this.journal.backlog().entries === 0) ? quiet + 1 : 0;
    }
  }

  /** Lets `ms` pass and what follows happen. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.settle();
  }

  /** Asks through the gate without waiting; a result is checked against the operation's schema, an answer against being the second one. */
  ask<N extends MethodName>(name: N, input: InputOf<N>, who: Principal = alice): Asked<OutputOf<N>> {
    const operation = operations.get(name);
    if (operation === undefined) throw new Error(`no operation ${name}`);
    const alive = this.#alive;
    const asked: Asked<OutputOf<N>> = { answer: undefined };
    this.#gate.call(operation, who, input, { requestId: 'req_1' }, (error, result) => {
      if (!alive.now) return;
      if (asked.answer !== undefined) throw new Error(`${name} was answered twice`);
      if (error === null && outputs.get(name)?.Check(result) !== true) throw new Error(`${name} answered ${JSON.stringify(result)}`);
      if (
        error !== null &&
        ![...operation.errors, 'INVALID_REQUEST', 'SERVICE_UNAVAILABLE', 'INSUFFICIENT_PERMISSIONS'].includes(error.code)
      ) {
        throw new Error(`${name} may not answer ${error.code}`, { cause: error });
      }
      asked.answer = { error, result: result as OutputOf<N> };
    });
    return asked;
  }

  /** Asks and waits for the answer. */
  async call<N extends MethodName>(name: N, input: InputOf<N>, who: Principal = alice): Promise<Answer<OutputOf<N>>> {
    const asked = this.ask(name, input, who);
    await this.settle();
    if (asked.answer === undefined) throw new Error(`${name} was not answered`);
    return asked.answer;
  }

  /** As `call`; the result, or the refusal thrown. */
  async result<N extends MethodName>(name: N, input: InputOf<N>, who: Principal = alice): Promise<OutputOf<N>> {
    const { error, result } = await this.call(name, input, who);
    if (error !== null) throw error;
    return result;
  }

  /** An internal event, past the gate. */
  internal(address: string, type: string, input: unknown): Asked<unknown> {
    const asked: Asked<unknown> = { answer: undefined };
    this.registry.tell(address, {
      type,
      input,
      who: null,
      reply: (error, result) => {
        if (asked.answer !== undefined) throw new Error(`${type} was answered twice`);
        asked.answer = { error, result };
      },
    });
    return asked;
  }

  // --- a payer's doings ---------------------------------------------------------------------------------------------------

  #orders = 0;

  /** Asks for a payment; its id. */
  async pay(amount: number | string = 75, who: Principal = alice): Promise<string> {
    return (await this.result('tween.wallet.pay', this.order(amount), who)).payment_id;
  }

  order(amount: number | string = 75): InputOf<'tween.wallet.pay'> {
    const n = ++this.#orders;
    return { amount, currency: 'USD', description: 'Two tickets', merchant_order_id: `order-${n}`, idempotency_key: `key-${n}` };
  }

  /** The input of an authorization, signed over `amount` as written. */
  authorization(paymentId: string, amount = '75.00', by: Signer = this.signer): InputOf<'tween.payment.authorize'> {
    const timestamp = new Date(this.clock.now()).toISOString();
    return { payment_id: paymentId, device_id: by.deviceId, timestamp, signature: sign(by, `${paymentId}:${amount}:USD:${timestamp}`) };
  }

  /** Authorizes and gives the challenge that comes back. */
  async challenge(paymentId: string, amount = '75.00', who: Principal = alice): Promise<string> {
    const { error } = await this.call('tween.payment.authorize', this.authorization(paymentId, amount), who);
    if (error?.code !== 'MFA_REQUIRED') throw error ?? new Error('no challenge came');
    return challengeOf(error);
  }

  /** The code of alice's authenticator app, `steps` time steps away from now. */
  code(steps = 0): string {
    return generateSync({ secret: totpSecret, epoch: Math.floor(this.clock.now() / 1_000) + steps * 30 });
  }

  verification(paymentId: string, challengeId: string, code = this.code()): InputOf<'tween.payment.verifyMfa'> {
    return { payment_id: paymentId, challenge_id: challengeId, method: 'totp', credentials: { code } };
  }

  pinVerification(paymentId: string, challengeId: string, guess = pin): InputOf<'tween.payment.verifyMfa'> {
    return { payment_id: paymentId, challenge_id: challengeId, method: 'transaction_pin', credentials: { pin: guess } };
  }

  /** The status as its payer is told. */
  async status(paymentId: string, who: Principal = alice): Promise<string> {
    return (await this.result('tween.payment.get', { payment_id: paymentId }, who)).status;
  }

  /** The lines of an actor's history, by their events. */
  async history(address: string): Promise<string[]> {
    return (await this.journal.records(address)).map(({ event, stateAfter }) => `${event.type} → ${stateAfter}`);
  }
}

/** The challenge that an `MFA_REQUIRED` refusal carries. */
export function challengeOf(error: TmcpError): string {
  const { mfa_challenge: challenge } = (error.details ?? {}) as { mfa_challenge?: { challenge_id: string } };
  if (challenge === undefined) throw new Error(`${error.code} carries no challenge`);
  return challenge.challenge_id;
}

function app(appId: string): AppRecord {
  return {
    appId,
    name: 'Demo shop',
    clientType: 'public',
    classification: 'verified',
    status: 'active',
    scopes: ['wallet:pay'],
    redirectUris: ['https://shop.example/callback', 'http://127.0.0.1/cb'],
  };
}

function memoryKeyRing(): KeyRing {
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
