/**
 * Identity on a real database behind a tiny HTTP server, with people, apps and keys, for tests that speak OAuth to it.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Principal } from '../../src/actors/ports.ts';
import { SystemClock } from '../../src/clock.ts';
import { createSecretHasher } from '../../src/persistence/crypto/secret-hasher.ts';
import type { Database } from '../../src/persistence/database.ts';
import { createMemoryBuckets } from '../../src/persistence/memory/shared-buckets.ts';
import { migrate } from '../../src/persistence/migrate.ts';
import { createRevocations } from '../../src/persistence/oauth/revocations.ts';
import { createIdentityStore, seedApp, seedUser } from '../../src/persistence/oauth/store.ts';
import { openPglite } from '../../src/persistence/pglite/open.ts';
import { createIdentity } from '../../src/transport/http/oauth/identity.ts';
import type { IdentityEvent, IdentityOptions, SecondFactor } from '../../src/transport/http/oauth/ports.ts';
import { generateSigningKey, loadSigningKeys } from '../../src/transport/tokens/signing-keys.ts';

export const serverName = 'tween.example';
export const alice = { userId: '@alice:tween.example', password: 'correct horse 1' };
export const bob = { userId: '@bob:tween.example', password: 'battery staple 2' };
/** Has a second factor; the code is always 123456. */
export const carol = { userId: '@carol:tween.example', password: 'third password 3' };
export const backendSecret = 'secret_3f0a9b1c7d2e4f60a1b2c3d4e5f60718';
export const shop = { appId: 'ma_demo_shop', redirectUri: 'http://127.0.0.1:9876/callback' };
export const backend = { appId: 'ma_demo_backend', redirectUri: 'https://backend.example/callback' };
export const host = { appId: 'ma_official_host', redirectUri: 'https://host.example/cb' };
export const hybrid = { appId: 'ma_hybrid', redirectUri: 'https://hybrid.example/cb' };

export interface HarnessOptions {
  readonly db?: Database;
  readonly rateScale?: number;
  readonly identity?: Partial<IdentityOptions>;
}

export async function startIdentity(options: HarnessOptions = {}) {
  const db = options.db ?? (await openPglite());
  await migrate(db);
  const clock = new SystemClock();
  const revocations = await createRevocations(db, clock);
  const store = createIdentityStore(db, clock, revocations);
  const hasher = createSecretHasher({ pepper: Buffer.from('pepper of the tests') });
  const events: IdentityEvent[] = [];
  const faults: unknown[] = [];
  const wallet = { down: false, asked: 0 };
  const codeTries: string[] = [];
  const secondFactor: SecondFactor = {
    required: async (userId) => userId === carol.userId,
    verifyTotp: async (_userId, code) => {
      codeTries.push(code);
      if (codeTries.length > 3) return 'locked';
      return code === '123456' ? 'ok' : 'wrong';
    },
  };
  const keys = await loadSigningKeys(await generateSigningKey());
  const server: Server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const identityOptions: IdentityOptions = {
    issuer,
    serverName,
    dev: true,
    keys,
    cookieKeys: ['a cookie key of the tests, long enough to count'],
    store,
    revocations,
    buckets: createMemoryBuckets({ clock }),
    hasher,
    clock,
    async walletIdFor(userId) {
      wallet.asked += 1;
      if (wallet.down) throw new Error('the wallet is down');
      return `tw_${userId.slice(1).split(':')[0]}`;
    },
    secondFactor,
    rateScale: options.rateScale ?? 1_000,
    onEvent: (event) => events.push(event),
    onFault: (error) => faults.push(error),
    ...options.identity,
  };
  const identity = await createIdentity(identityOptions);
  server.on('request', (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const headers: Record<string, string> = {};
      for (const [name, value] of Object.entries(request.headers)) headers[name] = Array.isArray(value) ? value.join(', ') : (value ?? '');
      const { method = 'GET', url = '/' } = request;
      void identity
        .handle({ method, url, headers, body: Buffer.concat(chunks), remoteAddress: request.socket.remoteAddress ?? '' })
        .then((answer) => {
          response.statusCode = answer.status;
          for (const [name, value] of answer.headers) response.appendHeader(name, value);
          response.end(answer.body);
        });
    });
  });

  for (const user of [alice, bob, carol]) {
    const name = user.userId.slice(1, 2).toUpperCase() + user.userId.slice(2).split(':')[0];
    await seedUser(store, { userId: user.userId, displayName: name, passwordHash: await hasher.hash(user.password) });
  }
  const shopScopes = ['user:read', 'wallet:balance', 'wallet:pay', 'wallet:history', 'storage:read', 'storage:write'];
  await seedApp(store, {
    appId: shop.appId,
    name: 'Demo Shop',
    developer: 'Shop & Sons <Ltd>',
    clientType: 'public',
    classification: 'verified',
    scopes: shopScopes,
    redirectUris: [shop.redirectUri, 'https://shop.example/cb?keep=1'],
  });
  await seedApp(store, {
    appId: backend.appId,
    name: 'Demo Backend',
    clientType: 'confidential',
    classification: 'community',
    scopes: ['user:read', 'storage:read', 'wallet:balance'],
    preapprovedScopes: ['user:read', 'wallet:balance'],
    redirectUris: [backend.redirectUri],
    clientSecret: backendSecret,
  });
  await seedApp(store, {
    appId: host.appId,
    name: 'Host',
    clientType: 'public',
    classification: 'official',
    scopes: ['user:read', 'storage:read', 'system:notifications'],
    preapprovedScopes: ['user:read', 'storage:read'],
    redirectUris: [host.redirectUri],
  });
  await seedApp(store, {
    appId: hybrid.appId,
    name: 'Hybrid',
    clientType: 'hybrid',
    classification: 'community',
    scopes: ['storage:read', 'system:notifications'],
    redirectUris: [hybrid.redirectUri],
    clientSecret: backendSecret,
  });

  return {
    db,
    clock,
    store,
    revocations,
    identity,
    identityOptions,
    keys,
    issuer,
    events,
    faults,
    wallet,
    hasher,
    codeTries,
    async refused(token: string): Promise<boolean> {
      return identity.verifier.verify(token).then(
        () => false,
        () => true,
      );
    },
    verify: (token: string): Promise<Principal> => identity.verifier.verify(token),
    async stop(): Promise<void> {
      revocations.close();
      server.closeAllConnections();
      server.close();
      if (options.db === undefined) await db.close();
    },
  };
}

export type Harness = Awaited<ReturnType<typeof startIdentity>>;
