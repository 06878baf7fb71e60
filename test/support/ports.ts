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
