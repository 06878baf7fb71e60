/**
 * The HTTP binding: the second door to the same operations. Routes come from the catalogue; a request becomes an input and goes to the
 * gate, as a live message does. Also on the same port: health, the API documents, OAuth, and the doors of `tmcp dev`.
 * Protocol sections 3, 28.3, 29.
 */
import type { Principal, TokenVerifier } from '../../actors/ports.ts';
import type { Gate } from '../../actors/runtime/gate.ts';
import type { CompiledOperation } from '../../actors/runtime/validators.ts';
import { operations } from '../../protocol/catalogue.ts';
import { decodeFrame, UndecodableFrame } from '../../protocol/codec.ts';
import { asTmcpError, invalidRequest, TmcpError } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import type { HttpRequest, HttpResponse, TemplatedApp } from '../uws.ts';
import type { GatewayContext } from './context.ts';
import { Exchange } from './exchange.ts';
import { bodyLength } from './framing.ts';
import { bearerToken, deviceIdOf, isJson } from './headers.ts';
import { type InputPlan, planInput, readInput } from './input.ts';
import { Router } from './router.ts';

/** A body that is not whole by then is given up. */
const bodyDeadlineMs = 10_000;
/** What is left of a refused body is read and thrown away, so that the client sees the answer; past this the connection is closed. */
const discardedBytes = 8 * 1024 * 1024;

/** A route that is no operation. `body` is undefined when the request had none. */
export interface PlainRoute {
  readonly bodyBytes?: number;
  handle(exchange: Exchange, body: Buffer | undefined): void | Promise<void>;
}

/** Answers whole path prefixes with what it likes: OAuth. Headers are collected for it. */
export interface PrefixRoute {
  readonly prefixes: readonly string[];
  readonly bodyBytes: number;
  handle(exchange: Exchange, headers: Readonly<Record<string, string>>, body: Buffer): Promise<void>;
}

interface OperationRoute {
  readonly operation: CompiledOperation;
  readonly pattern: string;
  readonly plan: InputPlan;
  readonly status: number;
  readonly bodyBytes: number;
}

type Target = OperationRoute | (PlainRoute & { readonly pattern: string; readonly bodyBytes: number });

export interface GatewayOptions {
  readonly gate: Gate;
  readonly verifier: TokenVerifier;
  readonly routes: readonly { readonly method: string; readonly path: string; readonly route: PlainRoute }[];
  readonly prefix?: PrefixRoute | undefined;
}

/** What was read of a request's headers while they could be read. */
interface Head {
  readonly length: number;
  readonly contentType: string;
  readonly authorization: string;
  readonly deviceId: string;
  readonly key: string;
}

export class Gateway {
  readonly #context: GatewayContext;
  readonly #options: GatewayOptions;
  readonly #router = new Router<Target>();

  constructor(context: GatewayContext, options: GatewayOptions) {
    this.#context = context;
    this.#options = options;
    for (const { name } of operations) {
      const operation = options.gate.operation(name);
      if (operation?.http === undefined) continue;
      const { method, path, status = 200, bodyBytes = limits.httpBodyBytes } = operation.http;
      this.#router.add(method, path, { operation, pattern: path, plan: planInput(operation, path), status, bodyBytes });
    }
    for (const { method, path, route } of options.routes) {
      const target = { pattern: path, bodyBytes: route.bodyBytes ?? 0, handle: route.handle.bind(route) };
      this.#router.add(method, path, target);
      if (method === 'GET') this.#router.add('HEAD', path, target);
    }
  }

