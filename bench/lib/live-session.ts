/** Sessions on raw sockets: opened once, asked before the load begins. */
import { pack, unpack } from 'msgpackr';
import { RawSocket, requestFrame } from './raw-client.ts';

interface Decoded {
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Asks once over a socket that has nothing else under way. Errors: the answer is one; the socket closes, or 30 s pass, first. */
export function askOnce<T = unknown>(socket: RawSocket, method: string, params: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${method}: no answer`)), 30_000);
    socket.onEnd = () => {
      clearTimeout(late);
      reject(new Error(`${method}: the socket was closed`));
    };
    socket.onFrame = (payload) => {
      const { result, error } = unpack(payload) as Decoded;
      clearTimeout(late);
      if (error === undefined) resolve(result as T);
      else reject(new Error(`${method}: ${error.code} ${error.message}`));
    };
    socket.write(requestFrame(method, pack(params)).frame);
  });
}

/** Opens a session with a token. Errors: as `askOnce`, and no upgrade. */
export async function openSession(port: number, token: string, path = '/v1/live'): Promise<RawSocket> {
  const socket = await RawSocket.open({ port, path });
  await askOnce(socket, 'tween.session.open', { token });
  return socket;
}

/** Posts JSON to a door of a dev server. Errors: any answer but 2xx. */
export async function post<T>(origin: string, path: string, body: unknown): Promise<T> {
  const response = await fetch(origin + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}
