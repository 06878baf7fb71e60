/**
 * HAProxy or nginx on loopback, by the files in deploy/: what is in them stays, but for addresses, the account and where they write.
 * `render…` changes each of these or says that the file no longer has the line.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { removeFolder, runFolder, type ServerProcess, startServer, tail } from '../../test/support/child.ts';
import { freePort } from '../../test/support/ports.ts';

export type BalancerKind = 'haproxy' | 'nginx';

/** Where a node listens. The order is the place on the ring. */
export interface BalancedNode {
  readonly name: string;
  readonly port: number;
  /** 127.0.0.1 when left out. HAProxy only. */
  readonly host?: string;
}

export interface BalancerOptions {
  readonly nodes: readonly BalancedNode[];
  /** Of the public listener; a free one when left out. */
  readonly port?: number;
  /** Connections from one address; by default no bound that a test on loopback could meet. */
  readonly perAddress?: number;
}

export interface Balancer {
  readonly kind: BalancerKind;
  readonly origin: string;
  readonly port: number;
  /** HAProxy's statistics page and metrics; undefined with nginx. */
  readonly operatorUrl: string | undefined;
  readonly configFile: string;
  readonly logFile: string;
  /** Asks HAProxy's runtime API. Errors: nginx has none. */
  ask(command: string): Promise<string>;
  /** What HAProxy thinks of each node for live sockets, as its statistics page says it: `UP`, `DOWN`, `NOLB` … */
  states(): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

interface Places {
  readonly port: number;
  readonly operatorPort: number;
  readonly folder: string;
}

/** The program, or undefined where it is not installed. */
export function findBalancer(kind: BalancerKind): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, kind)).find((path) => existsSync(path));
}

