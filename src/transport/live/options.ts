/** What the live transport is given. `app.ts` joins it. */
import type { Clock, EventBus, EventTrailView, ResumeStore, Revocations, TokenVerifier } from '../../actors/ports.ts';
import type { Gate } from '../../actors/runtime/gate.ts';
import type { LoadProbe } from '../../actors/runtime/load-probe.ts';
import type { Logger } from '../../log.ts';
import type { Metrics } from '../../metrics.ts';
import type { SessionLifecycle } from './lifecycle.ts';

/** Something about a session that belongs into the audit trail. */
export interface SessionAudit {
  readonly type: 'session.resume_refused';
  /** `secret`: wrong or used before; `device`: from another device; `owner`: another user's or app's token. */
  readonly reason: 'secret' | 'device' | 'owner';
  readonly session: string;
  readonly userId: string;
  readonly appId: string;
  readonly ip: string;
}

export interface LiveOptions {
  readonly gate: Gate;
  readonly verifier: TokenVerifier;
  readonly bus: EventBus;
  readonly revocations: Pick<Revocations, 'subscribe'>;
  readonly resumes: ResumeStore;
  readonly clock: Clock;
  readonly lifecycle: SessionLifecycle;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** This node's name, told at open. */
  readonly node: string;
  /** Which history of the database the watermark speaks of. */
  readonly dbEpoch: string;
  readonly allowedOrigins: (origin: string) => boolean | Promise<boolean>;
  /** Clients reach this server by TLS. */
  readonly secure: boolean;
  readonly drainMs: number;
  readonly maxConnections: number;
  /** 0: no bound. */
  readonly maxConnectionsPerIp: number;
  /** Upgrades a second, and how many at once; 0 or left out: no bound. */
  readonly acceptRate?: number | undefined;
  readonly acceptBurst?: number | undefined;
  /** Sessions of one user on this node, with and without a socket; 0 or left out: no bound. */
  readonly maxSessionsPerUser?: number | undefined;
  /** What the ids of sessions say of the node that has them; left out by a node that is alone. */
  readonly home?: string | undefined;
  /** What was heard of all nodes' events; left out by a node that is alone. */
  readonly trail?: EventTrailView | undefined;
  /** A session was resumed here, for the so-manieth time. */
  readonly onResumed?: ((session: string, generation: number) => void) | undefined;
  /** How busy the node is; left out, it never turns anybody away for that. */
  readonly load?: Pick<LoadProbe, 'admission' | 'inFlight'> | undefined;
  readonly compression: boolean;
  /** Reverse proxies in front of the server that are trusted to tell the client's address. */
  readonly trustProxyHops: number;
  readonly audit?: ((event: SessionAudit) => void) | undefined;
}
