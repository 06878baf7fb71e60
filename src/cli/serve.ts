/** `tmcp serve`: a node for production. */
import { startApp } from '../app.ts';
import { SystemClock } from '../clock.ts';
import { maskedConfig } from '../config.ts';
import { openDatabase } from '../dev/start-dev.ts';
import type { Settings } from './settings.ts';
import { onStopSignal, watchFaults } from './shut-down.ts';

/** Starts a node; everything it needs is in the configuration, which `loadConfig` has checked for `serve`. */
export async function runServe({ config, log }: Settings): Promise<void> {
  watchFaults(log);
  log.info({ config: maskedConfig(config) }, 'starting');
  const { signingKeys, masterKeys, pepper, cookieKeys, walletUrl, walletToken, publicUrl } = config;
  if (!signingKeys || !masterKeys || !pepper || !cookieKeys || !walletUrl || !walletToken || !publicUrl) throw new Error('serve was started with an incomplete configuration');
  const database = await openDatabase(config, log);
  const app = await startApp({
    config,
    secrets: { signingKeys: JSON.stringify({ keys: signingKeys }), masterKeys, pepper, cookieKeys, walletUrl, walletToken },
    publicUrl,
    serverName: config.serverName ?? new URL(publicUrl).hostname,
    database,
    clock: new SystemClock(),
    log,
  });
  onStopSignal(
    async () => {
      await app.drain();
      await app[Symbol.asyncDispose]();
    },
    config.drainMs + 10_000,
    log,
  );
  log.info({ url: app.url, origin: publicUrl }, 'ready');
}