  /** Takes every request of the app that no other route takes. */
  mount(app: TemplatedApp): void {
    app.any('/*', (res, req) => this.#receive(res, req));
  }

  #receive(res: HttpResponse, req: HttpRequest): void {
    const exchange = new Exchange(this.#context, res, req);
    const length = bodyLength(req);
    if (typeof length === 'string') {
      // Not now: the library goes on parsing what stands behind a request that is already answered, and cuts the connection when it
      // finds a request behind one that is not.
      setImmediate(() => exchange.fail(new TmcpError('INVALID_REQUEST', length), { close: true }));
      return;
    }
    const { prefix } = this.#options;
    if (prefix?.prefixes.some((start) => exchange.path.startsWith(start))) {
      this.#guard(exchange, this.#prefixed(exchange, prefix, headersOf(req), length));
      return;
    }
    const head: Head = {
      length,
      contentType: length === 0 ? '' : req.getHeader('content-type'),
      authorization: req.getHeader('authorization'),
      deviceId: req.getHeader('x-device-id'),
      key: req.getHeader('idempotency-key'),
    };
    if (exchange.method === 'OPTIONS') {
      this.#guard(exchange, this.#preflight(exchange, req.getHeader('access-control-request-method')));
      return;
    }
    const found = this.#router.find(exchange.method, exchange.path);
    // Reading the body must be asked for before anything waits.
    const bodyBytes = found !== undefined && 'target' in found ? found.target.bodyBytes : 0;
    const body = length === 0 || length > bodyBytes ? undefined : exchange.readBody(bodyDeadlineMs);
    this.#guard(exchange, this.#run(exchange, found, head, body));
  }

  async #run(
    exchange: Exchange,
    found: ReturnType<Router<Target>['find']>,
    head: Head,
    reading: ReturnType<Exchange['readBody']> | undefined,
  ): Promise<void> {
    const waiting = exchange.checkOrigin();
    if (waiting !== undefined) await waiting;
    const close = head.length > discardedBytes;
    if (found === undefined) {
      exchange.fail(new TmcpError('NOT_FOUND'), { close });
      return;
    }
    if (!('target' in found)) {
      exchange.fail(new TmcpError('METHOD_NOT_ALLOWED'), { close, headers: [['Allow', [...found.allowed, 'OPTIONS'].join(', ')]] });
      return;
    }
    const { target, parameters } = found;
    exchange.route = target.pattern;
    if (!('operation' in target)) {
      const body = await this.#body(exchange, head, reading, target.bodyBytes);
      if (body instanceof TmcpError) exchange.fail(body, { close });
      else await target.handle(exchange, body);
      return;
    }
    // Before the token is verified and the body is read: a refusal must cost little.
    const principal = this.#options.gate.admit(target.operation) ?? (await this.#principal(head));
    if (principal instanceof TmcpError) {
      exchange.fail(principal, { close });
      return;
    }
    exchange.userId = principal.userId;
    // A body on GET means nothing; the library has thrown it away.
    const bytes = target.operation.http?.method === 'GET' ? undefined : await this.#body(exchange, head, reading, target.bodyBytes);
    if (bytes instanceof TmcpError) {
      exchange.fail(bytes, { close });
      return;
    }
    const body = bytes === undefined ? undefined : decoded(bytes, head.contentType);
    const input = body instanceof TmcpError ? body : readInput(target.plan, { parameters, query: exchange.query, key: head.key }, body);
    if (input instanceof TmcpError) exchange.fail(input);
    else this.#call(exchange, target, principal, input);
  }

