/** Which of the two encodings a live socket speaks (live binding, section 1). */
import type { WireFormat } from '../../protocol/codec.ts';

export const subprotocols: Readonly<Record<string, WireFormat>> = { 'tmcp.msgpack.v1': 'msgpack', 'tmcp.json.v1': 'json' };

/** The chosen subprotocol; `name` is empty when the client offered none. */
export interface Choice {
  readonly name: string;
  readonly format: WireFormat;
}

/** The first offer we know, MessagePack when nothing is offered, undefined when nothing offered is known. */
export function chooseSubprotocol(offered: string): Choice | undefined {
  if (offered === '') return { name: '', format: 'msgpack' };
  for (const entry of offered.split(',')) {
    const name = entry.trim();
    if (Object.hasOwn(subprotocols, name)) return { name, format: subprotocols[name] as WireFormat };
  }
  return undefined;
}
