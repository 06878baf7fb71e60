/** What a TEP verifier must not believe, and the little that it must. */
import { createHmac, generateKeyPairSync, type KeyObject, sign as rawSign, constants } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { AppRecord, Clock, Revocation, Revocations, UserProfile } from '../../../src/actors/ports.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { generateSigningKey, loadSigningKeys, type SigningKeys } from '../../../src/transport/tokens/signing-keys.ts';
import { signTep, tepClaims, type TepClaims } from '../../../src/transport/tokens/tep-claims.ts';
import { createTepVerifier, type TepVerifier } from '../../../src/transport/tokens/tep-verifier.ts';

const issuer = 'https://tmcp.example';
const nowS = 1_800_000_000;
const clock: Clock & { nowMs: number } = {
  nowMs: nowS * 1_000,
  now: () => clock.nowMs,
  monotonic: () => clock.nowMs,
  after: () => () => {},
};
const apps = new Map<string, AppRecord>();
const users = new Map<string, UserProfile>();
const withdrawn: Revocation[] = [];
const revocations: Revocations = {
  revoke: async (revocation) => void withdrawn.push(revocation),
  isRevoked: ({ tokenId, grantId, userId, appId, issuedAt }) =>
    withdrawn.some(
      (one) =>
        one.tokenId === tokenId ||
        one.grantId === grantId ||
        (one.userId === userId && (one.appId ?? appId) === appId && issuedAt <= one.at),
    ),
  subscribe: () => () => {},
};

let keys: SigningKeys;
let verifier: TepVerifier;
let good: TepClaims;
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });

const b64 = (value: object | string): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** `tep.` and a JWS with any header and payload, signed however the header says unless `signature` does it. */
function forge(
  options: { header?: object; payload?: object; key?: KeyObject; signature?: (input: Buffer) => Buffer; prefix?: string } = {},
): string {
  const header = { alg: 'RS256', typ: 'JWT', kid: keys.kid, ...options.header };
  const input = `${b64(header)}.${b64({ ...good, ...options.payload })}`;
  const sign = options.signature ?? ((bytes: Buffer) => rawSign(`sha${header.alg.slice(2)}`, bytes, options.key ?? keys.privateKey));
  return `${options.prefix ?? 'tep.'}${input}.${sign(Buffer.from(input)).toString('base64url')}`;
}

function without(claim: string): string {
  const { [claim as keyof TepClaims]: _gone, ...rest } = good;
  const input = `${b64({ alg: 'RS256', typ: 'JWT', kid: keys.kid })}.${b64(rest)}`;
  return `tep.${input}.${rawSign('sha256', Buffer.from(input), keys.privateKey).toString('base64url')}`;
}

const hmacWith =
  (secret: string | Buffer, bits = 256) =>
  (input: Buffer): Buffer =>
    createHmac(`sha${bits}`, secret).update(input).digest();
const publicPem = (): string => keys.verifyKeys.get(keys.kid)!.export({ type: 'spki', format: 'pem' }).toString();

beforeAll(async () => {
  keys = await loadSigningKeys(await generateSigningKey());
  apps.set('ma_shop', {
    appId: 'ma_shop',
    name: 'Shop',
    clientType: 'public',
    classification: 'verified',
    status: 'active',
    scopes: [],
    redirectUris: [],
  });
  apps.set('ma_other', { ...apps.get('ma_shop')!, appId: 'ma_other' });
  apps.set('ma_dead', { ...apps.get('ma_shop')!, appId: 'ma_dead', status: 'suspended' });
  users.set('@alice:x', { userId: '@alice:x', displayName: 'Alice', status: 'active' });
  users.set('@mallory:x', { userId: '@mallory:x', displayName: 'Mallory', status: 'suspended' });
  verifier = createTepVerifier({
    issuer,
    keys: keys.verifyKeys,
    clock,
    revocations,
    apps: { find: async (id) => apps.get(id) },
    users: { find: async (id) => users.get(id) },
    cacheEntries: 2,
  });
  good = tepClaims(issuer, {
    userId: '@alice:x',
    clientId: 'ma_shop',
    walletId: 'tw_alice',
    grantId: 'session_1',
    tokenId: 'tep_1',
    scopes: ['user:read', 'wallet:pay'],
    issuedAt: clock.now() + 250,
    expiresInS: 3_600,
    displayName: 'Alice',
  });
});

