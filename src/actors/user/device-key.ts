/**
 * Device keys: what is taken at registration, and the strict reading of signatures. ES256 over P-256 (DER or raw r‖s) and
 * RS256 of at least 2048 bits, SHA-256 once over the text. Pure but for node's crypto. Protocol sections 14.3 and 15.3.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { TmcpError } from '../../protocol/errors.ts';
import { derToRaw, inRange } from './ecdsa-signature.ts';

/** An 8192-bit modulus already costs a millisecond to verify; more is no device's key. */
const rsaBits = { least: 2048, most: 8192 };

export interface DeviceKey {
  /** SPKI, DER, base64: the one form that stands in the snapshot. */
  readonly key: string;
  /** `sha256:` and the hex digest of the DER. */
  readonly keyHash: string;
}

/** Reads a public key as sent. Errors: `INVALID_REQUEST` for anything but one canonical SPKI key of the algorithm told. */
export function readDeviceKey(algorithm: string, keyData: string): DeviceKey {
  const der = Buffer.from(keyData, 'base64');
  const key = importKey(der);
  // What OpenSSL writes must be what was sent: no trailing bytes, no second spelling of one key.
  if (key === undefined || !key.export({ format: 'der', type: 'spki' }).equals(der)) throw badKey('is not a canonical SPKI key');
  if (algorithm === 'ECDSA_P256') {
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw badKey('is not on the curve P-256');
  } else {
    const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
    if (key.asymmetricKeyType !== 'rsa') throw badKey('is not an RSA key');
    if (modulusLength < rsaBits.least || modulusLength > rsaBits.most)
      throw badKey(`has ${modulusLength} bits, not ${rsaBits.least} to ${rsaBits.most}`);
    if (publicExponent < 65_537n) throw badKey('has a public exponent below 65537');
  }
  return { key: der.toString('base64'), keyHash: `sha256:${createHash('sha256').update(der).digest('hex')}` };
}

/** The key object of a stored key. Errors: throws when it is not a key; nothing else is stored. */
export function keyObjectOf(key: string): KeyObject {
  const imported = importKey(Buffer.from(key, 'base64'));
  if (imported === undefined) throw new Error('the stored device key cannot be read');
  return imported;
}

/** Whether `signature` (base64 or base64url) is the key's over one of `texts`. Never throws: what cannot be read does not verify. */
export function verifiesAny(key: KeyObject, texts: readonly string[], signature: string): boolean {
  const bytes = decode(signature);
  if (bytes === undefined) return false;
  if (key.asymmetricKeyType === 'rsa') return texts.some((text) => verify('sha256', Buffer.from(text), key, bytes));
  const candidates = [derToRaw(bytes), bytes.length === 64 ? bytes : undefined].filter(
    (raw): raw is Buffer => raw !== undefined && inRange(raw),
  );
  return candidates.some((raw) => texts.some((text) => verify('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }, raw)));
}

/** One spelling a signature: what does not come out the same when written again is not taken. */
function decode(text: string): Buffer | undefined {
  const plain = text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
  const bytes = Buffer.from(plain, 'base64');
  return bytes.toString('base64').replace(/=+$/, '') === plain ? bytes : undefined;
}

function importKey(der: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    // Not a key: the caller refuses it by name.
    return undefined;
  }
}

function badKey(why: string): TmcpError {
  return new TmcpError('INVALID_REQUEST', `/public_key/key_data: ${why}`, {
    details: { issues: [{ path: '/public_key/key_data', message: why }] },
  });
}
