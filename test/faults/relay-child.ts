/**
 * Lives in a node's network namespace and keeps it alive. It carries loopback ports of the namespace to the hub and one port of the namespace
 * to the node's own loopback, for what the server answers to its own machine alone. Arguments: `listenHost:port=host:port` each.
 */
import { connect, createServer } from 'node:net';

for (const pair of process.argv.slice(2)) {
  const [from, to] = pair.split('=').map((place) => {
    const [host = '', port = ''] = place.split(':');
    return { host, port: Number(port) };
  }) as [{ host: string; port: number }, { host: string; port: number }];
  createServer((near) => {
    const far = connect(to);
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }).listen(from.port, from.host);
}
