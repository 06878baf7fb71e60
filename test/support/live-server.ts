/**
 * Both bindings on a real port, over a real gate and registry with small actors, a manual clock, and tokens that a test hands out.
 * Everything around them is a real implementation of its port.
 */
import type { ActorContext, Behaviour } from '../../src/actors/runtime/behaviour.ts';
import { Gate } from '../../src/actors/runtime/gate.ts';
import { charge, UserLimiter } from '../../src/actors/runtime/limiter.ts';
import { LoadProbe } from '../../src/actors/runtime/load-probe.ts';
import type { Message } from '../../src/actors/runtime/message.ts';
import { Registry } from '../../src/actors/runtime/registry.ts';
import { compileCatalogue } from '../../src/actors/runtime/validators.ts';
import type { EventBus, Principal, ResumeStore, Revocation, TokenVerifier } from '../../src/actors/ports.ts';
import { sessionLifecycle } from '../../src/actors/session/session.machine.ts';
import { createLogger, type Logger } from '../../src/log.ts';
import { createMetrics, type Metrics } from '../../src/metrics.ts';
import { createMemoryResumeStore } from '../../src/persistence/memory/resume-store.ts';
import { TmcpError } from '../../src/protocol/errors.ts';
import { createLocalBus } from '../../src/transport/live/local-bus.ts';
import type { SessionAudit } from '../../src/transport/live/options.ts';
import { createServer, type ServerOptions, type TmcpServer } from '../../src/transport/server.ts';
import { LiveClient, type ConnectOptions, type LiveMessage } from './live-client.ts';
import { ManualClock } from './manual-clock.ts';
import { createMemoryJournal, type MemoryJournal } from './memory-journal.ts';

/** Who a token is for, and what it may. */
export interface Grant {
  readonly userId?: string;
  readonly appId?: string;
  readonly scopes?: readonly string[];
  /** From now; default an hour. */
  readonly livesMs?: number;
}

export interface LiveServer extends AsyncDisposable {
  readonly port: number;
  readonly origin: string;
  readonly server: TmcpServer;
  readonly clock: ManualClock;
  readonly bus: EventBus;
  readonly journal: MemoryJournal;
  readonly resumes: ResumeStore;
  readonly metrics: Metrics;
  readonly load: LoadProbe;
  readonly audits: SessionAudit[];
  /** Lines of the log, parsed. */
  readonly lines: Record<string, unknown>[];
  /** Requests on keys that begin with `hold`, which are answered only by the test. */
  readonly held: Message[];
  /** A token; the same text is never given twice. */
  token(grant?: Grant): string;
  revoke(revocation: Omit<Revocation, 'at'>): void;
  /** Holds every verification until the returned function is called. */
  holdVerification(): () => void;
  /** Verifications that are held. */
  verifying(): number;
  connect(options?: ConnectOptions): Promise<LiveClient>;
  /** A client with an open session, and the answer of the open. */
  open(
    grant?: Grant,
    params?: Record<string, unknown>,
    options?: ConnectOptions,
  ): Promise<{ client: LiveClient; opened: Record<string, never> & Opened }>;
}

export interface Opened {
  readonly session: string;
  readonly secret: string;
  readonly resumed: boolean;
  readonly seq: number;
  readonly expires_at: string;
  readonly durable: { readonly write: number; readonly db_epoch: string };
}

export const alice = '@alice:tween.example';
export const bob = '@bob:tween.example';
export const shop = 'ma_demo_shop';
export const allScopes = ['user:read', 'wallet:balance', 'wallet:pay', 'wallet:history', 'storage:read', 'storage:write'];

type Overrides = Partial<Omit<ServerOptions, 'clock' | 'load'>> & {
  /** Past this many unanswered requests the node is too busy; left out, it never is. */
  readonly maxInFlight?: number;
  readonly limitsFactor?: number;
  readonly autoFlush?: boolean;
  readonly logger?: Logger;
  readonly clock?: ManualClock;
};

