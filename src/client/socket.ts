/** The WebSocket underneath, as little of it as the SDK uses: the browser's own, or one handed in (Node 20 has none). */

export interface SocketLike {
  binaryType: string;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'open' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

/** The platform's WebSocket. Errors: one sentence where there is none. */
export function platformSocket(): SocketConstructor {
  const found = (globalThis as { WebSocket?: SocketConstructor }).WebSocket;
  if (found === undefined)
    throw new Error('This runtime has no WebSocket: pass one as `WebSocket` (on Node 20: `import { WebSocket } from "undici"`)');
  return found;
}
