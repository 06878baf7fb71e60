/** Listening with uWebSockets.js as a promise. */
import { type TemplatedApp, uws } from './uws.ts';

type Listening = Parameters<Parameters<TemplatedApp['listen']>[2]>[0];

/** The binding takes options after a host too; its types know them only without one. 1: the port is not shared with other processes. */
type ListenOnHost = (host: string, port: number, options: 1, listening: (socket: Listening) => void) => void;
const exclusive = 1;

/** Listens exclusively on `host` and gives the port, the free one it found for 0. Errors: rejects when the port is taken. */
export function listen(app: TemplatedApp, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    (app.listen as unknown as ListenOnHost).call(app, host, port, exclusive, (socket) => {
      if (socket !== false) {
        resolve(uws.us_socket_local_port(socket as unknown as Parameters<typeof uws.us_socket_local_port>[0]));
        return;
      }
      const error = new Error(`cannot listen on ${host}:${port}: the port is taken or the address is not of this machine`);
      reject(Object.assign(error, { code: 'EADDRINUSE' }));
    });
  });
}
