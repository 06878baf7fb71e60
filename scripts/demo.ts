/**
 * `npm run demo`: the main job, told step by step against real processes. Each line that starts with ✓ was checked; the
 * first check that fails ends the demo with exit code 1. With `DATABASE_URL` it runs on that Postgres, else on PGlite.
 */
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'undici';
import { type Client, createClient } from '../src/client/mod.ts';
import { FileQueue } from '../src/client/node.ts';
import type { SocketConstructor } from '../src/client/socket.ts';
import type { Fixtures } from '../src/dev/fixtures.ts';
import { TmcpError } from '../src/protocol/errors.ts';
import { serverClock } from './lib/server-clock.ts';
import { freePort, killAll, type Running, startTmcp } from './lib/server-process.ts';
import { signIn } from './lib/sign-in.ts';
import { secretBytes, totpCode } from './lib/totp.ts';

function say(text: string): void {
  process.stdout.write(`  ${text}\n`);
}

function check(what: string, holds: boolean, seen?: unknown): void {
  if (!holds) throw new Error(`not so: ${what}${seen === undefined ? '' : ` (seen: ${JSON.stringify(seen)})`}`);
  process.stdout.write(`✓ ${what}\n`);
}

async function json<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

const dataDir = mkdtempSync(join(tmpdir(), 'tmcp-demo-'));
const port = await freePort();
const walletPort = await freePort();
const walletToken = randomUUID();
const origin = `http://127.0.0.1:${port}`;
const database = process.env['DATABASE_URL'];
let server: Running | undefined;
let client: Client | undefined;

async function start(): Promise<void> {
  server = await startTmcp(
    ['dev'],
    {
      TMCP_PORT: String(port),
      TMCP_DATA_DIR: dataDir,
      TMCP_METRICS_PORT: '0',
      TMCP_LOG_LEVEL: 'warn',
      TMCP_WALLET_URL: `http://127.0.0.1:${walletPort}`,
      TMCP_WALLET_TOKEN: walletToken,
    },
    `${origin}/readyz`,
  );
}

