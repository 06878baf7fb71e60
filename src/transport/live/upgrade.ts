/**
 * The door of the live binding: who may become a WebSocket. Checks what costs nothing first, then the Origin and the token, which may
 * take a moment: what is needed of the request is copied before, and an aborted one is not touched again.
 * Rules: docs/spec/session.md, [LIVE41] to [LIVE46], [LIVE48].
 */
import { jitter, newId } from '../../ids.ts';
import { TmcpError, asTmcpError } from '../../protocol/errors.ts';
import { toIso } from '../../protocol/schemas.ts';
import { clientAddress } from '../client-address.ts';
import { bearerToken } from '../http/headers.ts';
import { errorBody } from '../http/error-body.ts';
import { securityHeaders, statusLine } from '../http/response-head.ts';
import type { HttpRequest, HttpResponse } from '../uws.ts';
import { LiveSocket } from './live-socket.ts';
import { AcceptBudget } from './accept-budget.ts';
import type { LiveOptions } from './options.ts';
import type { SessionSocket } from './session.ts';
import { type Choice, chooseSubprotocol, subprotocols } from './subprotocol.ts';

type Context = Parameters<HttpResponse['upgrade']>[4];

/** What a socket carries through uWebSockets.js: its owner. */
export interface SocketData {
  readonly live: SessionSocket;
}

/** A refused upgrade: the status and code the client reads. */
interface Refused {
  readonly error: TmcpError;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface DoorState {
  /** Sockets now. */
  readonly count: number;
  ofAddress(ip: string): number;
  readonly draining: boolean;
}

export class Door {
  readonly #options: LiveOptions;
  readonly #state: DoorState;
  readonly #budget: AcceptBudget;

  constructor(options: LiveOptions, state: DoorState) {
    this.#options = options;
    const { acceptRate = 0, acceptBurst = acceptRate, clock } = options;
    this.#budget = new AcceptBudget(acceptRate, acceptBurst, clock.monotonic());
    this.#state = state;
  }

  /** Answers an upgrade request. */
  upgrade(res: HttpResponse, req: HttpRequest, context: Context): void {
    const key = req.getHeader('sec-websocket-key');
    const offered = req.getHeader('sec-websocket-protocol');
    const extensions = req.getHeader('sec-websocket-extensions');
    const origin = req.getHeader('origin');
    const authorization = req.getHeader('authorization');
    // Its types say text; without a query it is undefined.
    const query = req.getQuery() ?? '';
    const ip = clientAddress(res, req, this.#options.trustProxyHops);
    const choice = chooseSubprotocol(offered);
    const handshake = req.getHeader('upgrade').toLowerCase() === 'websocket' && req.getHeader('sec-websocket-version') === '13';
    const early = this.#full(ip) ?? badRequest(choice, handshake, key, query) ?? this.#busy();
    if (early !== undefined || choice === undefined) {
      this.#refuse(res, early ?? { error: new TmcpError('INVALID_REQUEST') });
      return;
    }
    const accept = (token: string | undefined): void => {
      const socket: SessionSocket = new LiveSocket(choice.format, ip, this.#options.clock.monotonic());
      socket.token = token;
      res.upgrade({ live: socket } satisfies SocketData, key, choice.name, extensions, context);
    };
    if (origin === '' && authorization === '') {
      accept(undefined);
      return;
    }
    let aborted = false;
    res.onAborted(() => {
      aborted = true;
    });
    this.#admit(origin, authorization).then(
      (token) => {
        if (aborted) return;
        // The node may have filled up or begun to drain meanwhile.
        const late = this.#full(ip);
        res.cork(() => (late === undefined ? accept(token) : this.#refuse(res, late)));
      },
      (error: unknown) => {
        if (!aborted) res.cork(() => this.#refuse(res, refusalOf(asTmcpError(error))));
      },
    );
  }

  async #admit(origin: string, authorization: string): Promise<string | undefined> {
    if (origin !== '' && !(await this.#options.allowedOrigins(origin))) throw new TmcpError('FORBIDDEN', 'This origin may not connect');
    if (authorization === '') return undefined;
    const token = bearerToken(authorization);
    if (token === undefined) throw new TmcpError('INVALID_TOKEN');
    await this.#options.verifier.verify(token);
    return token;
  }

  #full(ip: string): Refused | undefined {
    const { maxConnections, maxConnectionsPerIp } = this.#options;
    const full =
      this.#state.draining ||
      this.#state.count >= maxConnections ||
      (maxConnectionsPerIp > 0 && this.#state.ofAddress(ip) >= maxConnectionsPerIp);
    if (!full) return undefined;
    // Spread, so that those who are refused together do not come back together.
    return unavailable(1 + Math.floor(jitter() * 5));
  }

  /** Asked once an upgrade: it takes from the budget. */
  #busy(): Refused | undefined {
    const now = this.#options.clock.monotonic();
    const shed = this.#options.load?.admission.refuse('entry', 'read', now);
    const retryAfter = shed?.retryAfter ?? this.#budget.take(now, jitter());
    return retryAfter === undefined ? undefined : unavailable(retryAfter);
  }

  #refuse(res: HttpResponse, { error, headers = {} }: Refused): void {
    const requestId = newId('req');
    res.writeStatus(statusLine(error.status));
    securityHeaders(res, this.#options.secure);
    res.writeHeader('X-Request-Id', requestId).writeHeader('Content-Type', 'application/json; charset=utf-8');
    for (const [name, value] of Object.entries(headers)) res.writeHeader(name, value);
    res.end(JSON.stringify(errorBody(error, requestId, toIso(this.#options.clock.now()))));
    if (error.code === 'INTERNAL_ERROR')
      this.#options.log.error({ event: 'live.upgrade_failed', requestId, err: error.cause }, 'an upgrade failed');
  }
}

function badRequest(choice: Choice | undefined, handshake: boolean, key: string, query: string): Refused | undefined {
  if (!handshake) {
    return {
      error: new TmcpError('INVALID_REQUEST', 'This is not a WebSocket handshake of version 13'),
      headers: { 'Sec-WebSocket-Version': '13' },
    };
  }
  if (choice === undefined) {
    const known = Object.keys(subprotocols).join(', ');
    return { error: new TmcpError('INVALID_REQUEST', `None of the offered subprotocols is known; this server speaks ${known}`) };
  }
  if (Buffer.from(key, 'base64').length !== 16)
    return { error: new TmcpError('INVALID_REQUEST', 'Sec-WebSocket-Key is not 16 bytes of base64') };
  if (/(^|&)(access_)?token=/i.test(query))
    return { error: new TmcpError('INVALID_REQUEST', 'Credentials are never taken from the address') };
  return undefined;
}

function unavailable(retryAfter: number): Refused {
  return { error: new TmcpError('SERVICE_UNAVAILABLE', undefined, { retryAfter }), headers: { 'Retry-After': String(retryAfter) } };
}

function refusalOf(error: TmcpError): Refused {
  return error.code === 'INVALID_TOKEN' ? { error, headers: { 'WWW-Authenticate': 'Bearer' } } : { error };
}
