/**
 * People with the SDK, as an app has it: some write, some queue writes that the SDK pushes, some pay. Every answer is kept in mind, so that
 * the end can say what was lost; every rejection that a caller sees is counted; every gap of a session is measured.
 */
import { createPrivateKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { WebSocket } from 'undici';
import type { Client } from '../../../src/client/mod.ts';
import type { SocketConstructor } from '../../../src/client/socket.ts';
import type { FixtureUser } from '../../../src/dev/fixtures.ts';
import { pause } from './figures.ts';
import { sdk } from './sdk.ts';

export interface PeopleOptions {
  /** Of the balancer. */
  readonly origin: string;
  readonly walletUrl: string;
  readonly writers: number;
  readonly pushers: number;
  readonly payers: number;
  /** From one operation of a person to the next, ms; a payment takes four times as long. */
  readonly everyMs: number;
}

export interface Rejection {
  readonly at: number;
  readonly method: string;
  readonly why: string;
}

interface Paid {
  readonly key: string;
  readonly id: string;
  status: string;
}

const scopes = ['storage:read', 'storage:write', 'wallet:pay', 'wallet:balance'];
const finals: readonly string[] = ['completed', 'failed', 'cancelled', 'expired'];
const keysEach = 200;

/** One person with one client. */
export class Person {
  readonly user: FixtureUser;
  readonly client: Client;
  readonly kind: 'writer' | 'pusher' | 'payer';
  /** The newest number that was answered as durable, by key. */
  readonly answered = new Map<string, number>();
  readonly paid: Paid[] = [];
  /** When the session went, while it is gone. */
  goneAt: number | undefined;
  readonly key: KeyObject;

  constructor(user: FixtureUser, client: Client, kind: Person['kind']) {
    this.user = user;
    this.client = client;
    this.kind = kind;
    this.key = createPrivateKey(user.device.private_key);
  }

  /** The name of the node that its session is on. */
  get node(): string | undefined {
    return this.client.session?.node;
  }
}

export class People {
  readonly all: Person[] = [];
  readonly rejections: Rejection[] = [];
  /** From the loss of a session to the next one, ms. */
  readonly gaps: number[] = [];
  /** From asking to the answer, ms. */
  readonly waits: number[] = [];
  answered = 0;
  /** Sessions that could not be resumed. */
  fresh = 0;
  resumes = 0;
  readonly #options: PeopleOptions;
  #stopping = false;
  #work: Promise<void>[] = [];

  private constructor(options: PeopleOptions) {
    this.#options = options;
  }

  /** Seeds and connects them all. */
  static async gather(options: PeopleOptions): Promise<People> {
    const people = new People(options);
    for (const [kind, count] of [
      ['writer', options.writers],
      ['pusher', options.pushers],
      ['payer', options.payers],
    ] as const) {
      for (let index = 0; index < count; index++) people.all.push(await people.#join(kind, index));
    }
    await Promise.all(people.all.map(({ client }) => client.connect()));
    return people;
  }

  /** Everybody begins to work. */
  start(): void {
    for (const person of this.all) {
      const { everyMs } = this.#options;
      const [turn, every] =
        person.kind === 'writer'
          ? [(n: number) => this.#write(person, n), everyMs]
          : person.kind === 'pusher'
            ? [(n: number) => this.#push(person, n), everyMs]
            : [() => this.#pay(person), everyMs * 4];
      this.#work.push(this.#again(turn, every));
    }
  }

  /** Everybody ends what is under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#work);
    for (const { client, kind } of this.all) if (kind === 'pusher') await client.storage.flushed();
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ client }) => client.close()));
  }

  /** What is missing or wrong of all that was answered; asks the servers and the wallet. */
  async audit(): Promise<{
    /** Keys that were looked at: of each, the newest write that was answered must be there, or a newer one. */
    readonly keys_checked: number;
    readonly lost_writes: number;
    readonly payments: number;
    readonly lost_payments: number;
    readonly unsettled_payments: number;
    readonly contradictory_payments: number;
    readonly completed_without_charge: number;
    readonly double_charges: number;
  }> {
    let lost = 0;
    let keys = 0;
    for (const { client, answered } of this.all) {
      for (const [key, number] of answered) {
        keys++;
        if ((await stored(client, key)) < number) lost++;
      }
    }
    const payments = { lost: 0, unsettled: 0, contradictory: 0, uncharged: 0, count: 0 };
    for (const { client, paid } of this.all) {
      for (const one of paid) {
        payments.count++;
        const status = await this.#settled(client, one.id);
        if (status === undefined) payments.lost++;
        else if (!finals.includes(status) && status !== 'pending_authorization') payments.unsettled++;
        else if (finals.includes(one.status) && one.status !== status) payments.contradictory++;
        else if (one.status === 'completed' && (await this.#charges(one.id)) !== 1) payments.uncharged++;
      }
    }
    const ledger = (await (await fetch(`${this.#options.walletUrl}/admin/ledger`)).json()) as { double_charges: number };
    return {
      keys_checked: keys,
      lost_writes: lost,
      payments: payments.count,
      lost_payments: payments.lost,
      unsettled_payments: payments.unsettled,
      contradictory_payments: payments.contradictory,
      completed_without_charge: payments.uncharged,
      double_charges: ledger.double_charges,
    };
  }

  // --- what they do ---------------------------------------------------------------------------------------------------------------

  async #again(turn: (n: number) => Promise<void>, everyMs: number): Promise<void> {
    // Not all in the same moment.
    await pause(Math.random() * everyMs);
    for (let n = 1; !this.#stopping; n++) {
      const began = performance.now();
      await turn(n);
      await pause(Math.max(0, began + everyMs - performance.now()));
    }
  }

  async #write(person: Person, n: number): Promise<void> {
    const key = `k${n % keysEach}`;
    await this.#count(person, 'tween.storage.set', async () => {
      // With a key of its own the SDK may send it again.
      await person.client.call('tween.storage.set', { key, value: `${n}`, idempotency_key: randomUUID() });
      person.answered.set(key, n);
    });
  }

  async #push(person: Person, n: number): Promise<void> {
    const key = `k${n % keysEach}`;
    await this.#count(person, 'tween.sync.push', async () => {
      await person.client.storage.set(key, `${n}`);
      await person.client.storage.flushed();
      person.answered.set(key, n);
    });
  }

  async #pay(person: Person): Promise<void> {
    const { client, user, key: privateKey } = person;
    const key = randomUUID();
    let paid: Paid | undefined;
    await this.#count(person, 'tween.wallet.pay', async () => {
      const request = { amount: 1.25, currency: 'USD', description: 'cluster run', merchant_order_id: key, idempotency_key: key };
      const { payment_id: id, status } = await client.call('tween.wallet.pay', request);
      paid = { key, id, status };
      person.paid.push(paid);
    });
    if (paid === undefined) return;
    const { id } = paid;
    const timestamp = new Date().toISOString();
    const signature = sign('sha256', Buffer.from(`${id}:1.25:USD:${timestamp}`), privateKey).toString('base64');
    const answer = paid;
    await this.#count(person, 'tween.payment.authorize', async () => {
      const { status } = await client.call('tween.payment.authorize', {
        payment_id: id,
        signature,
        device_id: user.device.device_id,
        timestamp,
        idempotency_key: `${key}-a`,
      });
      answer.status = status;
    });
  }

  async #count(person: Person, method: string, work: () => Promise<void>): Promise<void> {
    const began = performance.now();
    try {
      await work();
      this.answered++;
      this.waits.push(performance.now() - began);
    } catch (error) {
      const why = error instanceof Error ? `${(error as { code?: string }).code ?? error.name}: ${error.message}` : String(error);
      this.rejections.push({
        at: performance.now(),
        method,
        why: `${why} (${person.node}, after ${Math.round(performance.now() - began)} ms)`,
      });
    }
  }

  // --- how they get in ------------------------------------------------------------------------------------------------------------

  async #join(kind: Person['kind'], index: number): Promise<Person> {
    const user = await this.#door<FixtureUser>('/dev/users', { user_id: `@${kind}-${index}:tween.example`, balance: 1_000_000 });
    const { origin } = this.#options;
    const client = sdk.createClient({
      url: `${origin.replace('http', 'ws')}/v1/live`,
      token: () => this.#token(user.user_id),
      deviceId: `${kind}-${index}`,
      WebSocket: WebSocket as unknown as SocketConstructor,
      timeoutMs: 20_000,
      onError: () => {},
    });
    const person = new Person(user, client, kind);
    client.on('state', (now) => {
      if (now === 'open') {
        if (person.goneAt === undefined) return;
        this.gaps.push(performance.now() - person.goneAt);
        person.goneAt = undefined;
        if (client.session?.resumed === true) this.resumes++;
        else this.fresh++;
      } else person.goneAt ??= client.session === undefined ? undefined : performance.now();
    });
    return person;
  }

  readonly #tokens = new Map<string, string>();

  /** A token lasts an hour, so one each is enough: a gap is the session's and not the token's. */
  async #token(userId: string): Promise<string> {
    const known = this.#tokens.get(userId);
    if (known !== undefined) return known;
    const { access_token } = await this.#door<{ access_token: string }>('/dev/token', { user_id: userId, app_id: 'ma_demo_shop', scopes });
    this.#tokens.set(userId, access_token);
    return access_token;
  }

  async #door<T>(path: string, body: unknown): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        const response = await fetch(this.#options.origin + path, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(5_000),
        });
        if (response.ok) return (await response.json()) as T;
        throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
      } catch (error) {
        if (tries === 20) throw error;
        await pause(250);
      }
    }
  }

  async #settled(client: Client, id: string): Promise<string | undefined> {
    for (let tries = 0; ; tries++) {
      const status = await client.call('tween.payment.get', { payment_id: id }).then(
        (view) => view.status,
        (error: unknown) => {
          if ((error as { code?: string }).code === 'PAYMENT_NOT_FOUND') return undefined;
          throw error;
        },
      );
      if (status === undefined || finals.includes(status) || status === 'pending_authorization' || tries === 100) return status;
      await pause(100);
    }
  }

  async #charges(paymentId: string): Promise<number> {
    const response = await fetch(`${this.#options.walletUrl}/admin/charges?reference=${paymentId}`);
    return ((await response.json()) as { charges: unknown[] }).charges.length;
  }
}

/** The number that a key holds; -1 when there is none. */
async function stored(client: Client, key: string): Promise<number> {
  try {
    return Number((await client.call('tween.storage.get', { key })).value);
  } catch (error) {
    if ((error as { code?: string }).code === 'KEY_NOT_FOUND') return -1;
    throw error;
  }
}
