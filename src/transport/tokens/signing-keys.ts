/**
 * The RSA keys tokens are signed and verified with: one active private key, and the public halves of it, of the next and of retired
 * ones. Keys come from configuration; the only maker of keys is `generateSigningKey`, for development.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint, type JWK } from 'jose';

/** Keys ready for use. `verifyKeys` and `publicJwks` hold every key, the active one first. */
export interface SigningKeys {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly privateJwk: JWK;
  readonly verifyKeys: ReadonlyMap<string, KeyObject>;
  readonly publicJwks: readonly JWK[];
}

const smallestModulusBits = 2048;

/** A new 2048-bit RSA private key as PKCS#8 PEM. For development: the caller keeps it. */
export async function generateSigningKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: smallestModulusBits });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/**
 * Reads keys from text: PEM blocks one after another, or a JWKS (or one JWK) as JSON. The first private key signs; every key
 * verifies. A JWK keeps its `kid`, a PEM key gets one from its thumbprint. Throws with a sentence when there is no private RSA key of
 * at least 2048 bits, or when two keys share a `kid`.
 */
export async function loadSigningKeys(text: string): Promise<SigningKeys> {
  const given = text.trimStart().startsWith('{') ? fromJwks(text) : fromPem(text);
  const verifyKeys = new Map<string, KeyObject>();
  const publicJwks: JWK[] = [];
  let active: { kid: string; key: KeyObject } | undefined;
  for (const { key, kid: named } of given) {
    if (key.asymmetricKeyType !== 'rsa') throw new Error('a signing key is not an RSA key');
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < smallestModulusBits) throw new Error('a signing key is shorter than 2048 bits');
    const publicKey = key.type === 'private' ? createPublicKey(key) : key;
    const { kty, n, e } = publicKey.export({ format: 'jwk' });
    const kid = named ?? `tmcp-${(await calculateJwkThumbprint({ kty, n, e } as JWK)).slice(0, 16)}`;
    if (verifyKeys.has(kid)) throw new Error(`two signing keys have the kid ${kid}`);
    const publicJwk = { kty, use: 'sig', alg: 'RS256', kid, n, e } as JWK;
    if (active === undefined && key.type === 'private') {
      active = { kid, key };
      publicJwks.unshift(publicJwk);
    } else publicJwks.push(publicJwk);
    verifyKeys.set(kid, publicKey);
  }
  if (active === undefined) throw new Error('there is no private key among the signing keys');
  const privateJwk = { ...active.key.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: active.kid } as JWK;
  return { kid: active.kid, privateKey: active.key, privateJwk, verifyKeys, publicJwks };
}

interface Given {
  readonly key: KeyObject;
  readonly kid: string | undefined;
}

function fromPem(text: string): Given[] {
  const blocks = text.match(/-----BEGIN ([A-Z ]+)-----[\s\S]+?-----END \1-----/g) ?? [];
  if (blocks.length === 0) throw new Error('the signing keys are neither PEM nor JSON');
  return blocks.map((pem) => ({ key: pem.includes('PRIVATE KEY') ? createPrivateKey(pem) : createPublicKey(pem), kid: undefined }));
}

function fromJwks(text: string): Given[] {
  const parsed = JSON.parse(text) as { keys?: JWK[] } & JWK;
  return (parsed.keys ?? [parsed]).map((jwk) => {
    const input = { key: jwk as Record<string, unknown>, format: 'jwk' as const };
    return { key: jwk.d === undefined ? createPublicKey(input) : createPrivateKey(input), kid: jwk.kid };
  });
}
