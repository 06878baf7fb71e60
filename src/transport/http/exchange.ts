/**
 * One HTTP request and its one answer. The only owner of the library's response: after the client went away nothing is written, and
 * a second answer is a mistake of ours that is told and not sent. Headers of the request are read in the constructor, the only time
 * the library lets them be read.
 */
import { createHash } from 'node:crypto';
import type { LimitState } from '../../actors/runtime/limiter.ts';
import { newId } from '../../ids.ts';
import { encode } from '../../protocol/codec.ts';
import type { TmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import { clientAddress, isLoopback, saysLoopback, socketAddress } from '../client-address.ts';
import type { HttpRequest, HttpResponse } from '../uws.ts';
import type { GatewayContext } from './context.ts';
import { errorBody } from './error-body.ts';
import { givenRequestId, parseTraceParent } from './headers.ts';
import { securityHeaders, statusLine } from './response-head.ts';

export type HeaderPairs = readonly (readonly [string, string])[];

/** What an answer is besides its body. */
export interface AnswerHead {
  readonly status: number;
  readonly contentType?: string;
  readonly headers?: HeaderPairs;
  /** Default `no-store`. */
  readonly cacheControl?: string;
  /** The connection cannot be used again: what stands behind the request is not known. */
  readonly close?: boolean;
}

const json = 'application/json; charset=utf-8';
const exposed =
  'X-Request-Id, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-RateLimit-Reset-After, X-RateLimit-Burst, X-RateLimit-Burst-Remaining';
const requestIds = `${newId('req')}.`;
let requestCount = 0;
const quietRoutes: ReadonlySet<string> = new Set(['/healthz', '/health', '/readyz', '/ready']);

export class Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly requestId: string;
  readonly origin: string;
  /** The client's address, as far as proxies are trusted to tell it. */
  readonly ip: string;
  /** The address of whoever opened the connection. */
  readonly peer: string;
  readonly ifNoneMatch: string;
  /** Whether it comes from this machine and is meant for it; looked at only for the doors of dev. */
  readonly local: boolean;
  /** The pattern of the route, for logs and metrics; the path itself may hold what people wrote. */
  route = 'none';
  /** The caller, for the log. */
  userId: string | undefined;
  /** The state of the bucket that the request was taken from. */
  limit: LimitState | undefined;
  /** Whether the browser may show the answer to `origin`. */
  originAllowed = false;
  aborted = false;
  readonly #context: GatewayContext;
  readonly #res: HttpResponse;
  readonly #startedAt: number;
  readonly #traceParent: string;
  #answered = false;
  #onAborted: (() => void) | undefined;

  constructor(context: GatewayContext, res: HttpResponse, req: HttpRequest) {
    this.#context = context;
    this.#res = res;
    this.#startedAt = context.clock.monotonic();
    this.method = req.getCaseSensitiveMethod();
    this.path = req.getUrl();
    // Its types say text; without a query it is undefined.
    this.query = req.getQuery() ?? '';
    this.origin = req.getHeader('origin');
    this.#traceParent = req.getHeader('traceparent');
    this.requestId = givenRequestId(req.getHeader('x-request-id')) ?? requestIds + ++requestCount;
    this.ip = clientAddress(res, req, context.trustProxyHops);
    this.peer = context.trustProxyHops === 0 ? this.ip : socketAddress(res);
    this.ifNoneMatch = req.getHeader('if-none-match');
    this.local = this.path.startsWith('/dev/') && isLoopback(this.peer) && isLoopback(this.ip) && saysLoopback(req, context.trustProxyHops);
    res.onAborted(() => {
      this.aborted = true;
      this.#onAborted?.();
    });
  }

  /** Wall time, epoch ms. */
  now(): number {
    return this.#context.clock.now();
  }

  /** Settles whether the origin may read the answer. Synchronous where the check is. */
  checkOrigin(): Promise<void> | undefined {
    if (this.origin === '') return undefined;
    const allowed = this.#context.allowedOrigins(this.origin);
    if (typeof allowed === 'boolean') {
      this.originAllowed = allowed;
      return undefined;
    }
    return allowed.then((value) => {
      this.originAllowed = value;
    });
  }

  /**
   * The whole body, copied, once it is there; or why it will not be. Must be called before anything is awaited, and only for
   * a request whose told length was found acceptable: the library holds the client to it.
   */
  readBody(deadlineMs: number): Promise<Buffer | 'too-slow' | 'aborted'> {
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      const { clock } = this.#context;
      this.#onAborted = () => resolve('aborted');
      this.#res.onData((chunk, isLast) => {
        // The library's memory is gone when this returns.
        if (chunk.byteLength > 0) chunks.push(Buffer.from(chunk.slice(0)));
        if (!isLast) {
          if (clock.monotonic() - this.#startedAt > deadlineMs) resolve('too-slow');
          return;
        }
        resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
      });
    });
  }

  /** The W3C trace context of the request, when it is a valid one. */
  get traceParent(): string | undefined {
    return this.#traceParent !== '' && parseTraceParent(this.#traceParent) !== undefined ? this.#traceParent : undefined;
  }

  /** Answers with a JSON value. */
  json(status: number, value: unknown, head: Omit<AnswerHead, 'status'> = {}): void {
    this.end({ ...head, status }, encode('json', value) as string);
  }

  /** Answers with the error envelope. A fault of ours is told to the log under the request's id. */
  fail(error: TmcpError, head: Omit<AnswerHead, 'status'> = {}): void {
    const headers: (readonly [string, string])[] = [...(head.headers ?? [])];
    if (error.code === 'INVALID_TOKEN') headers.push(['WWW-Authenticate', 'Bearer']);
    if (error.retryAfter !== undefined) headers.push(['Retry-After', String(Math.ceil(error.retryAfter))]);
    if (error.code === 'INTERNAL_ERROR') {
      this.#context.log.error(
        { event: 'http.fault', requestId: this.requestId, route: this.route, err: error.cause ?? error },
        'a request failed',
      );
    }
    if (error.code === 'RATE_LIMIT_EXCEEDED') this.#context.metrics.rateLimited.with(String(error.details?.['class'] ?? 'other')).inc();
    this.json(error.status, errorBody(error, this.requestId, toIso(this.#context.clock.now())), { ...head, headers });
  }

  /** Answers. The body of an answer to HEAD is left out, its length is told. */
  end(head: AnswerHead, body: string | Uint8Array): void {
    if (this.aborted) {
      this.#finish(499);
      return;
    }
    if (this.#answered) {
      this.#context.log.error(
        { event: 'http.answered_twice', requestId: this.requestId, route: this.route },
        'a second answer to one request',
      );
      return;
    }
    this.#answered = true;
    const res = this.#res;
    res.cork(() => {
      res.writeStatus(statusLine(head.status));
      this.#writeHeaders(head);
      if (this.method === 'HEAD')
        res.endWithoutBody(typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength, head.close === true);
      else if (head.status === 204 || head.status === 304) res.endWithoutBody(undefined, head.close === true);
      else res.end(body, head.close === true);
    });
    this.#finish(head.status);
  }

  #writeHeaders(head: AnswerHead): void {
    const res = this.#res;
    const given = new Set<string>();
    if (head.headers !== undefined) for (const [name] of head.headers) given.add(name.toLowerCase());
    if (!given.has('x-frame-options')) securityHeaders(res, this.#context.secure);
    res.writeHeader('X-Request-Id', this.requestId);
    if (this.originAllowed && !given.has('access-control-allow-origin')) {
      res.writeHeader('Access-Control-Allow-Origin', `${this.origin}\r\nVary: Origin\r\nAccess-Control-Expose-Headers: ${exposed}`);
    }
    if (this.limit !== undefined) res.writeHeader('X-RateLimit-Limit', rateLimitLines(this.limit, this.#context.clock.now()));
    if (!given.has('cache-control')) res.writeHeader('Cache-Control', head.cacheControl ?? 'no-store');
    if (!given.has('content-type') && head.status !== 204 && head.status !== 304) res.writeHeader('Content-Type', head.contentType ?? json);
    if (head.headers !== undefined) for (const [name, value] of head.headers) res.writeHeader(name, value);
  }

  #finish(status: number): void {
    const { clock, log, metrics } = this.#context;
    const durationMs = clock.monotonic() - this.#startedAt;
    metrics.httpRequests.with(this.method, this.route, String(status)).inc();
    metrics.httpRequestSeconds.with(this.method, this.route).observe(durationMs / 1_000);
    // Probes come every few seconds and say nothing while they are answered 200.
    const level = status === 200 && quietRoutes.has(this.route) ? 'debug' : 'info';
    if (!log.enabled(level)) return;
    const trace = this.#traceParent === '' ? undefined : parseTraceParent(this.#traceParent);
    log[level](
      {
        event: 'http.request',
        method: this.method,
        route: this.route,
        status,
        durationMs: Math.round(durationMs * 1_000) / 1_000,
        requestId: this.requestId,
        ...(trace === undefined ? {} : { traceId: trace.traceId, spanId: trace.parentId }),
        ...(this.userId === undefined ? {} : { userId: hashed(this.userId) }),
      },
      'request',
    );
  }
}

/** The state of a bucket as headers (protocol section 28.3): one value that carries the lines behind it. */
function rateLimitLines(limit: LimitState, now: number): string {
  return (
    `${limit.limit}\r\nX-RateLimit-Remaining: ${limit.remaining}\r\nX-RateLimit-Reset: ${Math.ceil(now / 1_000) + limit.resetAfterS}` +
    `\r\nX-RateLimit-Reset-After: ${limit.resetAfterS}\r\nX-RateLimit-Burst: ${limit.burst}\r\nX-RateLimit-Burst-Remaining: ${limit.burstRemaining}`
  );
}

/** Enough of a hash to follow one caller through the log without naming them. */
function hashed(userId: string): string {
  return createHash('sha256').update(userId).digest('base64url').slice(0, 12);
}
