/**
 * One HTTP exchange with the wallet over undici: bounded in time and size, never redirected, never repeated. Says whether
 * bytes may have left, which decides between `unavailable` and `unknown`. Judges no answer; `classify.ts` does.
 */
import { Pool, type Dispatcher } from 'undici';
import type { Clock } from '../../actors/ports.ts';
import type { Exchange } from './classify.ts';
import { maxAnswerBytes } from './contract.ts';

export interface ExchangeRequest {
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Below the wallet's base URL, with its query. */
  readonly path: string;
  readonly body?: unknown;
  readonly idempotencyKey?: string;
}

export interface ExchangeOptions {
  readonly url: string;
  readonly token: string;
  readonly timeoutMs: number;
  readonly connections: number;
  readonly clock: Clock;
}

/** A keep-alive pool to one wallet. Errors: `TypeError` for a URL that is not plain http or https. */
export class WalletConnections {
  readonly #pool: Pool;
  readonly #basePath: string;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #running = new Set<Promise<Exchange>>();

  constructor(options: ExchangeOptions) {
    const url = new URL(options.url);
    if (!/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
      throw new TypeError('the wallet URL must be http or https, without credentials, query or fragment');
    }
    this.#basePath = url.pathname.replace(/\/+$/, '');
    this.#timeoutMs = options.timeoutMs;
    this.#clock = options.clock;
    this.#headers = { authorization: `Bearer ${options.token}`, accept: 'application/json', 'accept-encoding': 'identity' };
    // Our own timer bounds the whole exchange; undici's two would only bound parts of it, a second coarse.
    this.#pool = new Pool(url.origin, { connections: options.connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  }

  /** Sends one request. Resolves always, within the time limit. */
  send(request: ExchangeRequest): Promise<Exchange> {
    const exchange = this.#dispatch(request);
    this.#running.add(exchange);
    return exchange.finally(() => this.#running.delete(exchange));
  }

  /** Waits for what runs (bounded by the time limit) and drops the connections. */
  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#pool.destroy();
  }

  #dispatch(request: ExchangeRequest): Promise<Exchange> {
    return new Promise((resolve) => {
      const collector = new Collector((exchange) => {
        cancelTimer();
        resolve(exchange);
      });
      const cancelTimer = this.#clock.after(this.#timeoutMs, () => collector.fail('timeout', `no answer in ${this.#timeoutMs} ms`));
      const headers: Record<string, string> = { ...this.#headers };
      if (request.body !== undefined) headers['content-type'] = 'application/json';
      if (request.idempotencyKey !== undefined) headers['idempotency-key'] = request.idempotencyKey;
      this.#pool.dispatch(
        {
          method: request.method,
          path: this.#basePath + request.path,
          headers,
          body: request.body === undefined ? null : JSON.stringify(request.body),
          // undici repeats an idempotent request whose connection closed under it; only our caller may repeat anything.
          idempotent: false,
        },
        collector,
      );
    });
  }
}

/** Gathers one answer. The first end counts: later calls by undici change nothing. */
class Collector implements Dispatcher.DispatchHandler {
  readonly #end: (exchange: Exchange) => void;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #ended = false;
  #bytes = 0;
  #status = 0;
  #contentType = '';
  #retryAfter = '';

  constructor(end: (exchange: Exchange) => void) {
    this.#end = end;
  }

  /** Ends the exchange without an answer. Before `onRequestStart` nothing was written to a socket, and nothing will be. */
  fail(cause: 'timeout' | 'connection' | 'oversize', detail: string): void {
    if (this.#ended) return;
    this.#settle({ kind: 'failure', cause, sent: this.#controller !== undefined, detail });
    this.#controller?.abort(new Error(detail));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#ended) controller.abort(new Error('given up before it was sent'));
    else this.#controller = controller;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    this.#status = status;
    // A coding we did not ask for cannot be read, so it is treated as an unreadable content type.
    this.#contentType = headers['content-encoding'] === undefined ? first(headers['content-type']) : '';
    this.#retryAfter = first(headers['retry-after']);
    if (Number(first(headers['content-length'])) > maxAnswerBytes) this.fail('oversize', `more than ${maxAnswerBytes} bytes announced`);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.byteLength;
    if (this.#bytes > maxAnswerBytes) this.fail('oversize', `more than ${maxAnswerBytes} bytes`);
    else if (!this.#ended) this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    const body = this.#chunks.length === 1 && this.#chunks[0] !== undefined ? this.#chunks[0] : Buffer.concat(this.#chunks);
    this.#settle({ kind: 'response', status: this.#status, contentType: this.#contentType, retryAfter: this.#retryAfter, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail('connection', 'code' in error ? String(error.code) : error.message);
  }

  #settle(exchange: Exchange): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#end(exchange);
  }
}

function first(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header[0] : header) ?? '';
}
