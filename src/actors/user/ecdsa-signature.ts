/**
 * The strict form of an ECDSA signature over P-256: DER with no second spelling, or raw r‖s of 64 bytes, each of r and s in
 * [1, n - 1]. Written out because libraries differ in what they let pass. Pure.
 */

/** The order of P-256's base point. */
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** Raw r‖s of a DER signature; undefined unless it is `SEQUENCE { INTEGER, INTEGER }`, minimal, positive, with nothing after it. */
export function derToRaw(der: Buffer): Buffer | undefined {
  // Two integers of at most 33 bytes: the length always fits the short form.
  if (der.length < 8 || der.length > 72 || der[0] !== 0x30 || der[1] !== der.length - 2) return undefined;
  const r = integerAt(der, 2);
  if (r === undefined) return undefined;
  const s = integerAt(der, r.end);
  if (s === undefined || s.end !== der.length) return undefined;
  return Buffer.concat([padded(r.bytes), padded(s.bytes)]);
}

/** Whether both halves of 64 raw bytes are in [1, n - 1]. */
export function inRange(raw: Buffer): boolean {
  return [raw.subarray(0, 32), raw.subarray(32)].every((half) => {
    const value = BigInt(`0x${half.toString('hex')}`);
    return value >= 1n && value < order;
  });
}

function integerAt(der: Buffer, at: number): { readonly bytes: Buffer; readonly end: number } | undefined {
  const length = der[at + 1];
  if (der[at] !== 0x02 || length === undefined || length < 1 || length > 33) return undefined;
  const end = at + 2 + length;
  const bytes = der.subarray(at + 2, end);
  if (bytes.length !== length) return undefined;
  const [first = 0, second = 0] = bytes;
  if (first > 0x7f) return undefined;
  // A leading zero only where the next bit would read as a sign.
  if (first === 0 && length > 1 && second < 0x80) return undefined;
  const digits = first === 0 ? bytes.subarray(1) : bytes;
  return digits.length > 32 ? undefined : { bytes: digits, end };
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]);
}
