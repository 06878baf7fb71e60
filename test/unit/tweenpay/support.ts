/** What the wallet's tests share: a clock they own, a sandbox with people in it, and a wallet that answers whatever it is told to. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CancelTimer, ChargeRequest, Clock } from '../../../src/actors/ports.ts';
import { createTweenPayWallet, type TweenPayWallet } from '../../../src/transport/tweenpay/tweenpay-wallet.ts';
import { startWalletSandbox, type WalletSandbox, type WalletSandboxOptions } from '../../../src/wallet-sandbox/sandbox.ts';

export const token = 'service-token';
export const alice = '@alice:tween.example';
export const bob = '@bob:tween.example';
export const shop = 'ma_demo_shop';

/** Time that moves only when told to. */
export class ManualClock implements Clock {
  #now: number;
  #waiting: { dueAt: number; fn: () => void }[] = [];

  constructor(now = Date.UTC(2030, 0, 15, 12)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): CancelTimer {
    const waiting = { dueAt: this.#now + ms, fn };
    this.#waiting.push(waiting);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
    };
  }

  advance(ms: number): void {
    this.#now += ms;
    const due = this.#waiting.filter((waiting) => waiting.dueAt <= this.#now);
    this.#waiting = this.#waiting.filter((waiting) => waiting.dueAt > this.#now);
    for (const waiting of due) waiting.fn();
  }

  get waiting(): number {
    return this.#waiting.length;
  }
}

export function chargeOf(reference: string, more: Partial<ChargeRequest> = {}): ChargeRequest {
  return {
    reference,
    idempotencyKey: `key-${reference}`,
    payerUserId: alice,
    merchantAppId: shop,
    amountMinor: 7_500,
    currency: 'USD',
    description: 'Two tickets',
    ...more,
  };
}

/** A call to the sandbox's admin door. Gives the parsed answer. */
export async function admin<T = Record<string, unknown>>(
  sandbox: Pick<WalletSandbox, 'adminUrl'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  const response = await fetch(sandbox.adminUrl + path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** A call of the contract by hand, for what the port does not show. */
export async function raw(
  sandbox: Pick<WalletSandbox, 'url'>,
  method: string,
  path: string,
  options: { body?: unknown; key?: string; token?: string } = {},
): Promise<{ status: number; text: string; json: Record<string, unknown>; headers: Headers }> {
  const response = await fetch(sandbox.url + path, {
    method,
    headers: {
      authorization: `Bearer ${options.token ?? token}`,
      ...(options.key === undefined ? {} : { 'idempotency-key': options.key }),
    },
    ...(options.body === undefined ? {} : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
  });
  const text = await response.text();
  return { status: response.status, text, json: JSON.parse(text), headers: response.headers };
}

/** Asks again until it is so. Bounded by the test's own time limit. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(setImmediate);
}

export interface Bench {
  readonly sandbox: WalletSandbox;
  readonly wallet: TweenPayWallet;
  /** Of the client; the sandbox has its own. */
  readonly clock: ManualClock;
  readonly sandboxClock: ManualClock;
  close(): Promise<void>;
}

/** A sandbox where Alice has 1,000.00 USD, Bob 100.00 and the shop an account, and a client for it. */
export async function openBench(options: Partial<WalletSandboxOptions> = {}): Promise<Bench> {
  const sandboxClock = new ManualClock();
  const sandbox = await startWalletSandbox({ port: 0, host: '127.0.0.1', token, clock: sandboxClock, ...options });
  await admin(sandbox, 'POST', '/accounts', { user_id: alice, currency: 'USD', balance_minor: 100_000 });
  await admin(sandbox, 'POST', '/accounts', { user_id: bob, currency: 'USD', balance_minor: 10_000 });
  await admin(sandbox, 'POST', '/accounts', { app_id: shop, currency: 'USD' });
  const clock = new ManualClock();
  const wallet = createTweenPayWallet({ url: sandbox.url, token, clock });
  return {
    sandbox,
    wallet,
    clock,
    sandboxClock,
    close: async () => {
      // Calls that hang wait for this clock.
      clock.advance(60_000);
      await wallet.close();
      await sandbox.close();
    },
  };
}

/** A wallet that answers with `listener`. */
export async function hostileWallet(listener: RequestListener): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