describe('a token of ours', () => {
  it('is believed, and gives the principal its claims name', async () => {
    const principal = await verifier.verify(await signTep(keys, good));
    expect(principal).toEqual({
      userId: '@alice:x',
      appId: 'ma_shop',
      walletId: 'tw_alice',
      scopes: new Set(['user:read', 'wallet:pay']),
      tokenId: 'tep_1',
      grantId: 'session_1',
      expiresAt: (nowS + 3_600) * 1_000,
    });
  });

  it.each(['RS256', 'RS384', 'RS512'])('may be signed with %s', async (alg) => {
    await expect(verifier.verify(forge({ header: { alg } }))).resolves.toMatchObject({ userId: '@alice:x' });
  });

  it('has no scopes when it names none', async () => {
    expect((await verifier.verify(forge({ payload: { scope: '' } }))).scopes.size).toBe(0);
  });

  it('issued by a node whose clock is 60 s ahead is believed; 61 s is not', async () => {
    const ahead = (s: number): string => forge({ payload: { iat: nowS + s, iat_ms: (nowS + s) * 1_000, nbf: nowS + s } });
    await expect(verifier.verify(ahead(60))).resolves.toBeDefined();
    await expect(verifier.verify(ahead(61))).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
  });

  it('lives up to its second and not longer, also when it was seen before', async () => {
    const token = forge({ payload: { jti: 'short', exp: nowS + 10 } });
    await verifier.verify(token);
    try {
      clock.nowMs = (nowS + 10) * 1_000 - 1;
      await expect(verifier.verify(token)).resolves.toBeDefined();
      clock.nowMs += 1;
      await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
    } finally {
      clock.nowMs = nowS * 1_000;
    }
  });

  it.each<[string, () => Revocation]>([
    ['its id', () => ({ tokenId: 'tep_seen', at: clock.now() })],
    ['its grant', () => ({ grantId: 'session_seen', at: clock.now() })],
    ['the person and app', () => ({ userId: '@alice:x', appId: 'ma_shop', at: clock.now() + 300 })],
    ['the person', () => ({ userId: '@alice:x', at: clock.now() + 300 })],
  ])('is refused once %s is withdrawn, although it was seen before', async (_name, revocation) => {
    const token = forge({ payload: { jti: 'tep_seen', session_id: 'session_seen' } });
    await verifier.verify(token);
    withdrawn.push(revocation());
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
    withdrawn.length = 0;
  });

  it('issued after a withdrawal in the same second lives', async () => {
    withdrawn.push({ userId: '@alice:x', appId: 'ma_shop', at: clock.now() + 249 });
    await expect(verifier.verify(forge())).resolves.toBeDefined();
    withdrawn.length = 0;
  });

  it('is refused once its app or its person is suspended or gone, although it was seen before', async () => {
    const token = forge();
    for (const [map, id] of [
      [apps, 'ma_shop'],
      [users, '@alice:x'],
    ] as const) {
      const kept = map.get(id)!;
      await verifier.verify(token);
      (map as Map<string, unknown>).set(id, { ...kept, status: 'suspended' });
      await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
      map.delete(id);
      await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
      (map as Map<string, unknown>).set(id, kept);
    }
  });

  it('of a retired key is believed while the key is listed', async () => {
    const both = await loadSigningKeys(`${await generateSigningKey()}\n${publicPem()}`);
    const rotated = createTepVerifier({
      issuer,
      keys: both.verifyKeys,
      clock,
      revocations,
      apps: { find: async (id) => apps.get(id) },
      users: { find: async (id) => users.get(id) },
    });
    await expect(rotated.verify(await signTep(keys, good))).resolves.toBeDefined();
  });
});

