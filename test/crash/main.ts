/**
 * `npm run crash -- --kills N [--writers 50] [--payers 50] [--control]`: SIGKILLs the server again and again under load on
 * Postgres and then counts: answered durable writes that are gone, payments charged twice, payments still unsettled 60 s after
 * the last start, contradictory answers to one payment. The last line is the figures as JSON; exit code 1 when any is not 0.
 * `--control` runs the server with acknowledgement before commit: that run must lose writes, or the harness is blind.
 */
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocket } from 'undici';
import { type Client, ConnectionLostError, createClient } from '../../src/client/mod.ts';
import type { SocketConstructor } from '../../src/client/socket.ts';
import type { FixtureUser } from '../../src/dev/fixtures.ts';
import { TmcpError } from '../../src/protocol/errors.ts';
import { startPostgres } from '../support/postgres.ts';
import { freePort, killAll, type Running, startTmcp } from '../../scripts/lib/server-process.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '10' },
    writers: { type: 'string', default: '50' },
    payers: { type: 'string', default: '50' },
    control: { type: 'boolean', default: false },
  },
});
const kills = Number(values.kills);
const scopes = ['storage:read', 'storage:write', 'wallet:pay', 'wallet:balance'];
const dataDir = mkdtempSync(join(tmpdir(), 'tmcp-crash-'));
const postgres = await startPostgres();
const port = await freePort();
const walletPort = await freePort();
const walletToken = randomUUID();
const origin = `http://127.0.0.1:${port}`;
let stopping = false;
let draining = false;

const env: Record<string, string> = {
  TMCP_PORT: String(port),
  TMCP_DATA_DIR: dataDir,
  TMCP_METRICS_PORT: '0',
  TMCP_LOG_LEVEL: 'error',
  TMCP_RATE_LIMITS: 'relaxed',
  DATABASE_URL: postgres.url,
  TMCP_WALLET_URL: `http://127.0.0.1:${walletPort}`,
  TMCP_WALLET_TOKEN: walletToken,
  ...(values.control ? { NODE_ENV: 'test', TMCP_TEST_ACK_BEFORE_COMMIT: 'on' } : {}),
};

async function post<T>(path: string, body: unknown): Promise<T> {
  for (;;) {
    try {
      const response = await fetch(origin + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(5_000),
      });
      if (response.ok) return (await response.json()) as T;
      if (response.status < 500) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    } catch (error) {
      if (error instanceof Error && error.message.includes('answered 4')) throw error;
    }
    await pause(50);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function connectAs(userId: string): Client {
  return createClient({
    url: `${origin.replace('http', 'ws')}/v1/live`,
    token: async () =>
      (await post<{ access_token: string }>('/dev/token', { user_id: userId, app_id: 'ma_demo_shop', scopes })).access_token,
    deviceId: `crash-${userId.slice(1, userId.indexOf(':'))}`,
    WebSocket: WebSocket as unknown as SocketConstructor,
    timeoutMs: 20_000,
  });
}

/** Whether the same request may simply be made again. */
function passing(error: unknown): boolean {
  return error instanceof ConnectionLostError || (error instanceof TmcpError && (error.retryable || error.code === 'INVALID_TOKEN'));
}

// --- writers: every key is written once; an answered write must be there at the end -----------------------------------------

interface Writer {
  readonly user: FixtureUser;
  readonly acked: Map<string, string>;
  answered: number;
  client: Client;
}

async function write(writer: Writer): Promise<void> {
  for (let n = 0; !stopping; n++) {
    const key = `k${n % 900}`;
    const value = `${n}`;
    try {
      await writer.client.call('tween.storage.set', { key, value }, { repeat: false });
      writer.acked.set(key, value);
      writer.answered++;
    } catch (error) {
      if (!passing(error)) throw error;
      await pause(20);
    }
  }
}

// --- payers: one payment after the other; each is asked for with a key of the client's own and driven to its end -----------------

interface Paid {
  readonly paymentId: string;
  /** It was answered as made, and is not there. */
  lost: boolean;
  readonly answers: Set<string>;
}

interface Payer {
  readonly user: FixtureUser;
  readonly paid: Map<string, Paid>;
  client: Client;
}

async function insist<T>(work: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!passing(error)) throw error;
      if (draining) return undefined;
      await pause(50);
    }
  }
}

/** Runs `work`; a payment that does not exist any more is a loss and not the end of the run. */
async function orLost<T>(paid: Paid, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof TmcpError) || error.code !== 'PAYMENT_NOT_FOUND') throw error;
    paid.lost = true;
    return undefined;
  }
}

async function payOne(payer: Payer): Promise<void> {
  const request = {
    amount: 1.25,
    currency: 'USD',
    description: 'crash test',
    merchant_order_id: randomUUID(),
    idempotency_key: randomUUID(),
  };
  const payment = await insist(() => payer.client.call('tween.wallet.pay', request));
  if (payment === undefined) return;
  const paid: Paid = { paymentId: payment.payment_id, answers: new Set(), lost: false };
  payer.paid.set(paid.paymentId, paid);
  const key = createPrivateKey(payer.user.device.private_key);
  const authorize = async () => {
    const known = await payer.client.call('tween.payment.get', { payment_id: paid.paymentId });
    if (known.status !== 'pending_authorization') return known;
    const timestamp = new Date().toISOString();
    const signature = sign('sha256', Buffer.from(`${paid.paymentId}:1.25:USD:${timestamp}`), key).toString('base64');
    return payer.client.call(
      'tween.payment.authorize',
      { payment_id: paid.paymentId, signature, device_id: payer.user.device.device_id, timestamp },
      { repeat: false },
    );
  };
  const view = await orLost(paid, () => insist(authorize));
  if (view !== undefined && final(view.status)) paid.answers.add(view.status);
}

