/**
 * `tmcp dev`: a node with everything it needs and nothing installed: an embedded database, keys drawn once, the wallet sandbox
 * as a process of its own, and the fixtures. With `DATABASE_URL`, `REDIS_URL` or `TMCP_WALLET_URL` it uses those instead.
 */
import { fork } from 'node:child_process';
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type App, type AppParts, startApp } from '../app.ts';
import type { AppSecrets } from '../app/secrets.ts';
import { SystemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { newSecret } from '../ids.ts';
import type { Logger } from '../log.ts';
import { seedApp, seedUser } from '../persistence/oauth/store.ts';
import { openDatabase } from '../persistence/open-database.ts';
import { toIso } from '../protocol/schemas.ts';
import { generateSigningKey } from '../transport/tokens/signing-keys.ts';
import { DevState } from './dev-state.ts';
import { createDoors, type Enrolment } from './doors.ts';
import {
  drawAllSecrets,
  drawSecrets,
  type FixtureApp,
  type Fixtures,
  type FixtureSecrets,
  type FixtureUser,
  fixtureApps,
  fixtureDeviceId,
  fixturePeople,
} from './fixtures.ts';

export interface DevServer extends AsyncDisposable {
  readonly app: App;
  readonly url: string;
  readonly fixtures: () => Fixtures;
}

interface Sandbox {
  readonly url: string;
  readonly adminUrl: string;
  readonly token: string;
  stop(): Promise<void>;
}

/**
 * Starts it all. Resolves when the first authenticated request can be answered. `onDrainRequested`: the node was asked to drain and end, by another
 * process or the door; left out, it drains and is disposed of.
 */
export async function startDev(config: Config, log: Logger, onDrainRequested?: () => void): Promise<DevServer> {
  const [database, signingKey] = await Promise.all([
    openDatabase(config, (error) => log.warn({ err: error }, 'a database connection broke')),
    generateSigningKey(),
  ]);
  const state = await DevState.open(database);
  const clock = new SystemClock();
  const ahead = await state.once('clock_ahead_ms', () => 0);
  if (ahead > 0) clock.advance(ahead);
  const keys = await state.once('keys', () => ({
    signing: signingKey,
    master: randomBytes(32).toString('base64'),
    pepper: randomBytes(32).toString('base64'),
    cookie: newSecret(),
    walletToken: newSecret(),
  }));
  const drawn = await state.once<FixtureSecrets>('fixtures', drawAllSecrets);
  const sandbox = config.walletUrl === undefined ? await startSandbox(config, keys.walletToken) : given(config);
  const secrets: AppSecrets = {
    signingKeys: config.signingKeys === undefined ? keys.signing : JSON.stringify({ keys: config.signingKeys }),
    masterKeys: config.masterKeys ?? [{ id: 'dev', key: Buffer.from(keys.master, 'base64') }],
    pepper: config.pepper ?? Buffer.from(keys.pepper, 'base64'),
    cookieKeys: config.cookieKeys ?? [keys.cookie],
    walletUrl: sandbox.url,
    walletToken: sandbox.token,
  };
  const publicUrl = config.publicUrl ?? `http://127.0.0.1:${config.port}`;
  const apps = fixtureApps(publicUrl, drawn);
  const users: FixtureUser[] = [];
  const fixtures = (): Fixtures => ({
    users,
    apps,
    wallet: { url: sandbox.url, admin_url: sandbox.adminUrl },
    server_time: toIso(clock.now()),
  });
  let server: DevServer | undefined;
  let drainAsked = false;
  const askedToDrain = (): void => {
    if (drainAsked) return;
    drainAsked = true;
    if (onDrainRequested !== undefined) onDrainRequested();
    else if (server !== undefined) drainAndDispose(server, log);
  };
  const app = await startApp({
    config,
    secrets,
    publicUrl,
    serverName: 'tween.example',
    database,
    clock,
    log,
    onDrainRequested: askedToDrain,
    beforeListening: (parts) => seed(parts, sandbox, apps, drawn, users),
    devDoors: (parts) =>
      createDoors({
        clock,
        state,
        fixtures,
        drain: askedToDrain,
        mint: (request) => parts.identity.mintTep(request),
        addUser: async (userId, balance, enrol) =>
          addPerson(parts, sandbox, { userId, displayName: userId, balance }, await state.once(`user ${userId}`, drawSecrets), enrol),
      }),
  });
  server = {
    app,
    url: app.url,
    fixtures,
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]();
      await sandbox.stop();
    },
  };
  if (drainAsked && onDrainRequested === undefined) drainAndDispose(server, log);
  return server;
}