/** Starts it and waits until it takes connections. Errors: it is not installed; it did not start. */
export async function startBalancer(kind: BalancerKind, options: BalancerOptions): Promise<Balancer> {
  const command = findBalancer(kind);
  if (command === undefined) throw new Error(`${kind} is not installed: install the package "${kind}"`);
  const folder = runFolder(kind);
  const logFile = join(folder, 'output.log');
  const configFile = join(folder, `${kind}.conf`);
  for (let attempt = 1; ; attempt++) {
    const places = { port: options.port ?? (await freePort()), operatorPort: await freePort(), folder };
    writeFileSync(configFile, kind === 'haproxy' ? renderHaproxy(options, places) : renderNginx(options, places));
    const args =
      kind === 'haproxy'
        ? ['-db', '-f', configFile]
        : // One process: workers would outlive a master that is killed with us.
          ['-p', folder, '-c', configFile, '-g', `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr;`];
    const server = startServer({ command, args, cwd: folder, logFile, environment: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' } });
    if (await listens(server, places.port)) return running(kind, server, places, configFile, logFile);
    await server.end('SIGKILL');
    if (attempt === 3 || options.port !== undefined) throw new Error(`${kind} did not start:\n${tail(logFile)}`);
  }
}

function running(kind: BalancerKind, server: ServerProcess, places: Places, configFile: string, logFile: string): Balancer {
  const { port, operatorPort, folder } = places;
  const ask = (command: string): Promise<string> => (kind === 'haproxy' ? askSocket(join(folder, 'admin.sock'), command) : noApi());
  return {
    kind,
    port,
    origin: `http://127.0.0.1:${port}`,
    operatorUrl: kind === 'haproxy' ? `http://127.0.0.1:${operatorPort}/stats` : undefined,
    configFile,
    logFile,
    ask,
    async states() {
      const [head = '', ...rows] = (await ask('show stat')).split('\n').map((line) => line.split(','));
      const column = (name: string): number => (head as string[]).indexOf(name);
      const nodes = rows.filter((row) => row[0] === 'live' && row[1] !== 'BACKEND');
      return Object.fromEntries(nodes.map((row) => [row[1] as string, row[column('status')] as string]));
    },
    async stop() {
      await server.end(kind === 'haproxy' ? 'SIGTERM' : 'SIGINT', 3_000);
      removeFolder(folder);
    },
  };
}

function noApi(): Promise<never> {
  return Promise.reject(new Error('the open-source nginx has no runtime API'));
}

/** deploy/haproxy/haproxy.cfg for nodes on loopback. */
export function renderHaproxy({ nodes, perAddress = 1_000_000 }: BalancerOptions, { port, operatorPort, folder }: Places): string {
  const text = withServers(deployed('haproxy/haproxy.cfg'), nodes, /^ {4}server n1 10\.0\.0\.11:8080 id 1(.*)$/, (rest, node, place) => {
    const track = rest.replace('live/n1', `live/${node.name}`);
    return `    server ${node.name} ${node.host ?? '127.0.0.1'}:${node.port} id ${place}${track}`;
  });
  return replaced(text, [
    [/^ {4}(user|group) haproxy\n/gm, ''],
    [/^ {4}bind :8080$/m, `    bind 127.0.0.1:${port}`],
    [/^ {4}bind 127\.0\.0\.1:8404$/m, `    bind 127.0.0.1:${operatorPort}`],
    ['/run/haproxy/admin.sock mode', `${folder}/admin.sock mode`],
    ['maxconn 50000', 'maxconn 8000'],
    ['sc0_conn_cur gt 1000', `sc0_conn_cur gt ${perAddress}`],
    ['sc0_conn_rate gt 500', 'sc0_conn_rate gt 1000000'],
  ]);
}

/** deploy/nginx/nginx.conf for nodes on loopback. */
export function renderNginx({ nodes, perAddress = 65_000 }: BalancerOptions, { port, folder }: Places): string {
  const text = withServers(
    deployed('nginx/nginx.conf'),
    nodes,
    /^ {8}server 10\.0\.0\.11:8080(.*)$/,
    (rest, node) => `        server 127.0.0.1:${node.port}${rest}`,
  );
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `    ${name}_temp_path ${folder}/${name};\n`);
  return replaced(text, [
    [/^user www-data;\n/m, ''],
    [/^worker_processes auto;$/m, 'worker_processes 1;'],
    ['worker_rlimit_nofile 65536;', 'worker_rlimit_nofile 16384;'],
    ['worker_connections 30000', 'worker_connections 8000'],
    [/^http \{\n/m, `http {\n${temporary.join('')}`],
    ['/var/log/nginx/tmcp.log', `${folder}/access.log`],
    [/^ {8}listen 8080 backlog=4096;$/m, `        listen 127.0.0.1:${port} backlog=4096;`],
    ['limit_conn per_address 1000', `limit_conn per_address ${perAddress}`],
  ]);
}

function deployed(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url)), 'utf8');
}

type ServerLine = (rest: string, node: BalancedNode, place: number) => string;

/** Puts a line for each node where the file has those of its three examples; `first` is the first of them. */
function withServers(text: string, nodes: readonly BalancedNode[], first: RegExp, line: ServerLine): string {
  let places = 0;
  const made = text.split('\n').flatMap((old) => {
    const rest = first.exec(old)?.[1];
    if (rest === undefined) return /^ +server (n\d )?10\.0\.0\.1[23]:8080/.test(old) ? [] : [old];
    places++;
    return nodes.map((node, index) => line(rest, node, index + 1));
  });
  if (places === 0) throw new Error(`the file in deploy/ no longer has ${String(first)}`);
  return made.join('\n');
}

function replaced(text: string, changes: readonly (readonly [string | RegExp, string])[]): string {
  return changes.reduce((now, [what, by]) => {
    const next = now.replace(what, by);
    if (next === now) throw new Error(`the file in deploy/ no longer has ${String(what)}`);
    return next;
  }, text);
}

async function listens(server: ServerProcess, port: number): Promise<boolean> {
  for (let tries = 0; tries < 200 && server.running; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      }).once('error', () => resolve(false));
    });
    if (open) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}

function askSocket(path: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    connect(path, function connected(this: import('node:net').Socket) {
      this.end(`${command}\n`);
    })
      .setEncoding('utf8')
      .on('data', (text: string) => {
        answer += text;
      })
      .once('end', () => resolve(answer))
      .once('error', reject);
  });
}
