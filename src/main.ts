#!/usr/bin/env node
/** The command line `tmcp`. Each command loads only what it runs. */
import { Command, InvalidArgumentError } from 'commander';
import { addClusterCommands } from './cli/cluster-commands.ts';
import { explainFailure, StartError } from './cli/explain.ts';
import type { Settings } from './cli/settings.ts';
import { loadConfig, unknownVariables } from './config.ts';
import { describeConfig } from './config-text.ts';
import { env } from './env.ts';
import { createLogger } from './log.ts';
import { version } from './version.ts';

const program = new Command('tmcp')
  .description('TMCP server: live sockets, payments and storage for mini-apps')
  .version(version)
  .showHelpAfterError();

program
  .command('dev')
  .description('a server with everything in it, for development; needs nothing installed')
  .addHelpText('after', () => `\nEnvironment:\n${describeConfig().help}`)
  .action(async () => {
    const { runDev } = await withoutRuntimeWarning(() => import('./cli/dev.ts'));
    await runDev(settings('dev'));
  });

program
  .command('serve')
  .description('a node for production; configured by the environment')
  .addHelpText('after', () => `\nEnvironment:\n${describeConfig().help}`)
  .action(async () => {
    const { runServe } = await withoutRuntimeWarning(() => import('./cli/serve.ts'));
    await runServe(settings('serve'));
  });

program
  .command('migrate')
  .description('brings the database of DATABASE_URL (or the embedded one) to this version and exits')
  .action(async () => {
    const { runMigrate } = await import('./cli/migrate.ts');
    await runMigrate(settings('dev'));
  });

program
  .command('doctor')
  .description('checks configuration, Postgres, Redis, clock, keys, wallet and limits, and says what to do')
  .option('--mode <mode>', 'check what `serve` or what `dev` needs', mode, 'serve')
  .action(async (options: { mode: 'dev' | 'serve' }) => {
    const { runDoctor } = await import('./cli/doctor.ts');
    process.exitCode = await runDoctor(env, options.mode);
  });

addClusterCommands(program, () => settings('dev').config);

program
  .command('keys')
  .description('makes the signing key, master key, pepper and cookie key of a new installation as files')
  .argument('<folder>', 'where they go; files that exist are never overwritten')
  .action(async (folder: string) => {
    const { runKeys } = await import('./cli/keys.ts');
    await runKeys(folder);
  });

program
  .command('token')
  .description('prints access tokens of a running `tmcp dev`; in production it does not exist')
  .requiredOption('--user <id>', 'Matrix user id, such as @alice:tween.example')
  .requiredOption('--app <id>', 'mini-app, such as ma_demo_shop')
  .option('--scope <scopes>', 'scopes, separated by spaces', 'storage:read storage:write')
  .option('--count <n>', 'how many', positive, 1)
  .option('--spread', 'each for a user of its own, @name-1 to @name-n, made when missing; for load tests', false)
  .option('--expires-in <seconds>', 'life of each token', positive, 3600)
  .action(async (options: { user: string; app: string; scope: string; count: number; spread: boolean; expiresIn: number }) => {
    const { runToken } = await import('./cli/token.ts');
    await runToken(settings('dev'), options);
  });

program
  .command('wallet-sandbox')
  .description('the TweenPay sandbox: a wallet with a ledger and a fault door')
  .option('--port <port>', 'where it listens; 0 takes a free one', port, 8090)
  .option('--host <host>', 'address', '127.0.0.1')
  .option('--data-dir <dir>', 'where the ledger is kept; in memory when left out')
  .option('--token <token>', 'the service token callers must bear', 'sandbox-token-for-development')
  .option('--fsync', 'survive a power cut too', false)
  .action(async (options: { port: number; host: string; dataDir?: string; token: string; fsync: boolean }) => {
    const { runWalletSandbox } = await import('./cli/wallet-sandbox.ts');
    await runWalletSandbox(options);
  });

function settings(chosen: 'dev' | 'serve'): Settings {
  const config = loadConfig(env, chosen);
  const log = createLogger(config);
  const unknown = unknownVariables(env);
  if (unknown.length > 0) log.warn({ variables: unknown }, 'these variables are not known and have no effect');
  return { config, log };
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1_000_000)
    throw new InvalidArgumentError('must be a whole number from 1 to 1,000,000');
  return value;
}

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_535) throw new InvalidArgumentError('must be a port');
  return value;
}

function mode(text: string): 'dev' | 'serve' {
  if (text === 'dev' || text === 'serve') return text;
  throw new InvalidArgumentError('must be dev or serve');
}

/**
 * oidc-provider warns while it loads that it wants a newer Node. It is tested on Node 20 here (ADR 0003), and whoever reads the warning can do
 * nothing about it.
 */
async function withoutRuntimeWarning<T>(load: () => Promise<T>): Promise<T> {
  const { warn } = console;
  console.warn = (...words: unknown[]) => {
    if (!String(words[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn(...words);
  };
  try {
    return await load();
  } finally {
    console.warn = warn;
  }
}

// A reader that has seen enough (`tmcp doctor | head`) ends the output, not with an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(explainFailure(error, ['debug', 'trace'].includes(env['TMCP_LOG_LEVEL'] ?? '')));
  process.exit(error instanceof StartError ? error.exitCode : 1);
});
