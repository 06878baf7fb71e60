/**
 * The composition root: the only place that knows everybody. Given a configuration with nothing missing and an open
 * database, it starts a node; disposing of it stops the node and leaves nothing running. It reads no environment.
 */
import { createHmac } from 'node:crypto';
import { Gate } from './actors/runtime/gate.ts';
import { LoadProbe } from './actors/runtime/load-probe.ts';
import { UserLimiter } from './actors/runtime/limiter.ts';
import { Outbox } from './actors/runtime/outbox.ts';
import { Registry } from './actors/runtime/registry.ts';
import { Timers } from './actors/runtime/timers.ts';
import { compileCatalogue } from './actors/runtime/validators.ts';
import { createChargeRunner } from './actors/payment/charge-runner.ts';
import { createPaymentBehaviour } from './actors/payment/payment.ts';
import type { Clock, JournalEntry, Principal } from './actors/ports.ts';
import { ClockKeeper } from './app/clock-keeper.ts';
import { createLoopMeter } from './app/loop-load.ts';
import { Nodes } from './app/nodes.ts';
import type { AppSecrets } from './app/secrets.ts';
import { startUpkeep } from './app/upkeep.ts';
import { sessionLifecycle } from './actors/session/session.machine.ts';
import { createUserBehaviour } from './actors/user/user.ts';
import { createVaultBehaviour } from './actors/vault/vault.ts';
import { SystemClock } from './clock.ts';
import type { Config } from './config.ts';
import { newId } from './ids.ts';
import type { Logger } from './log.ts';
import { createMetrics } from './metrics.ts';
import { createKeyRing } from './persistence/crypto/key-ring.ts';
import { createSecretHasher } from './persistence/crypto/secret-hasher.ts';
import type { Database } from './persistence/database.ts';
import { createJournal } from './persistence/journal/journal.ts';
import { createMemoryBuckets } from './persistence/memory/shared-buckets.ts';
import { createMemoryResumeStore } from './persistence/memory/resume-store.ts';
import { createRevocations } from './persistence/oauth/revocations.ts';
import { createIdentityStore } from './persistence/oauth/store.ts';
import { createRedisBuckets } from './persistence/redis/shared-buckets.ts';
import { openRedis } from './persistence/redis/open.ts';
import { createRedisResumeStore } from './persistence/redis/resume-store.ts';
import { createActorStore } from './persistence/stores/actor-store.ts';
import { forgetTombstones, readDbEpoch, readinessProbe } from './persistence/stores/upkeep.ts';
import { createVaultStore } from './persistence/stores/vault-store.ts';
import { TmcpError } from './protocol/errors.ts';
import { createIdentity } from './transport/http/oauth/identity.ts';
import { createServer, type TmcpServer } from './transport/server.ts';
import { createTweenPayWallet, type TweenPayWallet } from './transport/tweenpay/tweenpay-wallet.ts';
import { loadSigningKeys } from './transport/tokens/signing-keys.ts';

export interface AppOptions {
  readonly config: Config;
  readonly secrets: AppSecrets;
  readonly publicUrl: string;
  readonly serverName: string;
  /** Open and migrated; the app closes it. */
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Runs when everything is there and before the first request can come. */
  readonly beforeListening?: (app: AppParts) => Promise<void>;
  /** Somebody asked this node, through the database, to drain and end. */
  readonly onDrainRequested?: () => void;
  /** Doors that exist only in dev. */
  readonly devDoors?: (app: AppParts) => DevDoors;
}

/** `GET /dev/…` and `POST /dev/…`: the path after `/dev/`, with its method. */
export type DevDoors = ReadonlyMap<string, (body: unknown) => Promise<unknown>>;

export type AppParts = Awaited<ReturnType<typeof assemble>>;

export interface App extends AsyncDisposable {
  readonly url: string;
  /** Where metrics are scraped; undefined when that is off. */
  readonly metricsUrl: string | undefined;
  readonly parts: AppParts;
  /** Tells sessions to move away, lets requests end, flushes. */
  drain(): Promise<void>;
}

/** A balancer that asks every second has seen that a node is not ready by then. */
const drainNoticeMs = 1_500;
/** How long a node that drains tries to hand its actors over; what is left then waits for its next owner in the database. */
const giveWithinMs = 8_000;
/** What a stop takes at most when all is well: jobs and commits end, links close, the node leaves. */
const closeWithinMs = 12_000;

/** How long draining and disposing of a node may take, ms: past it something hangs. */
export function stopWithinMs(config: Pick<Config, 'drainMs'>): number {
  return config.drainMs + giveWithinMs + closeWithinMs;
}