function drainAndDispose(server: DevServer, log: Logger): void {
  server.app
    .drain()
    .finally(() => server[Symbol.asyncDispose]())
    .catch((error: unknown) => log.error({ err: error }, 'a drain failed'));
}

async function seed(
  parts: AppParts,
  sandbox: Sandbox,
  apps: readonly FixtureApp[],
  drawn: FixtureSecrets,
  users: FixtureUser[],
): Promise<void> {
  for (const app of apps) {
    await seedApp(parts.identityStore, {
      appId: app.app_id,
      name: app.name,
      developer: 'Tween Example Ltd',
      clientType: app.client_type,
      classification: app.classification,
      scopes: app.scopes,
      redirectUris: app.redirect_uris,
      ...(app.client_secret === undefined ? {} : { clientSecret: app.client_secret }),
    });
  }
  const people = fixturePeople.map(async (person) => {
    const secrets = drawn.users[person.userId];
    if (secrets === undefined) throw new Error(`the fixtures have no secrets for ${person.userId}`);
    return addPerson(parts, sandbox, person, secrets, { password: true, factors: true });
  });
  users.push(...(await Promise.all(people)));
}

/** Makes a person with a wallet and a device, and what else is asked for. Idempotent. */
async function addPerson(
  parts: AppParts,
  sandbox: Sandbox,
  person: { readonly userId: string; readonly displayName: string; readonly balance: number },
  secrets: FixtureSecrets['users'][string],
  enrol: Enrolment,
): Promise<FixtureUser> {
  const { userId, displayName, balance } = person;
  const known = await parts.identityStore.users.find(userId);
  if (known === undefined) {
    const passwordHash = enrol.password ? { passwordHash: await parts.hasher.hash(secrets.password) } : {};
    await seedUser(parts.identityStore, { userId, displayName, ...passwordHash });
  }
  const walletId = await fund(sandbox, userId, Math.round(balance * 100));
  const deviceId = fixtureDeviceId(userId);
  const key = createPublicKey(createPrivateKey(secrets.deviceKey)).export({ type: 'spki', format: 'der' }).toString('base64');
  const device = { deviceId, name: 'Fixture device', platform: 'desktop', algorithm: 'ECDSA_P256', key };
  await parts.ask(`user:${userId}`, 'device.enrol', device);
  if (enrol.factors) {
    await parts.ask(`user:${userId}`, 'mfa.enrol', { pin: secrets.pin });
    await parts.ask(`user:${userId}`, 'mfa.enrol', { totpSecret: secrets.totpSecret });
  }
  return {
    user_id: userId,
    display_name: displayName,
    password: secrets.password,
    pin: secrets.pin,
    totp_secret: secrets.totpSecret,
    wallet_id: walletId,
    balance,
    currency: 'USD',
    device: { device_id: deviceId, private_key: secrets.deviceKey },
  };
}

/** Gives a new wallet its first balance; one that exists keeps what it has. */
async function fund(sandbox: Sandbox, userId: string, balanceMinor: number): Promise<string> {
  const authorization = { authorization: `Bearer ${sandbox.token}` };
  const account = await fetch(`${sandbox.url}/v1/users/${encodeURIComponent(userId)}/account`, { headers: authorization });
  if (account.ok) return ((await account.json()) as { wallet_id: string }).wallet_id;
  await account.arrayBuffer();
  const made = await fetch(`${sandbox.adminUrl}/accounts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user_id: userId, currency: 'USD', balance_minor: balanceMinor }),
  });
  if (!made.ok) throw new Error(`the wallet sandbox refused an account for ${userId}: ${await made.text()}`);
  return ((await made.json()) as { wallet_id: string }).wallet_id;
}

function given(config: Config): Sandbox {
  const url = config.walletUrl ?? '';
  return { url, adminUrl: `${url}/admin`, token: config.walletToken ?? '', stop: async () => {} };
}

/** The sandbox as a child: it ends when this process does, however that happens, because its channel closes. */
function startSandbox(config: Config, token: string): Promise<Sandbox> {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const child = fork(main, ['wallet-sandbox', '--port', '0', '--data-dir', join(config.dataDir, 'wallet'), '--token', token], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the wallet sandbox ended with ${code} before it listened`)));
    child.once('message', (message) => {
      const { url, adminUrl } = message as { url: string; adminUrl: string };
      child.removeAllListeners('exit');
      resolve({
        url,
        adminUrl,
        token,
        stop: () =>
          new Promise((done) => {
            if (child.exitCode !== null) done();
            child.once('exit', () => done());
            child.disconnect();
          }),
      });
    });
  });
}
