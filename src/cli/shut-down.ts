/** SIGTERM and SIGINT: drain, dispose, exit 0 within a bound; a second signal ends the process at once. */
import type { Logger } from '../log.ts';

/** Calls `stop` at the first signal. `boundMs` after it the process exits with 1 whatever it is doing. */
export function onStopSignal(stop: () => Promise<void>, boundMs: number, log: Logger): void {
  let stopping = false;
  const begin = (signal: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'stopping');
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
  };
  process.on('SIGTERM', () => begin('SIGTERM'));
  process.on('SIGINT', () => begin('SIGINT'));
}

/** Faults that nobody caught: counted, logged, and the process goes on, unless they come from its very start. */
export function watchFaults(log: Logger): void {
  process.on('unhandledRejection', (error) => log.fatal({ err: error }, 'a rejection that nobody handled'));
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'an exception that nobody caught; the process ends');
    process.exit(1);
  });
}
