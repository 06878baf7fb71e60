/**
 * A second reading of the frame rules, for comparison with the pre-scan: recursive, slow, built from the MessagePack
 * specification with the platform's own UTF-8 decoder and big integers. Shares no code with what it judges.
 */

export class Refused extends Error {}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The value of a frame that the rules allow. Throws `Refused` for every other. */
export function referenceDecode(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let nodes = 0;

  const take = (size: number): number => {
    if (size > bytes.length - at) throw new Refused('truncated');
    at += size;
    return at - size;
  };
  // Not the method of the frame: a Buffer's would return a Buffer that shares its memory.
  const copy = (from: number): Uint8Array => Uint8Array.from(bytes.subarray(from, at));
  const text = (length: number): string => {
    const from = take(length);
    try {
      return utf8.decode(copy(from));
    } catch {
      throw new Refused('utf8');
    }
  };
  const integer = (value: bigint): number => {
    if (value > 2n ** 53n - 1n || value < -(2n ** 53n - 1n)) throw new Refused('integer');
    return Number(value);
  };
  const float = (value: number): number => {
    if (!Number.isFinite(value)) throw new Refused('float');
    return value;
  };
  const array = (count: number, depth: number): unknown[] => {
    const out: unknown[] = [];
    for (let i = 0; i < count; i += 1) out.push(value(depth + 1));
    return out;
  };
  const map = (count: number, depth: number): Record<string, unknown> => {
    const out = new Map<string, unknown>();
    for (let i = 0; i < count; i += 1) {
      const head = bytes[at] ?? 0;
      if (!((head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb))) throw new Refused('key');
      nodes -= 1;
      const key = value(depth + 1) as string;
      if (['__proto__', 'prototype', 'constructor'].includes(key) || out.has(key)) throw new Refused('key');
      out.set(key, value(depth + 1));
    }
    return Object.fromEntries(out);
  };
  const value = (depth: number): unknown => {
    nodes += 1;
    if (nodes > 4096) throw new Refused('nodes');
    const head = bytes[take(1)] as number;
    const isContainer = (head >= 0x80 && head <= 0x9f) || head >= 0xdc;
    if (isContainer && head < 0xe0 && depth >= 16) throw new Refused('depth');
    if (head <= 0x7f) return head;
    if (head <= 0x8f) return map(head - 0x80, depth);
    if (head <= 0x9f) return array(head - 0x90, depth);
    if (head <= 0xbf) return text(head - 0xa0);
    if (head >= 0xe0) return head - 256;
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return copy(take(view.getUint8(take(1))));
      case 0xc5:
        return copy(take(view.getUint16(take(2))));
      case 0xc6:
        return copy(take(view.getUint32(take(4))));
      case 0xca:
        return float(view.getFloat32(take(4)));
      case 0xcb:
        return float(view.getFloat64(take(8)));
      case 0xcc:
        return view.getUint8(take(1));
      case 0xcd:
        return view.getUint16(take(2));
      case 0xce:
        return view.getUint32(take(4));
      case 0xcf:
        return integer(view.getBigUint64(take(8)));
      case 0xd0:
        return view.getInt8(take(1));
      case 0xd1:
        return view.getInt16(take(2));
      case 0xd2:
        return view.getInt32(take(4));
      case 0xd3:
        return integer(view.getBigInt64(take(8)));
      case 0xd9:
        return text(view.getUint8(take(1)));
      case 0xda:
        return text(view.getUint16(take(2)));
      case 0xdb:
        return text(view.getUint32(take(4)));
      case 0xdc:
        return array(view.getUint16(take(2)), depth);
      case 0xdd:
        return array(view.getUint32(take(4)), depth);
      case 0xde:
        return map(view.getUint16(take(2)), depth);
      case 0xdf:
        return map(view.getUint32(take(4)), depth);
      default:
        throw new Refused('extension');
    }
  };

  const out = value(0);
  if (at !== bytes.length) throw new Refused('trailing');
  return out;
}
