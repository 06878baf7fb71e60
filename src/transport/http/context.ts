/** What every part of the gateway works with. */
import type { Clock } from '../../actors/ports.ts';
import type { Logger } from '../../log.ts';
import type { Metrics } from '../../metrics.ts';
import type { OriginCheck } from './origins.ts';

export interface GatewayContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly allowedOrigins: OriginCheck;
  /** Clients reach this server by https. */
  readonly secure: boolean;
  readonly trustProxyHops: number;
}
