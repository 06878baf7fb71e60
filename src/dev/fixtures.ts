/**
 * The people and apps that `tmcp dev` starts with, and how more are made for load tests. Exists only in dev: `app.ts` never
 * imports this, `main.ts` loads it for `dev` alone. Secrets are drawn once and kept beside the data they belong to.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { base32, newSecret } from '../ids.ts';

export interface FixtureDevice {
  readonly device_id: string;
  /** PKCS#8 PEM, P-256. */
  readonly private_key: string;
}

export interface FixtureUser {
  readonly user_id: string;
  readonly display_name: string;
  readonly password: string;
  readonly pin: string;
  /** Base 32, for an authenticator (SHA-1, 6 digits, 30 s). */
  readonly totp_secret: string;
  readonly wallet_id: string;
  /** Major units of `currency` at the first start. */
  readonly balance: number;
  readonly currency: string;
  readonly device: FixtureDevice;
}

export interface FixtureApp {
  readonly app_id: string;
  readonly name: string;
  readonly client_type: 'public' | 'confidential';
  readonly classification: 'official' | 'community';
  readonly client_secret?: string;
  readonly redirect_uris: readonly string[];
  readonly scopes: readonly string[];
}

/** What `GET /dev/fixtures` answers. */
export interface Fixtures {
  readonly users: readonly FixtureUser[];
  readonly apps: readonly FixtureApp[];
  readonly wallet: { readonly url: string; readonly admin_url: string };
  readonly server_time: string;
}

/** Secrets of the fixtures, drawn once. */
export interface FixtureSecrets {
  readonly users: Readonly<
    Record<string, { readonly password: string; readonly pin: string; readonly totpSecret: string; readonly deviceKey: string }>
  >;
  readonly backendSecret: string;
  readonly hostSecret: string;
}

const shopScopes = ['user:read', 'wallet:balance', 'wallet:pay', 'wallet:history', 'storage:read', 'storage:write'];

/** Who is there at the first start: name, display name, balance in major units. */
export const fixturePeople = [
  { userId: '@alice:tween.example', displayName: 'Alice Example', balance: 1000 },
  { userId: '@bob:tween.example', displayName: 'Bob Example', balance: 100 },
  { userId: '@carol:tween.example', displayName: 'Carol Example', balance: 0 },
] as const;

/** The fixture apps; `origin` is where the dev server answers. */
export function fixtureApps(origin: string, secrets: FixtureSecrets): FixtureApp[] {
  return [
    {
      app_id: 'ma_demo_shop',
      name: 'Demo Shop',
      client_type: 'public',
      classification: 'community',
      redirect_uris: ['http://127.0.0.1:8081/callback', `${origin}/demo/callback`],
      scopes: shopScopes,
    },
    {
      app_id: 'ma_demo_backend',
      name: 'Demo Back End',
      client_type: 'confidential',
      classification: 'community',
      client_secret: secrets.backendSecret,
      redirect_uris: ['http://127.0.0.1:8082/callback'],
      scopes: shopScopes,
    },
    {
      app_id: 'ma_official_host',
      name: 'Tween Host',
      client_type: 'public',
      classification: 'official',
      redirect_uris: ['http://127.0.0.1:8083/callback'],
      scopes: shopScopes,
    },
  ];
}

/** A six-digit PIN that is not easily guessed: no run of equal or consecutive digits. */
export function drawPin(): string {
  for (;;) {
    const pin = String(randomBytes(4).readUInt32BE() % 1_000_000).padStart(6, '0');
    const steps = [...pin].slice(1).map((digit, index) => Number(digit) - Number(pin[index]));
    if (!/(.)\1\1/.test(pin) && !steps.every((value) => value === steps[0])) return pin;
  }
}

/** Secrets for one person. */
export function drawSecrets(): FixtureSecrets['users'][string] {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    password: newSecret(12),
    pin: drawPin(),
    totpSecret: base32(randomBytes(20)).toUpperCase(),
    deviceKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}

/** Secrets of all fixtures. */
export function drawAllSecrets(): FixtureSecrets {
  return {
    users: Object.fromEntries(fixturePeople.map(({ userId }) => [userId, drawSecrets()])),
    backendSecret: `secret_${newSecret(24)}`,
    hostSecret: `secret_${newSecret(24)}`,
  };
}

/** The device id of a fixture user. */
export function fixtureDeviceId(userId: string): string {
  return `device_${userId.slice(1, userId.indexOf(':'))}`;
}
