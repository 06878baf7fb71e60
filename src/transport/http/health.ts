/**
 * `/healthz`: the process answers. `/readyz`: this node can do its work. Anybody may ask, so what readiness costs is paid at most once
 * a second.
 */
import type { Clock } from '../../actors/ports.ts';
import type { Logger } from '../../log.ts';
import { asTmcpError } from '../../protocol/errors.ts';
import type { PlainRoute } from './gateway.ts';

const readyForMs = 1_000;
/** A balancer takes silence for death; a database that is slow or away is answered with 503 sooner than balancers lose patience. */
const answerWithinMs = 900;

export interface HealthOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Rejects when the node cannot commit. */
  ready(): Promise<void>;
  readonly draining: () => boolean;
}

/** Alive: nothing is asked but that this code runs. */
export const alive: PlainRoute = {
  handle: (exchange) => exchange.json(200, { status: 'ok' }),
};

/** Ready: the probe row was committed, and the node is not draining. 503 otherwise, with what failed by name only. */
export function readiness({ clock, log, ready, draining }: HealthOptions): PlainRoute {
  let asked: Promise<boolean> | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  const check = (): Promise<boolean> => {
    if (asked !== undefined && clock.monotonic() - askedAt < readyForMs) return asked;
    askedAt = clock.monotonic();
    asked = inTime(clock, ready()).then(
      () => true,
      (error: unknown) => {
        log.warn({ event: 'ready.failed', err: asTmcpError(error).cause ?? error }, 'the node is not ready');
        return false;
      },
    );
    return asked;
  };
  return {
    async handle(exchange) {
      const committed = await check();
      const leaving = draining();
      const ok = committed && !leaving;
      const checks = { database: committed ? 'ok' : 'failed', draining: leaving };
      exchange.json(ok ? 200 : 503, { status: ok ? 'ready' : 'unavailable', checks }, ok ? {} : { headers: [['Retry-After', '1']] });
    },
  };
}

function inTime(clock: Clock, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(answerWithinMs, () => reject(new Error(`no answer within ${answerWithinMs} ms`)));
    work.then(resolve, reject).finally(cancel);
  });
}
