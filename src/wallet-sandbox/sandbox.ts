/**
 * The wallet sandbox: TweenPay's contract (docs/tweenpay.md) over node:http with a ledger of its own, a stand-in for the
 * outside wallet in development and tests. A separate service: it shares no memory and no database with the server.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Clock } from '../actors/ports.ts';
import { SystemClock } from '../clock.ts';
import { limits } from '../protocol/limits.ts';
import { maxRequestBytes, type WalletErrorCode } from '../transport/tweenpay/contract.ts';
import { handleAdmin } from './admin.ts';
import { refuse } from './bank.ts';
import { Engine, type Reply } from './engine.ts';
import { Faults } from './faults.ts';
import { routeOf } from './routes.ts';

export interface WalletSandboxOptions {
  /** 0 picks a free one. */
  readonly port: number;
  readonly host: string;
  /** Where the ledger is kept; undefined keeps it in memory only. */
  readonly dataDir?: string | undefined;
  /** The service token callers must bear. */
  readonly token: string;
  /** Asked for at the admin doors, which are open to loopback only in any case. */
  readonly adminToken?: string | undefined;
  readonly clock?: Clock | undefined;
  /** Off: what was answered survives a SIGKILL. On: also a power cut, at the price of a disk flush a group. */
  readonly fsync?: boolean | undefined;
  /** How long first answers are kept. Default 24 h. */
  readonly idempotencyKeepMs?: number | undefined;
  /** Told of faults of the sandbox itself (a full disk); the caller gets a 500. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

export interface WalletSandbox {
  readonly url: string;
  /** `url` and `/admin`. */
  readonly adminUrl: string;
  close(): Promise<void>;
}

/**
 * Starts the sandbox; resolves when it listens, with the stored ledger replayed. Errors: what `listen` gives, and `Error`
 * for a damaged journal.
 */
export async function startWalletSandbox(options: WalletSandboxOptions): Promise<WalletSandbox> {
  const faults = new Faults();
  const engine = new Engine({
    clock: options.clock ?? new SystemClock(),
    faults,
    idempotencyKeepMs: options.idempotencyKeepMs ?? limits.idempotencyKeepMs,
    dataDir: options.dataDir,
    fsync: options.fsync,
  });
  const doors: Doors = {
    engine,
    faults,
    token: digest(options.token),
    adminToken: options.adminToken === undefined ? undefined : digest(options.adminToken),
  };
  // Longer than any client keeps an idle socket: who closes first must be the client, or its next call is lost on the way.
  const server = createServer({ keepAliveTimeout: 75_000, noDelay: true }, (request, response) => {
    serve(doors, request, response).catch((error: unknown) => {
      options.onError?.(error);
      send(response, errorReply('internal_error'));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  const url = `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`;
  return {
    url,
    adminUrl: `${url}/admin`,
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      // Hung calls are open by design.
      server.closeAllConnections();
      await closed;
      await engine.close();
    },
  };
}

interface Doors {
  readonly engine: Engine;
  readonly faults: Faults;
  readonly token: Buffer;
  readonly adminToken: Buffer | undefined;
}

async function serve(doors: Doors, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? '/';
  const cut = url.indexOf('?');
  const path = cut === -1 ? url : url.slice(0, cut);
  const reply = await replyOf(doors, request, path, cut === -1 ? '' : url.slice(cut + 1));
  if (reply.kind === 'answer') send(response, reply);
  else if (reply.kind === 'drop') request.socket.destroy();
}

async function replyOf(doors: Doors, request: IncomingMessage, path: string, query: string): Promise<Reply> {
  const method = request.method ?? 'GET';
  if (path === '/healthz' && method === 'GET') return { kind: 'answer', status: 200, body: '{"status":"ok"}', replayed: false };
  // The prefix may stand twice: callers join `adminUrl` with `/faults` or with `/admin/faults`.
  const admin = /^(?:\/admin){1,2}(?=\/)/.exec(path)?.[0];
  if (admin !== undefined) {
    if (!isLoopback(request.socket.remoteAddress)) return errorReply('forbidden');
    if (doors.adminToken !== undefined && !bears(request, doors.adminToken)) return errorReply('unauthorized');
    const body = await bodyOf(request);
    return 'problem' in body
      ? errorReply(body.problem)
      : handleAdmin(doors.engine, doors.faults, { method, path: path.slice(admin.length), query, body: body.json });
  }
  if (!bears(request, doors.token)) return errorReply('unauthorized');
  const route = routeOf(method, path, query);
  if (route === undefined) return errorReply('not_found');
  const body = await bodyOf(request);
  if ('problem' in body) return errorReply(body.problem);
  const key = request.headers['idempotency-key'];
  return doors.engine.handle(route, `${method} ${path}`, body.json, typeof key === 'string' ? key : undefined);
}

/** The request's JSON; undefined when there is none. */
function bodyOf(request: IncomingMessage): Promise<{ readonly json: unknown } | { readonly problem: WalletErrorCode }> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > maxRequestBytes) resolve({ problem: 'payload_too_large' });
      else chunks.push(chunk);
    });
    request.on('end', () => {
      if (bytes === 0) return resolve({ json: undefined });
      try {
        resolve({ json: JSON.parse(Buffer.concat(chunks).toString('utf8')) });
      } catch {
        // Not JSON: the caller is told so.
        resolve({ problem: 'invalid_request' });
      }
    });
    // The caller went away in the middle; what it is answered reaches nobody.
    request.on('error', () => resolve({ problem: 'invalid_request' }));
  });
}

function send(response: ServerResponse, reply: Extract<Reply, { kind: 'answer' }>): void {
  if (response.headersSent || response.destroyed) return;
  const headers: Record<string, string | number> = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(reply.body),
    'cache-control': 'no-store',
  };
  if (reply.replayed) headers['idempotent-replayed'] = 'true';
  if (reply.status === 413) headers['connection'] = 'close';
  response.writeHead(reply.status, headers);
  response.end(reply.body);
}

function errorReply(code: WalletErrorCode): Extract<Reply, { kind: 'answer' }> {
  const { status, body } = refuse(code);
  return { kind: 'answer', status, body: JSON.stringify(body), replayed: false };
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function bears(request: IncomingMessage, expected: Buffer): boolean {
  const header = request.headers.authorization ?? '';
  return header.startsWith('Bearer ') && timingSafeEqual(digest(header.slice(7)), expected);
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::ffff:)?127\.|^::1$/.test(address);
}
