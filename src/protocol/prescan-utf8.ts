/**
 * UTF-8 as the pre-scan needs it: is this run of bytes well formed. Nothing is decoded. RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF.
 */

/** The index of the first byte ≥ 0x80 in `[at, stop)`, or within 15 bytes before it; `stop` when all are ASCII. For long runs. */
export function firstNonAscii(bytes: Uint8Array, at: number, stop: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let i = at;
  for (const last = stop - 16; i <= last; i += 16) {
    const any = view.getInt32(i) | view.getInt32(i + 4) | view.getInt32(i + 8) | view.getInt32(i + 12);
    if ((any & 0x80808080) !== 0) return i;
  }
  while (i < stop && (bytes[i] as number) < 0x80) i += 1;
  return i;
}

/** Whether `[at, stop)` is well-formed UTF-8. */
export function isUtf8(bytes: Uint8Array, at: number, stop: number): boolean {
  let i = at;
  while (i < stop) {
    const lead = bytes[i] as number;
    i += 1;
    if (lead < 0x80) continue;
    // Continuation bytes to come, and the narrower range of the first of them after four special leads.
    let more = 1;
    let low = 0x80;
    let high = 0xbf;
    if (lead < 0xc2) return false;
    if (lead >= 0xe0) {
      more = 2;
      if (lead === 0xe0) low = 0xa0;
      else if (lead === 0xed) high = 0x9f;
      else if (lead >= 0xf0) {
        more = 3;
        if (lead === 0xf0) low = 0x90;
        else if (lead === 0xf4) high = 0x8f;
        else if (lead > 0xf4) return false;
      }
    }
    if (more > stop - i) return false;
    const second = bytes[i] as number;
    if (second < low || second > high) return false;
    for (let k = 1; k < more; k += 1) {
      if (((bytes[i + k] as number) & 0xc0) !== 0x80) return false;
    }
    i += more;
  }
  return true;
}