async function assemble(options: AppOptions) {
  const { config, secrets, database, clock, log } = options;
  const metrics = createMetrics();
  const nodes = new Nodes({ config, secrets, publicUrl: options.publicUrl, serverName: options.serverName, database, clock, log, metrics });
  const { bus, name: node } = nodes;
  const journal = createJournal({
    db: database,
    clock,
    lanes: config.lanes,
    maxEntries: config.journalMaxEntries,
    maxBytes: config.journalMaxBytes,
    epochOf: (slot) => nodes.slots.epochOf(slot),
    log: log.child({ component: 'journal' }),
    ackBeforeCommit: config.testAckBeforeCommit,
    observe: {
      commit(ms, entries) {
        metrics.journalCommitSeconds.observe(ms / 1000);
        metrics.journalGroupSize.observe(entries);
      },
    },
  });
  const store = createActorStore(database);
  const redis = config.redisUrl === undefined ? undefined : openRedis(config.redisUrl);
  const buckets = redis === undefined ? createMemoryBuckets({ clock }) : createRedisBuckets(redis, { clock, nodes: () => nodes.count() });
  const resumes = nodes.resumes(redis === undefined ? createMemoryResumeStore({ clock }) : createRedisResumeStore(redis));
  const revocations = await createRevocations(
    database,
    clock,
    (error) => log.error({ err: error }, 'revocations could not be read'),
    () => nodes.hintRevoked(),
  );
  const identityStore = createIdentityStore(database, clock, revocations);
  const [currentMaster] = secrets.masterKeys;
  if (currentMaster === undefined) throw new Error('there is no master key');
  const keys = createKeyRing(database, { current: currentMaster.id, keys: new Map(secrets.masterKeys.map(({ id, key }) => [id, key])) });
  const hasher = createSecretHasher({ pepper: secrets.pepper });
  const wallet: TweenPayWallet = createTweenPayWallet({
    url: secrets.walletUrl,
    token: secrets.walletToken,
    timeoutMs: config.walletTimeoutMs,
    observe(operation, outcome, ms) {
      metrics.walletCalls.with(operation, outcome).inc();
      metrics.walletCallSeconds.with(operation).observe(ms / 1000);
    },
  });
  const dbEpoch = await readDbEpoch(database);
  const signingKeys = await loadSigningKeys(secrets.signingKeys);

  /** Asks an actor and waits for its answer. */
  const ask = <T>(address: string, type: string, input: unknown, who: Principal | null = null): Promise<T> =>
    new Promise((resolve, reject) => {
      nodes.tell(address, { type, input, who, reply: (error, result) => (error === null ? resolve(result as T) : reject(error)) });
    });

  const identity = await createIdentity({
    issuer: options.publicUrl,
    serverName: options.serverName,
    dev: config.mode === 'dev',
    keys: signingKeys,
    cookieKeys: secrets.cookieKeys,
    store: identityStore,
    revocations,
    buckets,
    hasher,
    clock,
    async walletIdFor(userId) {
      const outcome = await wallet.ensureAccount(userId, 'USD');
      if (outcome.kind === 'done') return outcome.value.walletId;
      throw new TmcpError('SERVICE_UNAVAILABLE', 'the wallet did not answer', { retryAfter: 1 });
    },
    secondFactor: {
      required: (userId) => ask<boolean>(`user:${userId}`, 'mfa.required', {}),
      verifyTotp: (userId, code) =>
        ask(`user:${userId}`, 'mfa.check', { method: 'totp', credentials: { code } }).then(
          () => 'ok' as const,
          (error: unknown) => {
            if (error instanceof TmcpError && error.code === 'MFA_LOCKED') return 'locked' as const;
            if (error instanceof TmcpError && error.code === 'INVALID_MFA_CREDENTIALS') return 'wrong' as const;
            throw error;
          },
        ),
    },
    lifetimes: { accessTokenS: config.tokenTtlS },
    rateScale: config.rateLimits === 'relaxed' ? 1000 : 1,
    onEvent: (event) => {
      log.info(
        {
          event: event.type,
          userId: event.userId,
          appId: event.clientId,
          grantId: event.grantId,
          scopes: event.scopes,
          clientIp: event.ip,
          reason: event.reason,
        },
        'identity',
      );
      if (event.type.startsWith('sign_in')) metrics.authenticationAttempts.with(event.type === 'sign_in.ok' ? 'ok' : 'refused').inc();
    },
    onFault: (error) => log.error({ err: error }, 'a fault of the identity server'),
  });

  const observeKind = log.child({ component: 'actors' });
  const registry: Registry = new Registry({
    journal,
    store,
    bus,
    clock,
    behaviours: [
      createUserBehaviour({
        wallet,
        users: identityStore.users,
        apps: identityStore.apps,
        keys,
        hasher: hasher.urgent,
        clock,
        granted: (userId, appId) => identity.grants(userId, appId),
        async revoke(request) {
          const { revokedScopes, revokedAt } = await identity.revoke(request);
          return { scopes: revokedScopes, at: revokedAt };
        },
      }),
      createVaultBehaviour({
        vaults: createVaultStore(database),
        keys,
        dbEpoch,
        clock,
        onForgotten(address, version) {
          forgetTombstones(database, address, version).catch((error: unknown) =>
            log.warn({ address, err: error }, 'forgotten tombstones could not be taken away'),
          );
        },
      }),
      createPaymentBehaviour({
        wallet,
        apps: identityStore.apps,
        users: identityStore.users,
        clock,
        newChallengeId: () => newId('mfa_ch'),
        // For a person to look at: money whose fate the wallet cannot tell, or about which it contradicts itself.
        onAlarm: (paymentId, problem) => log.fatal({ event: 'payment.alarm', paymentId, problem }, 'a payment needs a person'),
      }),
    ],
    mailboxLimit: config.mailbox,
    maxActors: config.maxActors,
    idleMs: config.idleActorMs,
    tell: nodes.tell,
    onFlushed(address: string, entry: JournalEntry) {
      if (entry.timers !== undefined || entry.timersDone !== undefined) timers.flushed(address, entry);
      if (entry.outbox !== undefined || entry.outboxDone !== undefined) outbox.flushed(address, entry);
    },
    observe: {
      depth: (total) => metrics.actorMailboxDepth.set(total),
      unwanted: (why) => metrics.requestsUnwanted.with(why).inc(),
      active: (kind, count) => metrics.actorsActive.with(kind).set(count),
      restarted(kind, address, error) {
        nodes.fenced(address, error);
        metrics.actorRestarts.with(kind).inc();
        observeKind.error({ address, err: error }, 'an actor failed and is rebuilt from its last flushed state');
      },
      quarantined(kind, address) {
        metrics.actorsQuarantined.inc();
        observeKind.fatal({ address, kind }, 'an actor failed three times in a minute and is set aside');
      },
    },
  });
  bus.subscribe(({ method, params }) => {
    if (method === 'tween.payment.updated') metrics.paymentTransactions.with(String(params['status'])).inc();
  });
  const { tell, ownSlots: slots, owns } = nodes;
  const timers = new Timers({ store, clock, tell, slots, owns });
  const outbox = new Outbox({
    store,
    clock,
    runners: createChargeRunner(wallet, clock),
    tell,
    slots,
    owns,
    onError: (row, error) => log.error({ outboxId: row.id, kind: row.type, err: error }, 'an effect could not be carried out'),
  });
  const limiter = new UserLimiter(clock, config.rateLimits === 'relaxed' ? 1000 : 1);
  const load = new LoadProbe({
    clock,
    journal,
    journalMaxEntries: config.journalMaxEntries,
    journalMaxBytes: config.journalMaxBytes,
    loopDelayMs: config.loopDelayMs,
    maxInFlight: config.maxInFlight,
    waiting: () => registry.waiting,
    onShed: (workClass) => metrics.requestsShed.with(workClass).inc(),
  });
  metrics.overloadPressure.from(() => load.admission.pressure);
  const gate = new Gate({
    overload: { admission: load.admission, clock, deadlineMs: config.deadlineMs },
    operations: compileCatalogue(),
    limiter,
    tell,
    hashKey: createHmac('sha256', secrets.pepper).update('inputs under idempotency keys').digest(),
  });
  const loop = createLoopMeter();
  await nodes.start({
    busy(name) {
      const operation = gate.operation(name);
      return operation === undefined ? undefined : gate.admit(operation);
    },
    registry,
    limiter,
    moved(lost) {
      timers.moved(lost);
      outbox.moved(lost);
    },
    onRevoked: () => void revocations.refresh().catch((error: unknown) => log.warn({ err: error }, 'revocations could not be read')),
    load: () => {
      const { busy, delayMs } = loop.read();
      const sessions = metrics.liveSessions.samples({})[0]?.value ?? 0;
      return { sessions, actors: registry.size, slots: nodes.slots.count, loopBusy: busy, loopDelayMs: delayMs };
    },
  });
  return {
    node,
    nodes,
    metrics,
    journal,
    store,
    bus,
    redis,
    buckets,
    resumes,
    revocations,
    identity,
    identityStore,
    keys,
    hasher,
    wallet,
    dbEpoch,
    registry,
    timers,
    outbox,
    gate,
    load,
    loop,
    ask,
    clock,
    log,
    database,
    config,
    publicUrl: options.publicUrl,
  };
}

