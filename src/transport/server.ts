/**
 * One port for both bindings: the uWebSockets.js app, the live binding and the HTTP gateway on it, and the metrics listener beside it.
 * `app.ts` gives it everything it works with.
 */
import type { Clock, EventBus, EventTrailView, ResumeStore, Revocations, TokenVerifier } from '../actors/ports.ts';
import type { Gate } from '../actors/runtime/gate.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { buildOpenApi } from './http/openapi.ts';
import type { GatewayContext } from './http/context.ts';
import { devRoutes, type DevDoors } from './http/dev-routes.ts';
import { documentRoute } from './http/documents.ts';
import { Gateway } from './http/gateway.ts';
import { alive, readiness } from './http/health.ts';
import { type IdentityHandler, identityRoute } from './http/identity-route.ts';
import { startMetricsServer } from './http/metrics-server.ts';
import { type OriginCheck, originCheck } from './http/origins.ts';
import { buildAsyncApi } from './live/asyncapi.ts';
import type { SessionLifecycle } from './live/lifecycle.ts';
import { type LiveBinding, livePath, mountLive } from './live/live.ts';
import type { LiveOptions, SessionAudit } from './live/options.ts';
import { upgradeRequired } from './http/upgrade-required.ts';
import { listen } from './listen.ts';
import { type HttpResponse, uws } from './uws.ts';

export interface ServerOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly node: string;
  readonly dbEpoch: string;
  /** The origin clients reach. */
  readonly publicUrl: string;
  readonly gate: Gate;
  readonly verifier: TokenVerifier;
  readonly bus: EventBus;
  readonly revocations: Pick<Revocations, 'subscribe'>;
  readonly resumes: ResumeStore;
  readonly lifecycle: SessionLifecycle;
  /** What the ids of sessions say of this node; undefined when it is alone. */
  readonly home?: string | undefined;
  readonly trail?: EventTrailView | undefined;
  readonly onResumed?: (session: string, generation: number) => void;
  readonly identity?: IdentityHandler;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Exact origins; empty: what `registeredOrigin` says. */
  readonly allowedOrigins: readonly string[];
  readonly registeredOrigin?: OriginCheck;
  readonly compression: boolean;
  readonly trustProxyHops: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerIp: number;
  /** Upgrades a second, and how many at once; 0 or left out: no bound. */
  readonly acceptRate?: number;
  readonly acceptBurst?: number;
  /** Sessions of one user; 0 or left out: no bound. */
  readonly maxSessionsPerUser?: number;
  /** How busy the node is; left out, nobody is turned away for that. */
  readonly load?: LiveOptions['load'];
  readonly drainMs: number;
  /** Of that, how long the node is not ready and still takes clients, so that balancers know before clients are sent to them. Default 0. */
  readonly drainNoticeMs?: number;
  /** Rejects when the node cannot do its work. */
  ready(): Promise<void>;
  readonly devDoors?: DevDoors;
  readonly metricsHost: string;
  /** 0: no metrics listener. */
  readonly metricsPort: number;
  /** When the metrics port is taken, take a free one: for development, where several servers run on one machine. */
  readonly anyMetricsPort?: boolean;
  readonly audit?: (event: SessionAudit) => void;
}

export interface TmcpServer {
  readonly port: number;
  /** Undefined without a metrics listener. */
  readonly metricsPort: number | undefined;
  readonly live: LiveBinding;
  /** Live sockets, and sessions with and without one. */
  readonly counts: { readonly sockets: number; readonly sessions: number; readonly detached: number };
  /** Moves live sessions away; resolves when their sockets are closed or `drainMs` have passed. HTTP goes on. */
  drain(): Promise<void>;
  /** Closes everything at once. Idempotent. */
  close(): Promise<void>;
}

/** Starts listening. Errors: rejects when a port is taken. */
export async function createServer(options: ServerOptions): Promise<TmcpServer> {
  const { clock, log, metrics, gate, verifier, drainNoticeMs = 0 } = options;
  const allowedOrigins = originCheck(options.publicUrl, options.allowedOrigins, options.registeredOrigin);
  const secure = options.publicUrl.startsWith('https:');
  const app = uws.App();
  const live = mountLive(app, {
    gate,
    verifier,
    bus: options.bus,
    revocations: options.revocations,
    resumes: options.resumes,
    clock,
    lifecycle: options.lifecycle,
    home: options.home,
    trail: options.trail,
    onResumed: options.onResumed,
    log: log.child({ component: 'live' }),
    metrics,
    node: options.node,
    dbEpoch: options.dbEpoch,
    allowedOrigins,
    secure,
    drainMs: options.drainMs - drainNoticeMs,
    maxConnections: options.maxConnections,
    maxConnectionsPerIp: options.maxConnectionsPerIp,
    acceptRate: options.acceptRate,
    acceptBurst: options.acceptBurst,
    maxSessionsPerUser: options.maxSessionsPerUser,
    load: options.load,
    compression: options.compression,
    trustProxyHops: options.trustProxyHops,
    audit: options.audit,
  });
  let stopping = false;
  const context: GatewayContext = {
    clock,
    log: log.child({ component: 'http' }),
    metrics,
    allowedOrigins,
    secure,
    trustProxyHops: options.trustProxyHops,
  };
  const ready = readiness({ clock, log: context.log, ready: () => options.ready(), draining: () => stopping });
  const gateway = new Gateway(context, {
    gate,
    verifier,
    prefix: options.identity === undefined ? undefined : identityRoute(options.identity, options.load?.admission, clock),
    routes: [
      { method: 'GET', path: '/healthz', route: alive },
      { method: 'GET', path: '/health', route: alive },
      { method: 'GET', path: '/readyz', route: ready },
      { method: 'GET', path: '/ready', route: ready },
      { method: 'GET', path: '/openapi.json', route: documentRoute(buildOpenApi()) },
      { method: 'GET', path: '/asyncapi.json', route: documentRoute(buildAsyncApi()) },
      { method: 'GET', path: livePath, route: upgradeRequired },
      ...(options.devDoors === undefined ? [] : devRoutes(options.devDoors)),
    ],
  });
  gateway.mount(app);
  // Slow and idle connections are the library's to end; their number is ours.
  let connections = 0;
  const mostConnections = options.maxConnections + Math.max(1_000, options.maxConnections / 10);
  const count = (res: HttpResponse, change: number): void => {
    connections += change;
    if (change > 0 && connections > mostConnections) res.close();
  };
  app.filter((res, change) => count(res, Number(change)));
  const port = await listen(app, options.host, options.port);
  const startScrape = (on: number) =>
    startMetricsServer({
      host: options.metricsHost,
      port: on,
      text: () => metrics.text(),
      contentType: metrics.contentType,
      onError: (error) => context.log.error({ event: 'metrics.failed', err: error }, 'the metrics could not be read'),
    });
  const scrape =
    options.metricsPort === 0
      ? undefined
      : await startScrape(options.metricsPort)
          .catch((error: unknown) => {
            if (options.anyMetricsPort !== true) throw error;
            return startScrape(0);
          })
          .catch(async (error: unknown) => {
            await live.close();
            app.close();
            throw error;
          });

  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    stopping = true;
    await live.close();
    scrape?.close();
    app.close();
  };
  return {
    port,
    live,
    metricsPort: scrape?.port,
    get counts() {
      return { sockets: live.sockets, sessions: live.hub.size, detached: live.hub.detached };
    },
    async drain() {
      stopping = true;
      if (drainNoticeMs > 0) await new Promise<void>((resolve) => clock.after(drainNoticeMs, resolve));
      await live.drain();
    },
    close: () => (closed ??= close()),
  };
}
