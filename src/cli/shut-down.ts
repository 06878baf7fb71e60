/**
 * SIGTERM, SIGINT and a request to drain: drain, dispose, exit 0 within a bound. A second signal ends the process at once; the first
 * after a request finds it doing what it is told.
 */
import type { Logger } from '../log.ts';

/** What a signal does once the server runs. */
export interface Stop {
  readonly stop: () => Promise<void>;
  /** This long after the signal the process exits with 1 whatever it is doing, ms. */
  readonly boundMs: number;
  readonly log: Logger;
}

let running: Stop | undefined;
let stopping = false;
let signalled = false;
/** A request that came before the server ran. */
let asked = false;

/**
 * Takes the signals from the first moment on: as process 1 of a container there is nobody else to. Before the server runs nothing was
 * answered, so there is nothing to lose, and a signal ends the process at once.
 */
export function takeSignals(): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (running === undefined) process.exit(0);
      if (signalled) process.exit(1);
      signalled = true;
      if (!stopping) begin(running, signal);
    });
  }
}

/** What signals and requests do from now on. */
export function onStopSignal(stop: Stop): void {
  running = stop;
  if (asked) requestStop();
}

/** Does what SIGTERM does; while the process starts, once it runs, so that what it has taken is handed over and not left lying. Idempotent. */
export function requestStop(): void {
  asked = true;
  if (running !== undefined && !stopping) begin(running, 'drain requested');
}

function begin({ stop, boundMs, log }: Stop, reason: string): void {
  stopping = true;
  log.info({ reason }, 'stopping');
  setTimeout(() => {
    log.error({ limit: boundMs }, 'did not stop in time');
    process.exit(1);
  }, boundMs).unref();
  stop().then(
    () => process.exit(0),
    (error: unknown) => {
      log.error({ err: error }, 'stopping failed');
      process.exit(1);
    },
  );
}

/** Faults that nobody caught: a rejection is logged and the process goes on; an exception ends it, because its state is unknown. */
export function watchFaults(log: Logger): void {
  process.on('unhandledRejection', (error) => log.fatal({ err: error }, 'a rejection that nobody handled'));
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'an exception that nobody caught; the process ends');
    process.exit(1);
  });
}
