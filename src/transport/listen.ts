/** Listening with uWebSockets.js as a promise. */
import { type TemplatedApp, uws } from './uws.ts';

/** Listens exclusively on `host` and gives the port, the free one it found for 0. Errors: rejects when the port is taken. */
export function listen(app: TemplatedApp, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on ${host}:${port}: the port is taken or the address is not of this machine`));
      else resolve(uws.us_socket_local_port(socket as unknown as Parameters<typeof uws.us_socket_local_port>[0]));
    });
  });
}