/** Starts it on a free port. */
export async function startLiveServer(overrides: Overrides = {}): Promise<LiveServer> {
  const { limitsFactor = 1_000, autoFlush = true, clock = new ManualClock(), maxInFlight, ...rest } = overrides;
  const lines: Record<string, unknown>[] = [];
  const log =
    rest.log ?? createLogger({ logLevel: 'info' }, { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  const bus = rest.bus ?? createLocalBus();
  const journal = createMemoryJournal({ autoFlush });
  const metrics = createMetrics(false);
  const resumes = rest.resumes ?? createMemoryResumeStore({ clock });
  const held: Message[] = [];
  const audits: SessionAudit[] = [];
  const grants = new Map<string, Principal>();
  const revoked: Revocation[] = [];
  const listeners = new Set<(revocation: Revocation) => void>();
  let gateOpen: Promise<void> = Promise.resolve();
  let verifying = 0;
  const names = (revocation: Omit<Revocation, 'at'>, who: Principal): boolean =>
    revocation.tokenId === who.tokenId ||
    revocation.grantId === who.grantId ||
    (revocation.userId === who.userId && (revocation.appId === undefined || revocation.appId === who.appId));
  const verifier: TokenVerifier = {
    async verify(token) {
      const principal = grants.get(token);
      if (principal === undefined || principal.expiresAt <= clock.now() || revoked.some((revocation) => names(revocation, principal)))
        throw new TmcpError('INVALID_TOKEN');
      verifying++;
      await gateOpen;
      verifying--;
      return principal;
    },
  };
  const registry = new Registry({
    journal,
    store: journal,
    bus,
    clock,
    behaviours: [vault(held), user(held)],
    mailboxLimit: 1_000,
    maxActors: 10_000,
    idleMs: 60_000,
  });
  const load = new LoadProbe({
    clock,
    journal,
    journalMaxEntries: 1_000,
    journalMaxBytes: 1_000_000,
    loopDelayMs: maxInFlight === undefined ? 0 : 250,
    maxInFlight: maxInFlight ?? 1,
    waiting: () => registry.waiting,
    onShed: (workClass) => metrics.requestsShed.with(workClass).inc(),
  });
  const limiter = new UserLimiter(clock, limitsFactor);
  const gate = new Gate({
    overload: { admission: load.admission, clock, deadlineMs: 10_000 },
    operations: compileCatalogue(),
    limiter,
    tell(address, message) {
      const refusal = message.limit === undefined ? undefined : charge(limiter, message.limit, message.onLimit);
      if (refusal === undefined) registry.tell(address, message);
      else message.reply(refusal);
    },
    hashKey: Buffer.from('a key of the process'),
  });
  const server = await createServer({
    host: '127.0.0.1',
    port: 0,
    node: 'node_test',
    dbEpoch: 'epoch-1',
    publicUrl: 'http://127.0.0.1:8080',
    gate,
    verifier,
    bus,
    revocations: {
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    resumes,
    lifecycle: sessionLifecycle(),
    clock,
    metrics,
    log,
    allowedOrigins: ['https://shop.example'],
    compression: false,
    trustProxyHops: 0,
    maxConnections: 10_000,
    maxConnectionsPerIp: 0,
    drainMs: 1_000,
    ready: async () => {},
    metricsHost: '127.0.0.1',
    metricsPort: 0,
    audit: (event) => audits.push(event),
    load,
    ...rest,
  });
  const clients: LiveClient[] = [];
  let count = 0;
  const self: LiveServer = {
    port: server.port,
    origin: `http://127.0.0.1:${server.port}`,
    server,
    clock,
    bus,
    journal,
    resumes,
    metrics,
    load,
    audits,
    lines,
    held,
    token(grant = {}) {
      const { userId = alice, appId = shop, scopes = allScopes, livesMs = 3_600_000 } = grant;
      count++;
      const token = `tep.test.${count}`;
      grants.set(token, {
        userId,
        appId,
        walletId: `tw_${count}`,
        scopes: new Set(scopes),
        tokenId: `token_${count}`,
        grantId: `grant_${userId}_${appId}`,
        expiresAt: clock.now() + livesMs,
      });
      return token;
    },
    revoke(revocation) {
      const entry = { ...revocation, at: clock.now() };
      revoked.push(entry);
      for (const listener of listeners) listener(entry);
    },
    holdVerification() {
      let release = (): void => {};
      gateOpen = new Promise((resolve) => {
        release = resolve;
      });
      return release;
    },
    verifying: () => verifying,
    async connect(options) {
      const client = await LiveClient.connect(server.port, options);
      clients.push(client);
      return client;
    },
    async open(grant, params = {}, options) {
      const client = await self.connect(options);
      const answer = await client.call('tween.session.open', { token: self.token(grant), ...params });
      if (answer.error !== undefined) throw new Error(`open was refused: ${JSON.stringify(answer.error)}`);
      return { client, opened: answer.result };
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      for (const client of clients) client.cut();
      load.close();
      registry.close();
    },
  };
  return self;
}

type Values = Map<string, { value: string; version: number }>;

/** A vault without limits: `get` and `set` by key; a key that begins with `hold` is answered by the test, `big:<n>` gives n characters. */
function vault(held: Message[]): Behaviour<Values> {
  return {
    kind: 'vault',
    machineVersion: 1,
    load: (_id, stored) =>
      new Map(Object.entries((stored?.snapshot as Record<string, { value: string; version: number }> | undefined) ?? {})),
    receive(values, message, context) {
      const { key = '', value } = message.input as { key?: string; value?: string };
      if (key.startsWith('hold')) held.push(message);
      else if (message.type === 'tween.storage.get') get(values, key, message);
      else if (message.type === 'tween.storage.set') set(values, key, value ?? '', message, context);
      else if (message.type === 'tween.storage.batchGet')
        message.reply(null, { items: [], missing: (message.input as { keys: string[] }).keys });
      else if (message.type === 'tween.storage.remove') throw new Error('a fault with a secret in its message');
      else message.reply(null, { ok: true, who: message.who, input: message.input as unknown });
    },
  };
}

function get(values: Values, key: string, message: Message): void {
  const size = /^big:(\d+)$/.exec(key)?.[1];
  const found = size === undefined ? values.get(key) : { value: 'x'.repeat(Number(size)), version: 1 };
  if (found === undefined) message.reply(new TmcpError('KEY_NOT_FOUND'));
  else message.reply(null, { key, ...found });
}

function set(values: Values, key: string, value: string, message: Message, context: ActorContext): void {
  const version = (values.get(key)?.version ?? 0) + 1;
  values.set(key, { value, version });
  const result = { key, success: true, version };
  const { durable } = message;
  const snapshot = Object.fromEntries(values);
  if (durable === undefined) {
    context.commit({ snapshot }, [{ message, result }]);
    return;
  }
  message.reply(null, { ...result, durable: false });
  context.commit({ snapshot }, [{ message: { ...message, reply: (error) => durable(error) }, result }]);
}

/** A user whose answers show what arrived; `revoke` with a reason of `refuse:<CODE>` is refused with that code. */
function user(held: Message[]): Behaviour<null> {
  return {
    kind: 'user',
    machineVersion: 1,
    load: () => null,
    receive(_state, message) {
      const { reason } = message.input as { reason?: string };
      if (reason === 'hold') held.push(message);
      else if (reason?.startsWith('refuse:')) message.reply(refusals[reason.slice(7)] ?? new TmcpError('FORBIDDEN'));
      else message.reply(null, { who: { ...message.who, scopes: undefined }, input: message.input as unknown });
    },
  };
}

const refusals: Readonly<Record<string, TmcpError>> = {
  MFA_REQUIRED: new TmcpError('MFA_REQUIRED', undefined, {
    details: { payment_id: 'pay_a', status: 'mfa_required', mfa_challenge: { challenge_id: 'mfa_ch_a' } },
  }),
  INVALID_MFA_CREDENTIALS: new TmcpError('INVALID_MFA_CREDENTIALS', undefined, { details: { attempts_remaining: 2, retry_allowed: true } }),
  MFA_LOCKED: new TmcpError('MFA_LOCKED', undefined, { retryAfter: 900, details: { locked_until: '2026-01-01T00:15:00.000Z' } }),
  SERVICE_UNAVAILABLE: new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter: 1 }),
  INTERNAL_ERROR: new TmcpError('INTERNAL_ERROR', 'secret of ours', { cause: new Error('secret of ours') }),
};

/** The error of an answer that must be one. */
export function errorOf(message: LiveMessage): NonNullable<LiveMessage['error']> {
  if (message.error === undefined) throw new Error(`no error but ${JSON.stringify(message.result)}`);
  return message.error;
}
