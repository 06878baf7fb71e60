/** The configuration table and its loader: types and bounds, what serve requires, contradictions, masking. */
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, maskedConfig, unknownVariables } from '../../../src/config.ts';
import type { Mode } from '../../../src/config-options.ts';
import type { Env } from '../../../src/env.ts';

const key = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const jwks = (bits = 2048, kid = 'a'): string => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return JSON.stringify({ keys: [{ ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256' }] });
};

const keySet = jwks();
const production: Env = {
  TMCP_PUBLIC_URL: 'https://tmcp.example',
  DATABASE_URL: 'postgres://tmcp:hunter2@db.example/tmcp',
  TMCP_SIGNING_KEYS: keySet,
  TMCP_MASTER_KEY: key(1),
  TMCP_PEPPER: key(2),
  TMCP_COOKIE_KEYS: 'c'.repeat(32),
  TMCP_WALLET_URL: 'https://wallet.example',
  TMCP_WALLET_TOKEN: 't'.repeat(16),
};

function problems(env: Env, mode: Mode = 'dev'): readonly string[] {
  try {
    loadConfig(env, mode);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('needs nothing in dev and stays on loopback', () => {
    const config = loadConfig({}, 'dev');
    expect(config).toMatchObject({ mode: 'dev', host: '127.0.0.1', port: 8080, publicUrl: 'http://127.0.0.1:8080', rateLimits: 'spec' });
    expect(config.databaseUrl).toBeUndefined();
  });

  it('takes a complete production environment', () => {
    const config = loadConfig(production, 'serve');
    expect(config).toMatchObject({
      mode: 'serve',
      host: '0.0.0.0',
      publicUrl: 'https://tmcp.example',
      tokenTtlS: 3600,
      journalMaxBytes: 67_108_864,
    });
    expect(config.masterKeys?.map((master) => master.id)).toEqual(['k1']);
    expect(config.signingKeys?.[0]?.kid).toBe('a');
  });

  it('refuses to serve without any of what it cannot guess, and names all of it at once', () => {
    expect(problems({}, 'serve')).toEqual(Object.keys(production).map((name) => `${name} is required`));
  });

  it.each(Object.keys(production))('refuses to serve without %s', (name) => {
    expect(problems({ ...production, [name]: '' }, 'serve')).toEqual([`${name} is required`]);
  });

  it('lists every problem at once, contradictions included', () => {
    const env = { TMCP_PORT: '99999', TMCP_LOG_LEVEL: 'loud', TMCP_DB_POOL: '3', TMCP_PUBLIC_URL: 'http://tmcp.example' };
    expect(problems(env)).toEqual([
      'TMCP_PORT must be a whole number from 0 to 65535',
      'TMCP_LOG_LEVEL must be trace, debug, info, warn, error, fatal or silent',
      'TMCP_PUBLIC_URL must be https: tokens and PINs pass through it (http is for loopback only)',
      'TMCP_DB_POOL must be at least TMCP_LANES + 2 (4): each lane keeps a connection, and reads need some',
    ]);
  });

  it.each([
    ['TMCP_TOKEN_TTL_S', '60', '86400', '59', '86401'],
    ['TMCP_PORT', '0', '65535', '-1', '65536'],
    ['TMCP_JOURNAL_MAX_BYTES', '4MiB', '1024GiB', '4194303', '1025GiB'],
  ])('%s takes its bounds and nothing beyond', (name, least, most, under, over) => {
    expect(problems({ [name]: least })).toEqual([]);
    expect(problems({ [name]: most })).toEqual([]);
    expect(problems({ [name]: under })).toHaveLength(1);
    expect(problems({ [name]: over })).toHaveLength(1);
  });

  it('counts an empty value as not given', () => {
    expect(loadConfig({ TMCP_PORT: '' }, 'dev').port).toBe(8080);
  });

  it('reads a byte count with its unit', () => {
    expect(loadConfig({ TMCP_JOURNAL_MAX_BYTES: '8 MiB' }, 'dev').journalMaxBytes).toBe(8 * 1024 * 1024);
  });

  it('takes the port of a Kubernetes service link for what it is', () => {
    expect(problems({ TMCP_PORT: 'tcp://10.0.0.1:8080' })[0]).toContain('enableServiceLinks: false');
  });

  it.each(['http://127.0.0.1:8080', 'http://localhost:8080', 'http://[::1]:8080', 'https://tmcp.example'])(
    'takes %s as public URL',
    (value) => {
      expect(problems({ TMCP_PUBLIC_URL: value })).toEqual([]);
    },
  );

  it.each([
    'http://tmcp.example',
    'http://127.0.0.1.evil.example',
    'https://tmcp.example/path',
    'https://u:p@tmcp.example',
    'ftp://x',
    'nonsense',
  ])('refuses %s as public URL', (value) => {
    expect(problems({ TMCP_PUBLIC_URL: value })).toHaveLength(1);
  });

  it('gives the public URL no slash at its end', () => {
    expect(loadConfig({ TMCP_PUBLIC_URL: 'https://tmcp.example/' }, 'dev').publicUrl).toBe('https://tmcp.example');
  });

  it('leaves the public URL open when the port is not known yet', () => {
    expect(loadConfig({ TMCP_PORT: '0' }, 'dev').publicUrl).toBeUndefined();
  });

  it('reads origins by comma and refuses a wildcard', () => {
    expect(loadConfig({ TMCP_ALLOWED_ORIGINS: 'https://a.example, https://b.example:8443,' }, 'dev').allowedOrigins).toEqual([
      'https://a.example',
      'https://b.example:8443',
    ]);
    expect(problems({ TMCP_ALLOWED_ORIGINS: '*' })).toHaveLength(1);
  });

  it('refuses the metrics on the port of the server', () => {
    expect(problems({ TMCP_PORT: '9464' })).toEqual(['TMCP_PORT and TMCP_METRICS_PORT must differ']);
  });

  it('names the unsafe settings it knows and no others', () => {
    expect(loadConfig({ TMCP_UNSAFE_DATABASE: 'fsync=off,full_page_writes=off' }, 'dev').unsafeDatabase).toEqual([
      'fsync=off',
      'full_page_writes=off',
    ]);
    expect(problems({ TMCP_UNSAFE_DATABASE: 'anything' })).toHaveLength(1);
  });

  it('takes the acknowledgement before commit only in dev or under test', () => {
    const env = { ...production, TMCP_TEST_ACK_BEFORE_COMMIT: 'on' };
    expect(problems(env, 'serve')).toEqual(['TMCP_TEST_ACK_BEFORE_COMMIT loses writes: serve takes it only with NODE_ENV=test']);
    expect(problems({ ...env, NODE_ENV: 'test' }, 'serve')).toEqual([]);
  });

  it('needs a token for a wallet in dev', () => {
    expect(problems({ TMCP_WALLET_URL: 'http://127.0.0.1:1' })).toEqual(['TMCP_WALLET_TOKEN is required with TMCP_WALLET_URL']);
  });

  it('refuses a wallet in clear beyond loopback', () => {
    expect(problems({ ...production, TMCP_WALLET_URL: 'http://wallet.example' }, 'serve')).toHaveLength(1);
  });
});

describe('secrets', () => {
  it('reads master keys by id, the first current', () => {
    const config = loadConfig({ TMCP_MASTER_KEY: `new:${key(3)},old:${key(4)}` }, 'dev');
    expect(config.masterKeys?.map(({ id, key: bytes }) => [id, bytes.length])).toEqual([
      ['new', 32],
      ['old', 32],
    ]);
  });

  it.each([
    ['a short master key', { TMCP_MASTER_KEY: Buffer.alloc(31, 1).toString('base64') }],
    ['a long master key', { TMCP_MASTER_KEY: Buffer.alloc(33, 1).toString('base64') }],
    ['a key id used twice', { TMCP_MASTER_KEY: `a:${key(1)},a:${key(2)}` }],
    ['a short pepper', { TMCP_PEPPER: Buffer.alloc(31, 1).toString('base64') }],
    ['a pepper that is not base64', { TMCP_PEPPER: 'ä'.repeat(40) }],
    ['a pepper that is also the master key', { TMCP_PEPPER: key(1), TMCP_MASTER_KEY: key(1) }],
    ['a short cookie key', { TMCP_COOKIE_KEYS: 'c'.repeat(31) }],
    ['signing keys that are not JSON', { TMCP_SIGNING_KEYS: '{' }],
    ['no signing key', { TMCP_SIGNING_KEYS: '{"keys":[]}' }],
    ['a public signing key', { TMCP_SIGNING_KEYS: keySet.replace(/"d":"[^"]*",/, '') }],
    ['a signing key without kid', { TMCP_SIGNING_KEYS: keySet.replace('"kid":"a",', '') }],
    ['a signing key for another algorithm', { TMCP_SIGNING_KEYS: keySet.replace('RS256', 'PS256') }],
    ['a weak signing key', { TMCP_SIGNING_KEYS: jwks(1024) }],
    ['a kid used twice', { TMCP_SIGNING_KEYS: keySet.replace(/\[(.*)\]/, '[$1,$1]') }],
  ])('refuses %s', (_what, env: Env) => {
    expect(problems(env)).toHaveLength(1);
  });

  it('come from files too, but not from both places', () => {
    const files: Record<string, string> = { '/run/pepper': `${key(5)}\n`, '/run/keys.json': keySet };
    const read = (path: string): string => files[path] ?? '';
    const config = loadConfig({ TMCP_PEPPER_FILE: '/run/pepper', TMCP_SIGNING_KEYS: '/run/keys.json' }, 'dev', read);
    expect(config.pepper).toHaveLength(32);
    expect(config.signingKeys).toHaveLength(1);
    expect(problems({ TMCP_PEPPER: key(5), TMCP_PEPPER_FILE: '/run/pepper' })).toEqual([
      'TMCP_PEPPER and TMCP_PEPPER_FILE are both set: take one',
    ]);
  });

  it('a file that cannot be read is a problem like any other, and its path is not repeated', () => {
    expect(problems({ TMCP_SIGNING_KEYS: '/nowhere/keys.json' })).toEqual(['TMCP_SIGNING_KEYS names a file that cannot be read (ENOENT)']);
  });

  it('appear neither in a problem nor in the start-up print', () => {
    const canary = 'canary-canary-canary-canary-canary-ca';
    const secret = {
      TMCP_PEPPER: `${canary}!`,
      TMCP_MASTER_KEY: `${canary}:x`,
      TMCP_COOKIE_KEYS: canary.slice(0, 20),
      TMCP_SIGNING_KEYS: `{${canary}`,
    };
    expect(problems(secret).length).toBeGreaterThanOrEqual(4);
    expect(problems(secret).join()).not.toContain('canary');
    const shown = maskedConfig(
      loadConfig({ ...production, TMCP_COOKIE_KEYS: canary, REDIS_URL: `redis://u:${canary}@r.example` }, 'serve'),
    );
    expect(JSON.stringify(shown)).not.toMatch(/canary|hunter2/);
    expect(shown).toMatchObject({
      DATABASE_URL: 'postgres://tmcp:***@db.example/tmcp',
      REDIS_URL: 'redis://u:***@r.example',
      TMCP_PEPPER: '(set, hidden)',
      TMCP_PORT: '8080',
      TMCP_COMPRESSION: 'off',
      TMCP_UNSAFE_DATABASE: '',
    });
  });
});

describe('unknownVariables', () => {
  it('finds misspelt names and leaves service links and files alone', () => {
    const env = { TMCP_PROT: '1', TMCP_PORT: '1', TMCP_PEPPER_FILE: 'x', TMCP_SERVICE_HOST: 'x', TMCP_PORT_8080_TCP: 'x', PATH: 'x' };
    expect(unknownVariables(env)).toEqual(['TMCP_PROT']);
  });
});
