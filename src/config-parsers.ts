/**
 * Turns the text of an environment variable into a value. A parser throws `Error` with the rest of the sentence
 * "NAME …", without the value where it may be a secret. Used by the table in `config.ts` alone.
 */

/** Reads a text file; a parameter of `loadConfig`, so that tests need no files. */
export type ReadFile = (path: string) => string;

export type Parse<T> = (text: string, readFile: ReadFile) => T;

/** A private RSA key of a JSON Web Key Set (RFC 7517), as it was given. */
export interface SigningKey {
  readonly kty: 'RSA';
  readonly kid: string;
  readonly n: string;
  readonly e: string;
  readonly d: string;
  readonly [member: string]: unknown;
}

/** A key that wraps users' data keys. `id` goes into what it wraps, so that keys can be rotated. `key` has 32 bytes. */
export interface MasterKey {
  readonly id: string;
  readonly key: Uint8Array;
}

/** Settings of Postgres that can lose committed writes; boot refuses them unless they are named. */
export const unsafeSettings = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off'] as const;

export const text: Parse<string> = (value) => value;

/** A whole number from `min` to `max`, both included. */
export function integer(min: number, max: number): Parse<number> {
  return (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    // Kubernetes gives every container of a namespace NAME_PORT=tcp://… for a Service called NAME.
    const hint = value.startsWith('tcp://') ? '; Kubernetes set it for a Service named "tmcp": set enableServiceLinks: false' : '';
    throw new Error(`must be a whole number from ${min} to ${max}${hint}`);
  };
}

/** A number of bytes, plain or with `KiB`, `MiB`, `GiB`. */
export function bytes(min: number, max: number): Parse<number> {
  return (value) => {
    const [, digits, unit] = /^(\d{1,15})\s*(KiB|MiB|GiB)?$/.exec(value) ?? [];
    const factor = unit === 'GiB' ? 2 ** 30 : unit === 'MiB' ? 2 ** 20 : unit === 'KiB' ? 2 ** 10 : 1;
    const number = digits === undefined ? Number.NaN : Number(digits) * factor;
    if (number >= min && number <= max) return number;
    throw new Error(`must be a number of bytes from ${min} to ${max}, for example 67108864 or 64MiB`);
  };
}

export function oneOf<const T extends string>(...choices: readonly T[]): Parse<T> {
  return (value) => {
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    throw new Error(`must be ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`);
  };
}

/** A port, or undefined for `off`. */
export const portOrOff: Parse<number | undefined> = (value) => {
  if (value === 'off') return undefined;
  try {
    return integer(0, 65_535)(value, unread);
  } catch {
    throw new Error('must be off, or a port from 0 (a free one) to 65535');
  }
};

export const onOff: Parse<boolean> = (value) => oneOf('on', 'off')(value, unread) === 'on';

/** A URL of one of `protocols` (`https:` …). */
export function url(...protocols: readonly string[]): Parse<string> {
  return (value) => {
    const parsed = URL.canParse(value) ? new URL(value) : undefined;
    if (parsed !== undefined && protocols.includes(parsed.protocol)) return value;
    throw new Error(`must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
  };
}

/** An http(s) origin without path, given back without the slash at its end. */
export const origin: Parse<string> = (value) => {
  url('https:', 'http:')(value, unread);
  const parsed = new URL(value);
  if (parsed.href === `${parsed.origin}/`) return parsed.origin;
  throw new Error('must be an origin: scheme, host and port, without path, query or credentials');
};

/** A comma list; each member goes through `parse`. Empty members are left out, doubles too. */
export function list<T>(parse: Parse<T>): Parse<readonly T[]> {
  return (value, readFile) => {
    const members = value.split(',').map((member) => member.trim());
    return [...new Set(members.filter((member) => member !== ''))].map((member) => parse(member, readFile));
  };
}

/** A secret of at least `min` characters. */
export function secretText(min: number): Parse<string> {
  return (value) => {
    if (value.length >= min) return value;
    throw new Error(`must have at least ${min} characters`);
  };
}

/** Secrets by comma, the first is current; each of at least `min` characters. */
export function secretList(min: number): Parse<readonly string[]> {
  return (value, readFile) => list(secretText(min))(value, readFile);
}

/** Base64 (or base64url) of at least `min` bytes. */
export function secretBytes(min: number): Parse<Uint8Array> {
  return (value) => {
    const decoded = base64(value);
    if (decoded !== undefined && decoded.length >= min) return decoded;
    throw new Error(`must be base64 of at least ${min} bytes (for example the output of: openssl rand -base64 ${min})`);
  };
}

/** Master keys: one base64 key, or a comma list of `id:base64` whose first is current. */
export const masterKeys: Parse<readonly MasterKey[]> = (value) => {
  const keys = value.split(',').map((member): MasterKey => {
    const [id, encoded] = member.includes(':') ? (member.trim().split(':', 2) as [string, string]) : ['k1', member.trim()];
    const key = base64(encoded);
    if (!/^[A-Za-z0-9_-]{1,32}$/.test(id)) throw new Error('must give each key an id of 1 to 32 letters, digits, "-" or "_"');
    if (key?.length !== 32)
      throw new Error('must hold keys of exactly 32 bytes in base64 (for example the output of: openssl rand -base64 32)');
    return { id, key };
  });
  if (new Set(keys.map((key) => key.id)).size !== keys.length) throw new Error('must not use a key id twice');
  return keys;
};

/** A JSON Web Key Set of private RS256 keys, inline or the path of a file that holds it; the first key signs. */
export const signingKeys: Parse<readonly SigningKey[]> = (value, readFile) => {
  const inline = value.trimStart().startsWith('{');
  const content = inline ? value : readFile(value);
  let keys: unknown;
  try {
    keys = (JSON.parse(content) as { keys?: unknown }).keys;
  } catch {
    // The parser's message may quote the key, so only its failing is told.
    throw new Error(`must be a JSON Web Key Set, inline or the path of a file; ${inline ? 'it' : 'that file'} is not JSON`);
  }
  if (!Array.isArray(keys) || keys.length === 0) throw new Error('must be a JSON Web Key Set with at least one key');
  const checked = keys.map(signingKey);
  if (new Set(checked.map((key) => key.kid)).size !== checked.length) throw new Error('must not use a kid twice');
  return checked;
};

function signingKey(key: unknown): SigningKey {
  const found = (typeof key === 'object' && key !== null ? key : {}) as Partial<SigningKey> & { readonly alg?: unknown };
  const members = [found.kid, found.n, found.e, found.d];
  if (found.kty !== 'RSA' || members.some((member) => typeof member !== 'string' || member === '')) {
    throw new Error('must hold private RSA keys, each with kid, n, e and d');
  }
  if (found.alg !== undefined && found.alg !== 'RS256') throw new Error('must hold keys for RS256');
  // RFC 7518 section 3.3: a key of 2048 bits or larger.
  if ((base64(found.n ?? '')?.length ?? 0) < 256) throw new Error('must hold keys of 2048 bits or more');
  return found as SigningKey;
}

function base64(value: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(value)) return undefined;
  return new Uint8Array(Buffer.from(value, 'base64'));
}

const unread: ReadFile = () => {
  throw new Error('this parser reads no files');
};