async function pay(payer: Payer): Promise<void> {
  while (!stopping) await payOne(payer);
}

function final(status: string): boolean {
  return ['completed', 'failed', 'cancelled', 'expired'].includes(status);
}

// --- the run -------------------------------------------------------------------------------------------------------------------

async function main(): Promise<number> {
  const wallet = await startTmcp(
    ['wallet-sandbox', '--port', String(walletPort), '--data-dir', dataDir, '--token', walletToken],
    {},
    `http://127.0.0.1:${walletPort}/healthz`,
  );
  let server: Running = await startTmcp(['dev'], env, `${origin}/readyz`);
  const seed = async (name: string): Promise<FixtureUser> =>
    post<FixtureUser>('/dev/users', { user_id: `@${name}:tween.example`, balance: 100_000 });
  const writers: Writer[] = [];
  for (let i = 0; i < Number(values.writers); i++) {
    const user = await seed(`writer-${i}`);
    writers.push({ user, acked: new Map(), answered: 0, client: connectAs(user.user_id) });
  }
  const payers: Payer[] = [];
  for (let i = 0; i < Number(values.payers); i++) {
    const user = await seed(`payer-${i}`);
    payers.push({ user, paid: new Map(), client: connectAs(user.user_id) });
  }
  await Promise.all([...writers, ...payers].map(({ client }) => client.connect()));
  const work = [...writers.map(write), ...payers.map(pay)];
  let fault: unknown;
  for (const job of work) job.catch((error: unknown) => (fault ??= error));
  for (let kill = 1; kill <= kills && fault === undefined; kill++) {
    // A random moment of the load, so that kills fall into every step of a commit.
    await pause(300 + Math.random() * 1_200);
    await server.kill('SIGKILL');
    server = await startTmcp(['dev'], env, `${origin}/readyz`);
    if (kill % 10 === 0 || kill === kills)
      process.stderr.write(`${kill} kills, ${count(writers)} writes answered, ${payments(payers)} payments\n`);
  }
  if (fault !== undefined) throw fault;
  await pause(1_000);
  stopping = true;
  const settledBy = Date.now() + 60_000;
  setTimeout(() => (draining = true), 15_000).unref();
  await Promise.all(work);
  const lost = await lostWrites(writers);
  const { stuck, contradictory } = await unsettled(payers, settledBy);
  const ledger = (await (await fetch(`${env['TMCP_WALLET_URL']}/admin/ledger`)).json()) as { double_charges: number; sum: unknown };
  const uncharged = await answeredWithoutCharge(payers);
  await Promise.all([...writers, ...payers].map(({ client }) => client.close()));
  await server.kill('SIGTERM');
  await wallet.kill('SIGTERM');
  const figures = {
    kills,
    answered_writes: count(writers),
    lost_writes: lost,
    payments: payments(payers),
    lost_payments: payers.reduce((sum, payer) => sum + [...payer.paid.values()].filter((paid) => paid.lost).length, 0),
    double_charges: ledger.double_charges,
    stuck_payments: stuck,
    contradictory_answers: contradictory,
    completed_without_charge: uncharged,
    control: values.control,
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  const broken = lost + figures.lost_payments + ledger.double_charges + stuck + contradictory + uncharged > 0;
  if (values.control) return lost > 0 ? 0 : 1;
  return broken ? 1 : 0;
}

function count(writers: readonly Writer[]): number {
  return writers.reduce((sum, writer) => sum + writer.answered, 0);
}

function payments(payers: readonly Payer[]): number {
  return payers.reduce((sum, payer) => sum + payer.paid.size, 0);
}

/** A key must hold the value that was answered last, or one that was sent after it and never answered. */
async function lostWrites(writers: readonly Writer[]): Promise<number> {
  let lost = 0;
  for (const { client, acked } of writers) {
    for (const [key, value] of acked) {
      const found = await client.call('tween.storage.get', { key }).then(
        (stored) => Number(stored.value),
        (error: unknown) => {
          if (error instanceof TmcpError && error.code === 'KEY_NOT_FOUND') return -1;
          throw error;
        },
      );
      if (found < Number(value)) lost++;
    }
  }
  return lost;
}

async function unsettled(payers: readonly Payer[], until: number): Promise<{ stuck: number; contradictory: number }> {
  let stuck = 0;
  let contradictory = 0;
  for (const { client, paid } of payers) {
    for (const entry of paid.values()) {
      const { paymentId, answers } = entry;
      const statusNow = async () => (await orLost(entry, () => client.call('tween.payment.get', { payment_id: paymentId })))?.status;
      let status = await statusNow();
      while (status !== undefined && !final(status) && status !== 'pending_authorization' && Date.now() < until) {
        await pause(100);
        status = await statusNow();
      }
      if (status === undefined) continue;
      if (status === 'processing' || status === 'authorized') stuck++;
      answers.add(status);
      if ([...answers].filter(final).length > 1) contradictory++;
    }
  }
  return { stuck, contradictory };
}

async function answeredWithoutCharge(payers: readonly Payer[]): Promise<number> {
  let missing = 0;
  for (const { paid } of payers) {
    for (const { paymentId, answers } of paid.values()) {
      if (!answers.has('completed')) continue;
      const { charges } = (await (await fetch(`${env['TMCP_WALLET_URL']}/admin/charges?reference=${paymentId}`)).json()) as {
        charges: unknown[];
      };
      if (charges.length !== 1) missing++;
    }
  }
  return missing;
}

let code = 1;
try {
  code = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
} finally {
  killAll();
  await postgres.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
process.exit(code);
