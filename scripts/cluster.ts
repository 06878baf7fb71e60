/**
 * `npm run cluster [-- --nodes 4 --port 8080 --balancer haproxy|nginx|none --no-redis]`: a cluster on loopback to look at and to break.
 * Ctrl-C stops all of it; nothing is kept.
 */
import { parseArgs } from 'node:util';
import type { BalancerKind } from './lib/balancer.ts';
import { type Cluster, startCluster } from './lib/cluster.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '4' },
    port: { type: 'string', default: '8080' },
    balancer: { type: 'string', default: 'haproxy' },
    'no-redis': { type: 'boolean', default: false },
  },
});

function tell(cluster: Cluster): void {
  const { origin, liveUrl, nodes, balancer, postgres, redis, wallet, folder } = cluster;
  const rows: [string, string][] = [
    ['HTTP and OAuth', origin],
    ['live sockets', liveUrl],
    ...(balancer === undefined
      ? []
      : [[balancer.kind, `${balancer.operatorUrl ?? 'no statistics'}  by ${balancer.configFile}`] as [string, string]]),
    ...nodes.map(({ name, url, pid, metricsUrl }): [string, string] => [name, `${url}  pid ${pid}  ${metricsUrl}`]),
    ['Postgres', postgres.url],
    ['Redis', redis?.url ?? 'none'],
    ['wallet sandbox', `${wallet.url}  (faults: POST ${wallet.url}/admin/faults)`],
    ['logs', folder],
  ];
  const [first] = nodes;
  process.stdout.write(`
TMCP cluster, ${nodes.length} nodes, development mode

${rows.map(([what, where]) => `  ${what.padEnd(16)} ${where}`).join('\n')}

Try next, in another terminal

  curl -s ${origin}/dev/fixtures
  DATABASE_URL=${postgres.url} node dist/main.js nodes
  kill -9 ${first?.pid}      a node dies
  kill -TERM ${first?.pid}   a node drains

Ctrl-C stops all of it; nothing is kept.

`);
}

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // The servers were ended by then: they are hooked to the same signals.
    stopping = true;
    process.exit(0);
  });
}
try {
  const balancer = values.balancer as BalancerKind | 'none';
  tell(await startCluster({ nodes: Number(values.nodes), port: Number(values.port), balancer, redis: !values['no-redis'] }));
} catch (error) {
  if (!stopping) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