const forgeries: [string, () => string][] = [
  ['the empty string', () => ''],
  ['no prefix', () => forge({ prefix: '' })],
  ['an upper-case prefix', () => forge({ prefix: 'TEP.' })],
  ['a doubled prefix', () => forge({ prefix: 'tep.tep.' })],
  ['a developer prefix', () => forge({ prefix: 'dev.' })],
  ['a blank after the prefix', () => forge({ prefix: 'tep. ' })],
  ['a blank at the end', () => `${forge()} `],
  ['a line end at the end', () => `${forge()}\n`],
  ['padding', () => `${forge()}==`],
  ['a fourth part', () => `${forge()}.e30`],
  ['two parts', () => forge().split('.').slice(0, 3).join('.')],
  [
    'spare bits in the signature',
    () => {
      const token = forge();
      const last = token.at(-1)!;
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      return `${token.slice(0, -1)}${alphabet[alphabet.indexOf(last) ^ 1]}`;
    },
  ],
  ['alg none', () => forge({ header: { alg: 'none' }, signature: () => Buffer.alloc(0) })],
  ['alg none with a signature', () => forge({ header: { alg: 'none' }, signature: (bytes) => rawSign('sha256', bytes, keys.privateKey) })],
  ['alg NONE', () => forge({ header: { alg: 'NONE' }, signature: () => Buffer.alloc(1) })],
  ['an empty signature', () => forge({ signature: () => Buffer.alloc(0) })],
  ['a signature of zeros', () => forge({ signature: () => Buffer.alloc(256) })],
  ['HS256 with the public key as PEM', () => forge({ header: { alg: 'HS256' }, signature: hmacWith(publicPem()) })],
  [
    'HS256 with the public key as PEM without its last line end',
    () => forge({ header: { alg: 'HS256' }, signature: hmacWith(publicPem().trimEnd()) }),
  ],
  [
    'HS256 with the public key as DER',
    () => forge({ header: { alg: 'HS256' }, signature: hmacWith(keys.verifyKeys.get(keys.kid)!.export({ type: 'spki', format: 'der' })) }),
  ],
  ['HS512 with the public key as PEM', () => forge({ header: { alg: 'HS512' }, signature: hmacWith(publicPem(), 512) })],
  ['HS256 with an empty key', () => forge({ header: { alg: 'HS256' }, signature: hmacWith('') })],
  [
    'ES256 by a key of the attacker',
    () =>
      forge({
        header: { alg: 'ES256' },
        signature: (bytes) => rawSign('sha256', bytes, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }),
      }),
  ],
  [
    'PS256 by our own key',
    () =>
      forge({
        header: { alg: 'PS256' },
        signature: (bytes) => rawSign('sha256', bytes, { key: keys.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
      }),
  ],
  [
    'RS256 in name, PSS in deed',
    () =>
      forge({
        signature: (bytes) => rawSign('sha256', bytes, { key: keys.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
      }),
  ],
  ['SHA-1', () => forge({ header: { alg: 'RS1' }, signature: (bytes) => rawSign('sha1', bytes, keys.privateKey) })],
  ['lower-case alg', () => forge({ header: { alg: 'rs256' }, signature: (bytes) => rawSign('sha256', bytes, keys.privateKey) })],
  ['alg as a list', () => forge({ header: { alg: ['RS256'] }, signature: (bytes) => rawSign('sha256', bytes, keys.privateKey) })],
  ['a foreign key under our kid', () => forge({ key: foreign.privateKey })],
  ['a foreign key under its own kid', () => forge({ key: foreign.privateKey, header: { kid: 'mine' } })],
  [
    'a foreign key in the jwk header',
    () => forge({ key: foreign.privateKey, header: { jwk: foreign.publicKey.export({ format: 'jwk' }) } }),
  ],
  ['our key, and a jwk header', () => forge({ header: { jwk: foreign.publicKey.export({ format: 'jwk' }) } })],
  ['our key, and a jku header', () => forge({ header: { jku: 'http://127.0.0.1/keys' } })],
  ['our key, and an x5u header', () => forge({ header: { x5u: 'http://127.0.0.1/cert' } })],
  ['our key, and an x5c header', () => forge({ header: { x5c: ['MIIB'] } })],
  ['our key, and a crit header', () => forge({ header: { crit: ['exp'], exp: 1 } })],
  ['an unencoded payload', () => forge({ header: { b64: false, crit: ['b64'] } })],
  ['no kid', () => forge({ header: { kid: undefined } })],
  ['an empty kid', () => forge({ header: { kid: '' } })],
  ['a kid that is a path', () => forge({ header: { kid: '../../../../dev/null' } })],
  ['a kid that is SQL', () => forge({ header: { kid: "' OR 1=1 --" } })],
  ['a kid that is a member of every object', () => forge({ header: { kid: '__proto__' } })],
  ['a kid that is a list', () => forge({ header: { kid: [keys.kid] } })],
  ['a kid that is a number', () => forge({ header: { kid: 0 } })],
  ['typ at+jwt', () => forge({ header: { typ: 'at+jwt' } })],
  ['typ in lower case', () => forge({ header: { typ: 'jwt' } })],
  ['no typ', () => forge({ header: { typ: undefined } })],
  [
    'a changed payload',
    () => {
      const [prefix, header, , signature] = forge().split('.');
      return [prefix, header, b64({ ...good, sub: '@mallory:x' }), signature].join('.');
    },
  ],
  ['another issuer', () => forge({ payload: { iss: 'https://evil.example' } })],
  ['our issuer with a slash', () => forge({ payload: { iss: `${issuer}/` } })],
  ['our issuer in a list', () => forge({ payload: { iss: [issuer] } })],
  ['an unknown app', () => forge({ payload: { aud: 'ma_none', azp: 'ma_none', client_id: 'ma_none' } })],
  ['a suspended app', () => forge({ payload: { aud: 'ma_dead', azp: 'ma_dead', client_id: 'ma_dead' } })],
  ['the server as audience', () => forge({ payload: { aud: 'tmcp-server' } })],
  ['two audiences', () => forge({ payload: { aud: ['ma_shop', 'ma_other'] } })],
  ['its audience in a list', () => forge({ payload: { aud: ['ma_shop'] } })],
  ['azp of another app', () => forge({ payload: { azp: 'ma_other' } })],
  ['client_id of another app', () => forge({ payload: { client_id: 'ma_other' } })],
  ['aud of another app', () => forge({ payload: { aud: 'ma_other' } })],
  [
    'the backend of an app that is not hybrid',
    () => forge({ payload: { aud: 'ma_shop_backend', azp: 'ma_shop_backend', client_id: 'ma_shop_backend' } }),
  ],
  ['the token type of a developer', () => forge({ payload: { token_type: 'developer_token' } })],
  ['the old token type', () => forge({ payload: { token_type: 'access_token' } })],
  ['an unknown person', () => forge({ payload: { sub: '@nobody:x' } })],
  ['a suspended person', () => forge({ payload: { sub: '@mallory:x' } })],
  ['a person that is a number', () => forge({ payload: { sub: 1 } })],
  ['an empty person', () => forge({ payload: { sub: '' } })],
  ['exp now', () => forge({ payload: { exp: nowS, iat: nowS - 10, iat_ms: (nowS - 10) * 1_000 } })],
  ['exp in the past', () => forge({ payload: { exp: nowS - 1, iat: nowS - 100, iat_ms: (nowS - 100) * 1_000 } })],
  ['exp as text', () => forge({ payload: { exp: String(nowS + 3_600) } })],
  ['exp as a fraction', () => forge({ payload: { exp: nowS + 0.5 } })],
  ['exp beyond numbers', () => forge({ payload: { exp: 1e300 } })],
  ['exp null', () => forge({ payload: { exp: null } })],
  ['exp before iat', () => forge({ payload: { exp: nowS + 10, iat: nowS + 20, iat_ms: (nowS + 20) * 1_000 } })],
  ['a life of a day and a second', () => forge({ payload: { exp: nowS + 86_401 } })],
  ['nbf in the future', () => forge({ payload: { nbf: nowS + 61 } })],
  ['nbf as text', () => forge({ payload: { nbf: String(nowS) } })],
  ['iat in the future', () => forge({ payload: { iat: nowS + 61, iat_ms: (nowS + 61) * 1_000 } })],
  ['iat in 2096', () => forge({ payload: { iat: 4_000_000_000, exp: 4_000_003_600, iat_ms: 4_000_000_000_000 } })],
  ['iat more than a day ago', () => forge({ payload: { iat: nowS - 86_461, iat_ms: (nowS - 86_461) * 1_000, exp: nowS + 1 } })],
  ['iat as text', () => forge({ payload: { iat: String(nowS) } })],
  ['milliseconds that are not of its second', () => forge({ payload: { iat_ms: (nowS + 1) * 1_000 } })],
  ['milliseconds as text', () => forge({ payload: { iat_ms: `${nowS}000` } })],
  ['a scope list', () => forge({ payload: { scope: ['wallet:pay'] } })],
  ['a wallet that is no text', () => forge({ payload: { wallet_id: { id: 'tw_alice' } } })],
  ['an empty session', () => forge({ payload: { session_id: '' } })],
  ['an empty jti', () => forge({ payload: { jti: '' } })],
  [
    'a payload that is a list',
    () => {
      const input = `${b64({ alg: 'RS256', typ: 'JWT', kid: keys.kid })}.${b64('[]')}`;
      return `tep.${input}.${rawSign('sha256', Buffer.from(input), keys.privateKey).toString('base64url')}`;
    },
  ],
  ['more than 8 kB', () => forge({ payload: { extra: 'x'.repeat(8_192) } })],
  ...['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'token_type', 'client_id', 'azp', 'scope', 'wallet_id', 'session_id'].map(
    (claim): [string, () => string] => [`no ${claim}`, () => without(claim)],
  ),
];

describe('a forged token', () => {
  it.each(forgeries)('with %s is refused with the one message', async (_name, make) => {
    const token = make();
    const refusal = await verifier.verify(token).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(TmcpError);
    const { code, message, details, cause } = refusal as TmcpError;
    expect({ code, message, details, cause }).toEqual({
      code: 'INVALID_TOKEN',
      message: 'The access token is missing, invalid, expired or revoked',
    });
  });

  it('is among at least 40 kinds', () => {
    expect(forgeries.length).toBeGreaterThanOrEqual(40);
  });
});

describe('signing keys', () => {
  it('of a JWKS keep their kid and show nothing private', async () => {
    const loaded = await loadSigningKeys(
      JSON.stringify({ keys: [keys.privateJwk, { ...foreign.publicKey.export({ format: 'jwk' }), kid: 'old' }] }),
    );
    expect(loaded.kid).toBe(keys.kid);
    expect(loaded.publicJwks.map((jwk) => Object.keys(jwk).sort())).toEqual([
      ['alg', 'e', 'kid', 'kty', 'n', 'use'],
      ['alg', 'e', 'kid', 'kty', 'n', 'use'],
    ]);
  });

  it.each([
    ['nothing', () => ''],
    ['a public key only', () => publicPem()],
    ['an elliptic key', () => ec.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
    [
      'a short key',
      () => generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    ],
    ['the same key twice', () => `${publicPem()}\n${publicPem()}`],
  ])('from %s are refused with a sentence', async (_name, make) => {
    await expect(loadSigningKeys(make())).rejects.toThrow(/signing key|private key/);
  });
});
