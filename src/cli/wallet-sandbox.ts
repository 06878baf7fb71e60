/** `tmcp wallet-sandbox`: the sandbox as a process. Started by `tmcp dev`, it ends with it. */
import { mkdirSync } from 'node:fs';
import { startWalletSandbox } from '../wallet-sandbox/sandbox.ts';

/** Runs until a signal, or until the channel to a parent closes. */
export async function runWalletSandbox(options: {
  readonly port: number;
  readonly host: string;
  readonly dataDir?: string;
  readonly token: string;
  readonly fsync: boolean;
}): Promise<void> {
  if (options.dataDir !== undefined) mkdirSync(options.dataDir, { recursive: true });
  const sandbox = await startWalletSandbox({ ...options, dataDir: options.dataDir });
  const stop = (): void => {
    sandbox.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', () => {
    // A terminal sends it to parent and child alike; with a parent, the closed channel says when.
    if (!process.connected) stop();
  });
  process.on('disconnect', stop);
  if (process.send === undefined) process.stdout.write(`TweenPay sandbox\n  ${sandbox.url}\n  faults: POST ${sandbox.adminUrl}/faults\n`);
  else process.send({ url: sandbox.url, adminUrl: sandbox.adminUrl });
}