async function demo(): Promise<void> {
  process.stdout.write(`A TMCP server on ${database === undefined ? 'PGlite' : 'Postgres'}, data in ${dataDir}\n\n1. Start\n`);
  const wallet = await startTmcp(
    ['wallet-sandbox', '--port', String(walletPort), '--data-dir', dataDir, '--token', walletToken],
    {},
    `http://127.0.0.1:${walletPort}/healthz`,
  );
  await start();
  const fixtures = await json<Fixtures>(`${origin}/dev/fixtures`);
  const alice = fixtures.users.find((user) => user.user_id === '@alice:tween.example');
  const app = fixtures.apps.find((entry) => entry.app_id === 'ma_demo_shop');
  if (alice === undefined || app === undefined) throw new Error('the fixtures lack alice or the demo shop');
  check(`the server answers at ${origin}, the wallet sandbox at ${fixtures.wallet.url}`, true);

  process.stdout.write('\n2. Sign in with OAuth 2.0 and PKCE\n');
  const clock = await serverClock(origin);
  await clock.advance(31_000);
  const redirectUri = app.redirect_uris[0] ?? '';
  const { tokens } = await signIn({
    issuer: origin,
    clientId: app.app_id,
    redirectUri,
    scope: app.scopes.join(' '),
    user: { userId: alice.user_id, password: alice.password, totpSecret: alice.totp_secret, now: clock.now },
  });
  check('the token is a TEP', tokens.access_token.startsWith('tep.'));
  check('the grant holds wallet:pay', (tokens.scope ?? '').includes('wallet:pay'), tokens.scope);

  process.stdout.write('\n3. Go live over MessagePack\n');
  const queue = await FileQueue.open(join(dataDir, `queue-${randomUUID()}.jsonl`));
  client = createClient({
    url: `${origin.replace('http', 'ws')}/v1/live`,
    token: async () => tokens.access_token,
    deviceId: alice.device.device_id,
    queue,
    WebSocket: WebSocket as unknown as SocketConstructor,
    client: { name: 'demo', version: '1' },
  });
  await client.connect();
  check(`session ${client.session?.session} is open`, client.state === 'open');
  const before = await client.call('tween.wallet.getBalance', {});
  check(`the balance is ${before.balance.available.toFixed(2)} ${before.balance.currency}`, before.balance.available >= 75, before);

  process.stdout.write('\n4. Pay 75.00 USD: signed by the device, confirmed with a one-time code\n');
  const idempotencyKey = randomUUID();
  const request = {
    amount: 75,
    currency: 'USD',
    description: 'Two concert tickets',
    merchant_order_id: `order-${Date.now()}`,
    idempotency_key: idempotencyKey,
  };
  const payment = await client.call('tween.wallet.pay', request);
  check(`payment ${payment.payment_id} is pending`, payment.status === 'pending_authorization', payment);
  const timestamp = new Date(clock.now()).toISOString();
  const signature = sign(
    'sha256',
    Buffer.from(`${payment.payment_id}:75.00:USD:${timestamp}`),
    createPrivateKey(alice.device.private_key),
  ).toString('base64');
  const challenge = await client
    .call('tween.payment.authorize', { payment_id: payment.payment_id, signature, device_id: alice.device.device_id, timestamp })
    .then(
      () => undefined,
      (error: unknown) =>
        error instanceof TmcpError && error.code === 'MFA_REQUIRED'
          ? (error.details as { mfa_challenge: { challenge_id: string } }).mfa_challenge
          : Promise.reject(error),
    );
  check('the wallet asks for a second factor above 50.00', challenge !== undefined);
  // A code counts once: the dev clock moves on, so that the authenticator shows the next.
  await clock.advance(31_000);
  const updated = client.next<{ payment_id: string; status: string }>(
    'tween.payment.updated',
    (event) => event.payment_id === payment.payment_id && event.status === 'completed',
  );
  const code = totpCode(secretBytes(alice.totp_secret), clock.now());
  const verify = {
    payment_id: payment.payment_id,
    challenge_id: challenge?.challenge_id ?? '',
    method: 'totp' as const,
    credentials: { code },
  };
  const verified = await client.call('tween.payment.verifyMfa', verify);
  check('the payment is completed', verified.payment_status === 'completed', verified);
  check('and an event told so', (await updated).status === 'completed');
  const after = await client.call('tween.wallet.getBalance', {});
  check(
    `the balance is ${after.balance.available.toFixed(2)}: 75.00 less`,
    Math.round((before.balance.available - after.balance.available) * 100) === 7_500,
    after,
  );

  process.stdout.write('\n5. Write storage, go offline, write more\n');
  const run = randomUUID().slice(0, 8);
  const stored = await client.call('tween.storage.set', { key: `demo/${run}/online`, value: 'written online' });
  check('a durable write is answered', stored.success, stored);
  client.goOffline();
  const offline = Array.from({ length: 20 }, (_, index) => `demo/${run}/offline-${index}`);
  for (const key of offline) await client.storage.set(key, `written offline: ${key}`);
  check(`${client.storage.waiting} writes wait in the queue file`, client.storage.waiting === offline.length, client.storage.waiting);

  process.stdout.write('\n6. SIGKILL the server, start it again, come back\n');
  await server?.kill('SIGKILL');
  say('the server is dead');
  await start();
  await client.connect();
  await client.storage.flushed();
  check('the client is back and its queue is empty', client.storage.waiting === 0);
  for (const key of [`demo/${run}/online`, ...offline]) {
    const { value } = await client.call('tween.storage.get', { key });
    if (value !== (key.endsWith('online') ? 'written online' : `written offline: ${key}`)) throw new Error(`${key} holds ${value}`);
  }
  check(`all ${offline.length + 1} values are in place`, true);
  const again = await client.call('tween.payment.get', { payment_id: payment.payment_id });
  check('the payment is still completed', again.status === 'completed' && again.txn_id === verified.payment.txn_id, again);
  const repeat = await client.call('tween.wallet.pay', request);
  check('the same idempotency key gives the same answer', JSON.stringify(repeat) === JSON.stringify(payment), repeat);
  const final = await client.call('tween.wallet.getBalance', {});
  check(
    `the balance is still ${final.balance.available.toFixed(2)}: charged once`,
    final.balance.available === after.balance.available,
    final,
  );
  await client.close();
  await server?.kill('SIGTERM');
  await wallet.kill('SIGTERM');
}

try {
  await demo();
  process.stdout.write('\nEverything is in place.\n');
  process.exitCode = 0;
} catch (error) {
  process.stderr.write(`\n✗ ${error instanceof Error ? error.stack : String(error)}\n`);
  if (server !== undefined) process.stderr.write(`\nThe server's last words:\n${server.output.slice(-15).join('\n')}\n`);
  process.exitCode = 1;
} finally {
  killAll();
  rmSync(dataDir, { recursive: true, force: true });
  process.exit();
}
