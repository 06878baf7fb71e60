/** `tmcp serve`: a node for production. */
import { startApp, stopWithinMs } from '../app.ts';
import { SystemClock } from '../clock.ts';
import { maskedConfig } from '../config.ts';
import { openDatabase } from '../persistence/open-database.ts';
import type { Settings } from './settings.ts';
import { onStopSignal, requestStop, takeSignals, watchFaults } from './shut-down.ts';

/** Starts a node; everything it needs is in the configuration, which `loadConfig` has checked for `serve`. */
export async function runServe({ config, log }: Settings): Promise<void> {
  takeSignals();
  watchFaults(log);
  log.info({ config: maskedConfig(config) }, 'starting');
  const { signingKeys, masterKeys, pepper, cookieKeys, walletUrl, walletToken, publicUrl } = config;
  if (!signingKeys || !masterKeys || !pepper || !cookieKeys || !walletUrl || !walletToken || !publicUrl)
    throw new Error('serve was started with an incomplete configuration');
  const database = await openDatabase(config, (error) => log.warn({ err: error }, 'a database connection broke'));
  const app = await startApp({
    config,
    secrets: { signingKeys: JSON.stringify({ keys: signingKeys }), masterKeys, pepper, cookieKeys, walletUrl, walletToken },
    publicUrl,
    serverName: config.serverName ?? new URL(publicUrl).hostname,
    database,
    clock: new SystemClock(),
    log,
    onDrainRequested: requestStop,
  });
  onStopSignal({
    async stop() {
      await app.drain();
      await app[Symbol.asyncDispose]();
    },
    boundMs: stopWithinMs(config),
    log,
  });
  log.info({ url: app.url, origin: publicUrl }, 'ready');
}
