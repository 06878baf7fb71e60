/**
 * Turns the environment into a typed configuration, by the table in `config-options.ts`. All that is wrong is told at once,
 * contradictions included, so that an operator corrects it in one go. Secrets are shown nowhere.
 */
import { readFileSync } from 'node:fs';
import { defaultText, type Mode, type Option, options } from './config-options.ts';
import type { ReadFile } from './config-parsers.ts';
import type { Env } from './env.ts';

type Options = typeof options;
export type ConfigKey = keyof Options;

/** The typed configuration. Options that serve requires may be undefined in dev. */
export type Config = { readonly mode: Mode } & {
  readonly [K in ConfigKey]: Options[K] extends Option<infer T> ? T : never;
};

/** All that is wrong with the environment, one problem a line. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `The configuration has ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * The configuration that `env` describes. A secret may also come from a file: NAME_FILE holds its path.
 * Errors: `ConfigError` with every problem. Source: docs/config.md.
 */
export function loadConfig(env: Env, mode: Mode, readFile: ReadFile = (path) => readFileSync(path, 'utf8')): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = { mode };
  for (const [key, row] of Object.entries(options) as [ConfigKey, Option<unknown>][]) {
    try {
      values[key] = valueOf(row, env, mode, readFile);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  const config = values as Config;
  problems.push(...contradictions(config, env));
  if (problems.length > 0) throw new ConfigError(problems);
  return config.publicUrl === undefined && config.port !== 0 ? { ...config, publicUrl: localUrl(config) } : config;
}

/** Variables that begin like ours and are none: a misspelt name would otherwise be ignored in silence. Kubernetes' own are left out. */
export function unknownVariables(env: Env): readonly string[] {
  const known = new Set(Object.values(options as Record<string, Option<unknown>>).flatMap((row) => [row.env, `${row.env}_FILE`]));
  const links = /^TMCP(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_.+)$/;
  return Object.keys(env).filter((name) => name.startsWith('TMCP_') && !known.has(name) && !links.test(name));
}

function valueOf(row: Option<unknown>, env: Env, mode: Mode, readFile: ReadFile): unknown {
  const given = env[row.env] === '' ? undefined : env[row.env];
  const file = row.secret === undefined ? undefined : env[`${row.env}_FILE`];
  if (given !== undefined && file !== undefined && file !== '') throw new Error(`${row.env} and ${row.env}_FILE are both set: take one`);
  let name = row.env;
  try {
    let value = given;
    if (file !== undefined && file !== '') {
      name = `${row.env}_FILE`;
      value = readFile(file).trim();
    }
    value ??= defaultText(row, mode);
    if (value === undefined) {
      if (row.requiredIn === mode) throw new Error('is required');
      return undefined;
    }
    return row.parse(value, readFile);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // A file that cannot be read is named by its error code: the message would repeat the path, which may be a secret put there by mistake.
    const code = (error as NodeJS.ErrnoException).code;
    throw new Error(code === undefined ? `${name} ${reason}` : `${name} names a file that cannot be read (${code})`);
  }
}

/** What is wrong with values that are right one by one. Values that did not parse are undefined here. */
function contradictions(config: Partial<Config>, env: Env): string[] {
  const wrong: string[] = [];
  const inClear = (value: string | undefined): boolean => value?.startsWith('http:') === true && !isLoopback(new URL(value).hostname);
  if (inClear(config.publicUrl)) wrong.push('TMCP_PUBLIC_URL must be https: tokens and PINs pass through it (http is for loopback only)');
  if (inClear(config.walletUrl))
    wrong.push('TMCP_WALLET_URL must be https: it moves money and carries a token (http is for loopback only)');
  if (config.port !== 0 && config.port !== undefined && config.port === config.metricsPort)
    wrong.push('TMCP_PORT and TMCP_METRICS_PORT must differ');
  if (config.databasePool !== undefined && config.lanes !== undefined && config.databasePool < config.lanes + 2) {
    wrong.push(`TMCP_DB_POOL must be at least TMCP_LANES + 2 (${config.lanes + 2}): each lane keeps a connection, and reads need some`);
  }
  if (config.walletUrl !== undefined && config.walletToken === undefined && config.mode === 'dev')
    wrong.push('TMCP_WALLET_TOKEN is required with TMCP_WALLET_URL');
  if (config.mode === 'serve' && config.testAckBeforeCommit === true && env['NODE_ENV'] !== 'test') {
    wrong.push('TMCP_TEST_ACK_BEFORE_COMMIT loses writes: serve takes it only with NODE_ENV=test');
  }
  const secrets = [config.pepper, ...(config.masterKeys ?? []).map((master) => master.key)].filter((secret) => secret !== undefined);
  if (new Set(secrets.map((secret) => Buffer.from(secret).toString('base64'))).size !== secrets.length) {
    wrong.push('TMCP_PEPPER and the keys of TMCP_MASTER_KEY must all differ');
  }
  return wrong;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function localUrl(config: Config): string {
  const host = config.host === '0.0.0.0' || config.host === '::' ? '127.0.0.1' : config.host;
  return `http://${host.includes(':') ? `[${host}]` : host}:${config.port}`;
}

/** The configuration for the start-up print and the doctor: environment names with their values, secrets masked. */
export function maskedConfig(config: Config): Readonly<Record<string, string>> {
  const shown: Record<string, string> = {};
  for (const [key, row] of Object.entries(options) as [ConfigKey, Option<unknown>][]) shown[row.env] = masked(row, config[key]);
  return shown;
}

function masked(row: Option<unknown>, value: unknown): string {
  if (value === undefined) return '(not set)';
  if (row.secret === 'value') return '(set, hidden)';
  if (row.secret === 'url') {
    const shown = new URL(String(value));
    if (shown.password !== '') shown.password = '***';
    // Drivers also take a password as a parameter.
    for (const name of [...shown.searchParams.keys()]) if (/pass|secret|token|key/i.test(name)) shown.searchParams.set(name, '***');
    return shown.href;
  }
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return Array.isArray(value) ? value.join(',') : String(value);
}