/** Starts a node. Resolves when it answers; what an earlier process left in the outbox and in timers is taken up first. */
export async function startApp(options: AppOptions): Promise<App> {
  const { config, clock, log, database } = options;
  // First, because all that follows reads the time.
  const keeper = clock instanceof SystemClock ? new ClockKeeper({ database, clock, log: log.child({ component: 'clock' }) }) : undefined;
  await keeper?.start();
  const parts = await assemble(options);
  const { registry, timers, outbox, journal, revocations, identity, wallet, redis, metrics } = parts;
  await timers.start();
  await outbox.start();
  await options.beforeListening?.(parts);
  const server: TmcpServer = await createServer({
    host: config.host,
    port: config.port,
    node: parts.node,
    dbEpoch: parts.dbEpoch,
    publicUrl: options.publicUrl,
    gate: parts.gate,
    verifier: identity.verifier,
    bus: parts.bus,
    revocations,
    resumes: parts.resumes,
    home: parts.nodes.home,
    trail: parts.nodes.trail,
    onResumed: (session, generation) => parts.nodes.resumed(session, generation),
    lifecycle: sessionLifecycle(),
    identity: keeper?.guard(identity) ?? identity,
    clock,
    metrics,
    log,
    allowedOrigins: config.allowedOrigins,
    registeredOrigin: (origin) => parts.identityStore.apps.ownsOrigin(origin),
    compression: config.compression,
    trustProxyHops: config.trustProxy,
    maxConnections: config.maxConnections,
    maxConnectionsPerIp: config.maxConnectionsPerIp,
    acceptRate: config.acceptRate,
    acceptBurst: config.acceptBurst,
    maxSessionsPerUser: config.maxSessionsPerUser,
    load: parts.load,
    drainMs: config.drainMs,
    // Alone there is nobody to send clients to in the meantime.
    drainNoticeMs: parts.nodes.clustered ? Math.min(drainNoticeMs, config.drainMs / 4) : 0,
    metricsHost: config.metricsHost,
    metricsPort: config.metricsPort,
    anyMetricsPort: config.mode === 'dev',
    async ready() {
      parts.nodes.ready();
      keeper?.ready();
      await readinessProbe(database, parts.node, clock);
    },
    ...(options.devDoors === undefined ? {} : { devDoors: options.devDoors(parts) }),
  });

  parts.nodes.attach(
    {
      surrender: (session, secretHash) => server.live.hub.surrender(session, secretHash),
      gap: (here) => server.live.hub.gap(here),
      evacuate: (cut) => server.live.evacuate(cut),
    },
    () => options.onDrainRequested?.(),
  );

  const upkeep = startUpkeep({ owner: parts.nodes.bootId, database, identityStore: parts.identityStore, clock, metrics, log });
  const gauges = (): void => {
    const { entries, bytes } = journal.backlog();
    metrics.journalBacklogEntries.set(entries);
    metrics.journalBacklogBytes.set(bytes);
    cancelGauges = clock.after(1_000, gauges);
  };
  let cancelGauges = (): void => {};
  gauges();

  let stopped: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    parts.nodes.beginDrain();
    void upkeep.close();
    await server.drain();
    await parts.nodes.giveAll(giveWithinMs);
  };
  const stop = async (): Promise<void> => {
    const jobsEnded = upkeep.close();
    keeper?.close();
    cancelGauges();
    await server.close();
    parts.load.close();
    parts.loop.close();
    timers.close();
    outbox.close();
    await parts.nodes.stop();
    registry.close();
    await journal.close();
    await parts.nodes.leave();
    revocations.close();
    await jobsEnded;
    await wallet.close();
    await redis?.close();
    await database.close();
  };
  return {
    url: `http://${config.host === '0.0.0.0' ? '127.0.0.1' : config.host}:${server.port}`,
    metricsUrl: server.metricsPort === undefined ? undefined : `http://${config.metricsHost}:${server.metricsPort}/metrics`,
    parts,
    drain,
    [Symbol.asyncDispose]: () => (stopped ??= stop()),
  };
}
