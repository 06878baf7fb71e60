/** `tmcp doctor`: checks one by one what a node needs, and says for each failure what to do. Changes nothing. */
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, totalmem } from 'node:os';
import { SystemClock } from '../clock.ts';
import { type Config, ConfigError, loadConfig, unknownVariables } from '../config.ts';
import type { Env } from '../env.ts';
import type { Database } from '../persistence/database.ts';
import { checkDatabase } from '../persistence/postgres/check.ts';
import { openPostgres } from '../persistence/postgres/open.ts';
import { openRedis } from '../persistence/redis/open.ts';
import { loadSigningKeys } from '../transport/tokens/signing-keys.ts';
import { createTweenPayWallet } from '../transport/tweenpay/tweenpay-wallet.ts';
import { explainFailure, reasonOf } from './explain.ts';

type Finding = { readonly ok: boolean; readonly says: string };

/** Most the machine's clock and the database's may differ. */
const clockSkewMs = 1_000;

/** Runs all checks, prints a line each; 0 when all are well, 1 otherwise. */
export async function runDoctor(env: Env, mode: 'dev' | 'serve'): Promise<number> {
  let bad = 0;
  const check = async (name: string, run: () => Promise<string> | string): Promise<void> => {
    let finding: Finding;
    try {
      finding = { ok: true, says: await run() };
    } catch (error) {
      finding = { ok: false, says: reasonOf(error) };
      bad++;
    }
    process.stdout.write(`${finding.ok ? '✓' : '✗'} ${name}: ${finding.says}\n`);
  };

  let config: Config | undefined;
  await check('configuration', () => {
    try {
      config = loadConfig(env, mode);
    } catch (error) {
      if (error instanceof ConfigError) throw new Error(explainFailure(error).trim().replaceAll('\n', '\n  '));
      throw error;
    }
    const unknown = unknownVariables(env);
    if (unknown.length > 0) throw new Error(`not known: ${unknown.join(', ')}; correct the names, they have no effect`);
    return `complete for ${mode}`;
  });
  await check('socket library', async () => {
    await import('../transport/uws.ts');
    return `loaded (Node ${process.version}, ${platform()}-${arch()})`;
  });
  await check('machine', () => {
    const files = openFileLimit();
    if (files < 4_096) throw new Error(`only ${files} open files are allowed; raise it with \`ulimit -n 65536\``);
    return `${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${files} open files`;
  });
  if (config === undefined) {
    process.stdout.write('- Postgres, Redis, keys and wallet are looked at once the configuration is right.\n');
    return 1;
  }
  const known = config;
  await check('Postgres', () => postgres(known));
  await check('Redis', () => redis(known));
  await check('signing keys', async () => {
    if (known.signingKeys === undefined) return 'none; dev draws its own';
    const keys = await loadSigningKeys(JSON.stringify({ keys: known.signingKeys }));
    return `${keys.publicJwks.length} published, ${keys.kid} signs`;
  });
  await check('wallet', () => wallet(known));
  return bad === 0 ? 0 : 1;
}

async function postgres(config: Config): Promise<string> {
  if (config.databaseUrl === undefined) return `embedded, in ${config.dataDir}`;
  const database = await openPostgres(config.databaseUrl, { poolSize: 1 }).catch((error: unknown) => {
    throw new Error(`cannot be used (${reasonOf(error)}); check DATABASE_URL and that Postgres listens there`);
  });
  try {
    const facts = await checkDatabase(database, config.unsafeDatabase);
    await sameClock(database);
    const risks = facts.acceptedRisks.length === 0 ? '' : `; accepted: ${facts.acceptedRisks.join(', ')}`;
    return `Postgres ${facts.serverVersion}, durable settings on, same clock${risks}`;
  } finally {
    await database.close();
  }
}

async function sameClock(database: Database): Promise<void> {
  const clock = new SystemClock();
  const before = clock.now();
  const [row] = await database.query<{ now: number }>('select (extract(epoch from clock_timestamp()) * 1000)::bigint as now');
  const middle = (before + clock.now()) / 2;
  const skew = Math.round((row?.now ?? 0) - middle);
  if (Math.abs(skew) > clockSkewMs) throw new Error(`its clock differs from this machine's by ${skew} ms; synchronise both with NTP`);
}

async function redis(config: Config): Promise<string> {
  if (config.redisUrl === undefined) return 'not set; buckets and resume records are kept in memory';
  let fault: Error | undefined;
  const onError = (error: Error): void => {
    fault ??= error;
  };
  const connection = openRedis(config.redisUrl, { onError });
  try {
    await connection.tried;
    await connection.client.ping();
    return 'answers';
  } catch (error) {
    throw new Error(`does not answer (${reasonOf(fault ?? error)}); check REDIS_URL`);
  } finally {
    await connection.close();
  }
}

async function wallet(config: Config): Promise<string> {
  if (config.walletUrl === undefined || config.walletToken === undefined) return 'not set; dev starts the sandbox';
  const client = createTweenPayWallet({ url: config.walletUrl, token: config.walletToken, timeoutMs: config.walletTimeoutMs });
  try {
    const outcome = await client.account('@doctor:tmcp.invalid');
    if (outcome.kind === 'unavailable' || outcome.kind === 'unknown')
      throw new Error(`does not answer (${outcome.reason}); check TMCP_WALLET_URL and TMCP_WALLET_TOKEN`);
    return 'answers';
  } finally {
    await client.close();
  }
}

/** Soft limit of open files, from the kernel; 0 when it does not say. */
function openFileLimit(): number {
  try {
    const line = readFileSync('/proc/self/limits', 'utf8')
      .split('\n')
      .find((row) => row.startsWith('Max open files'));
    const soft = line?.split(/\s{2,}/)[1];
    return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft ?? 0);
  } catch {
    return Number.MAX_SAFE_INTEGER;
  }
}
