/** Free loopback ports for the servers that tests start. */
import { createServer } from 'node:net';

/**
 * A TCP port of `host` that was free a moment ago. Another process may take it before the caller does, so callers that
 * start a server on it must notice a failed start and ask again.
 */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, host, () => {
      const address = probe.address();
      probe.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('the probe socket has no port'));
        else resolve(address.port);
      });
    });
  });
}

/**
 * A TCP port that is free now and outside the range from which the system takes ports for outgoing connections, for a server that is
 * stopped and started again on it: while it is down nobody's connection, a balancer's probe of it least of all, can sit there.
 */
export async function lastingPort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer();
      probe.once('error', () => resolve(false));
      probe.listen(port, host, () => probe.close(() => resolve(true)));
    });
    if (free) return port;
    if (attempt === 100) throw new Error('found no free port');
  }
}
