/**
 * A MessagePack decoder for the frames msgpackr gets wrong: those with a long string that begins with U+FEFF, which it
 * drops where its native helper is absent (every browser). Takes only frames that passed the pre-scan, so it checks
 * nothing, and its recursion is bounded by the pre-scan's depth.
 */

// `ignoreBOM` means: do not treat a leading U+FEFF as a mark to be removed.
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** The value of a scanned frame. Byte strings are copies. Shape: as `decodeFrame`. */
export function decodeScanned(bytes: Uint8Array): unknown {
  return new Reader(bytes).value();
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): unknown {
    const head = this.#uint(1);
    if (head < 0x80) return head;
    if (head < 0x90) return this.#map(head & 0x0f);
    if (head < 0xa0) return this.#array(head & 0x0f);
    if (head < 0xc0) return this.#text(head & 0x1f);
    if (head >= 0xe0) return head - 0x100;
    switch (head) {
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return new Uint8Array(this.#take(this.#uint(1 << (head - 0xc4))));
      case 0xca:
        return this.#view.getFloat32(this.#skip(4));
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.#uint(1 << (head - 0xcc));
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return Number(this.#view.getBigInt64(this.#skip(8)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (head - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(2 << (head - 0xdc)));
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 << (head - 0xde)));
      default:
        return null;
    }
  }

  #map(entries: number): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    for (let i = 0; i < entries; i += 1) {
      const key = this.value() as string;
      map[key] = this.value();
    }
    return map;
  }

  #array(entries: number): unknown[] {
    const array: unknown[] = [];
    for (let i = 0; i < entries; i += 1) array.push(this.value());
    return array;
  }

  #text(length: number): string {
    return utf8.decode(this.#take(length));
  }

  #take(length: number): Uint8Array {
    const from = this.#skip(length);
    return this.#bytes.subarray(from, from + length);
  }

  /** A big-endian unsigned integer of 1, 2, 4 or 8 bytes; one of 8 is within 2^53 - 1, so the sum is exact. */
  #uint(size: number): number {
    let value = 0;
    for (let i = this.#skip(size); i < this.#at; i += 1) value = value * 256 + (this.#bytes[i] as number);
    return value;
  }

  #skip(size: number): number {
    const from = this.#at;
    this.#at += size;
    return from;
  }
}