  #call(exchange: Exchange, { operation, status }: OperationRoute, principal: Principal, input: unknown): void {
    const call = {
      requestId: exchange.requestId,
      trace: exchange.traceParent,
      admitted: true,
      abandoned: () => exchange.aborted,
      onLimit: (state: NonNullable<Exchange['limit']>) => {
        exchange.limit = state;
      },
    };
    this.#options.gate.call(operation, principal, input, call, (error, result) => {
      // This may run in an actor's turn, which must not see a throw of ours.
      try {
        if (error === null) exchange.json(status, result ?? {});
        else exchange.fail(error);
      } catch (fault) {
        this.#context.log.error(
          { event: 'http.answer_failed', requestId: exchange.requestId, err: fault },
          'an answer could not be written',
        );
      }
    });
  }

  async #principal(head: Head): Promise<Principal | TmcpError> {
    const token = bearerToken(head.authorization);
    if (token === undefined) return new TmcpError('INVALID_TOKEN');
    try {
      const principal = await this.#options.verifier.verify(token);
      const deviceId = deviceIdOf(head.deviceId);
      if (deviceId === undefined) return principal;
      return deviceId === null ? invalidRequest([{ path: '', message: 'X-Device-Id is not a device id' }]) : { ...principal, deviceId };
    } catch (error) {
      return asTmcpError(error);
    }
  }

  async #body(
    exchange: Exchange,
    head: Head,
    reading: ReturnType<Exchange['readBody']> | undefined,
    limit: number,
  ): Promise<Buffer | undefined | TmcpError> {
    if (head.length === 0) return undefined;
    const body = reading === undefined ? 'too-large' : await reading;
    if (body === 'too-large') return new TmcpError('PAYLOAD_TOO_LARGE', undefined, { details: { limit_bytes: limit } });
    if (body === 'too-slow') return new TmcpError('INVALID_REQUEST', `The body did not arrive within ${bodyDeadlineMs / 1_000} s`);
    // An aborted exchange writes nothing.
    if (body === 'aborted') return exchange.aborted ? new TmcpError('INVALID_REQUEST') : undefined;
    return body;
  }

  async #preflight(exchange: Exchange, wanted: string): Promise<void> {
    await exchange.checkOrigin();
    exchange.route = 'preflight';
    const found = this.#router.find('OPTIONS', exchange.path);
    if (found === undefined || 'target' in found) {
      exchange.fail(new TmcpError('NOT_FOUND'));
      return;
    }
    const methods = [...found.allowed, 'OPTIONS'].join(', ');
    if (exchange.origin !== '' && wanted !== '') {
      if (!exchange.originAllowed) {
        exchange.fail(new TmcpError('FORBIDDEN', 'This origin may not use the API'));
        return;
      }
      const headers: [string, string][] = [
        ['Access-Control-Allow-Methods', methods],
        ['Access-Control-Allow-Headers', 'Authorization, Content-Type, Idempotency-Key, X-Device-Id, X-Request-Id, Traceparent'],
        ['Access-Control-Max-Age', '600'],
      ];
      exchange.end({ status: 204, headers }, '');
      return;
    }
    exchange.end({ status: 204, headers: [['Allow', methods]] }, '');
  }

  async #prefixed(exchange: Exchange, route: PrefixRoute, headers: Readonly<Record<string, string>>, length: number): Promise<void> {
    exchange.route = route.prefixes.find((start) => exchange.path.startsWith(start)) ?? 'none';
    if (length > route.bodyBytes) {
      exchange.fail(new TmcpError('PAYLOAD_TOO_LARGE', undefined, { details: { limit_bytes: route.bodyBytes } }), {
        close: length > discardedBytes,
      });
      return;
    }
    const body = length === 0 ? Buffer.alloc(0) : await exchange.readBody(bodyDeadlineMs);
    if (typeof body === 'string') exchange.fail(new TmcpError('INVALID_REQUEST', 'The body did not arrive'), { close: true });
    else await route.handle(exchange, headers, body);
  }

  #guard(exchange: Exchange, running: Promise<void>): void {
    running.catch((error: unknown) => exchange.fail(asTmcpError(error)));
  }
}

function decoded(bytes: Buffer, contentType: string): unknown {
  if (!isJson(contentType)) return new TmcpError('UNSUPPORTED_MEDIA_TYPE', 'The body must be application/json');
  try {
    return decodeFrame('json', bytes);
  } catch (error) {
    if (!(error instanceof UndecodableFrame)) throw error;
    return new TmcpError('INVALID_REQUEST', 'The body is not acceptable JSON', { details: { reason: error.reason } });
  }
}

function headersOf(req: HttpRequest): Record<string, string> {
  const headers: Record<string, string> = {};
  req.forEach((name, value) => {
    const known = Object.hasOwn(headers, name) ? headers[name] : undefined;
    headers[name] = known === undefined ? value : `${known}${name === 'cookie' ? '; ' : ', '}${value}`;
  });
  return headers;
}
