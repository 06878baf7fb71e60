/**
 * Builds one Postgres array in the wire's binary form, column by column, in a buffer that is kept between groups.
 * Binary, because it was measured at a quarter of the cost of an array literal: no quoting, no hex, no decimal text
 * (`bench/micro/journal-encode.bench.ts`). PGlite and `pg` both pass a Buffer through as it is.
 */
import { oid } from '../postgres/value-parsers.ts';

/** ndim, has-null flag, element type, length, lower bound: five 32-bit integers. */
const headerBytes = 20;
const emptyHeaderBytes = 12;
const firstBytes = 4_096;
/** A buffer that one large group made is not kept for ever. */
const keepBytes = 1024 * 1024;
/** Up to here a loop over ASCII is faster than a call into the encoder. */
const shortText = 48;

/** One array of one element type. Methods append one element; `take` ends the array. The result is valid until the next `reset`. */
export class ArrayWriter {
  readonly #elementType: number;
  #buffer = Buffer.allocUnsafeSlow(firstBytes);
  #offset = headerBytes;
  #length = 0;
  #hasNull = 0;

  /** `elementType` is the element's type number (`oid` in value-parsers.ts). */
  constructor(elementType: number) {
    this.#elementType = elementType;
  }

  /** Elements so far. */
  get length(): number {
    return this.#length;
  }

  reset(): void {
    if (this.#buffer.length > keepBytes) this.#buffer = Buffer.allocUnsafeSlow(firstBytes);
    this.#offset = headerBytes;
    this.#length = 0;
    this.#hasNull = 0;
  }

  null(): void {
    this.#room(4);
    this.#int32(-1);
    this.#hasNull = 1;
    this.#length++;
  }

  /** Errors: RangeError outside ±(2^53 - 1) or for a fraction: a rounded number must not reach a row. */
  int8(value: number | null): void {
    if (value === null) return this.null();
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
    this.#room(12);
    this.#int32(8);
    const high = Math.floor(value / 0x1_0000_0000);
    this.#int32(high);
    this.#int32(value - high * 0x1_0000_0000);
    this.#length++;
  }

  /** Errors: RangeError when `value` is no 32-bit integer. */
  int4(value: number): void {
    if ((value | 0) !== value) throw new RangeError(`${value} is not a 32-bit integer`);
    this.#room(8);
    this.#int32(4);
    this.#int32(value);
    this.#length++;
  }

  bool(value: boolean): void {
    this.#room(5);
    this.#int32(1);
    this.#buffer[this.#offset++] = value ? 1 : 0;
    this.#length++;
  }

  bytes(value: Uint8Array | null): void {
    if (value === null) return this.null();
    this.#room(4 + value.length);
    this.#int32(value.length);
    this.#buffer.set(value, this.#offset);
    this.#offset += value.length;
    this.#length++;
  }

  text(value: string | null): void {
    if (value === null) return this.null();
    this.#text(value, 0);
  }

  /** JSON text for a `jsonb` array, whose binary form starts with a version byte. */
  json(text: string | null): void {
    if (text === null) return this.null();
    this.#text(text, oid.jsonb === this.#elementType ? 1 : 0);
  }

  /** The finished array: a view of the kept buffer. */
  take(): Buffer {
    const end = this.#offset;
    this.#offset = 0;
    this.#int32(this.#length === 0 ? 0 : 1);
    this.#int32(this.#hasNull);
    this.#int32(this.#elementType);
    this.#int32(this.#length);
    this.#int32(1);
    this.#offset = end;
    return this.#buffer.subarray(0, this.#length === 0 ? emptyHeaderBytes : end);
  }

  #text(value: string, versionByte: number): void {
    // Three bytes are the most a UTF-16 code unit can take.
    this.#room(5 + value.length * 3);
    const sizeAt = this.#offset;
    this.#offset += 4;
    if (versionByte !== 0) this.#buffer[this.#offset++] = versionByte;
    if (!this.#ascii(value)) this.#offset += this.#buffer.write(value, this.#offset, 'utf8');
    const end = this.#offset;
    this.#offset = sizeAt;
    this.#int32(end - sizeAt - 4);
    this.#offset = end;
    this.#length++;
  }

  #ascii(value: string): boolean {
    if (value.length > shortText) return false;
    let at = this.#offset;
    for (let index = 0; index < value.length; index++) {
      const unit = value.charCodeAt(index);
      if (unit > 0x7f) return false;
      this.#buffer[at++] = unit;
    }
    this.#offset = at;
    return true;
  }

  #int32(value: number): void {
    const buffer = this.#buffer;
    const at = this.#offset;
    buffer[at] = value >>> 24;
    buffer[at + 1] = value >>> 16;
    buffer[at + 2] = value >>> 8;
    buffer[at + 3] = value;
    this.#offset = at + 4;
  }

  #room(bytes: number): void {
    const needed = this.#offset + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, needed));
    this.#buffer.copy(larger, 0, 0, this.#offset);
    this.#buffer = larger;
  }
}
