/**
 * Hands a request of the gateway to the OAuth library without an HTTP server. Scheme and host are the issuer's whatever the client
 * says, forwarding headers are dropped, and only the paths this server has get through.
 */
import type { RequestListener } from 'node:http';
import inject from 'light-my-request';
import type { IdentityRequest, IdentityResponse } from './ports.ts';

/** Paths and their methods. The library would match other spellings of them too; limits and checks here go by the exact ones. */
const routes: readonly [RegExp, readonly string[]][] = [
  [/^\/oauth2\/authorize(\/[\w-]+)?$/, ['GET', 'HEAD']],
  [/^\/oauth2\/(token|introspect|revoke)$/, ['POST', 'OPTIONS']],
  [/^\/\.well-known\/(openid-configuration|oauth-authorization-server|jwks\.json)$/, ['GET', 'HEAD', 'OPTIONS']],
  [/^\/interaction\/[\w-]+$/, ['GET', 'HEAD']],
  [/^\/interaction\/[\w-]+\/(sign-in|code|back|consent|switch|cancel)$/, ['GET', 'HEAD', 'POST']],
  [/^\/assets\/[\w.-]+$/, ['GET', 'HEAD']],
];

/** Never read from a client: they could only say who or where it claims to be. */
const dropped = /^(x-forwarded-.*|forwarded|x-real-ip|host|connection|content-length|transfer-encoding|expect)$/;

/** Where the request's whole body hangs on the request object, for what reads it outside the library. */
export const bodyOf = Symbol('body');

export interface Bridge {
  /** Never throws: a fault is told to `onFault` and answered `server_error`. */
  handle(request: IdentityRequest): Promise<IdentityResponse>;
}

export interface BridgeParts {
  readonly listener: RequestListener;
  /** The issuer. */
  readonly origin: string;
  /** Asked before anything else is done with a request; an answer ends it. */
  admit(request: IdentityRequest): Promise<IdentityResponse | undefined>;
  onFault(error: unknown): void;
}

/** Makes the bridge. */
export function createBridge({ listener, origin, admit, onFault }: BridgeParts): Bridge {
  const { host, protocol } = new URL(origin);
  const secure = protocol === 'https:';
  return {
    async handle(request) {
      const dispatch: RequestListener = (req, res) => {
        // The library asks the socket whether the request came over TLS; behind the gateway only the issuer knows.
        Object.assign(req.socket, { encrypted: secure });
        Object.assign(req, { [bodyOf]: request.body });
        listener(req, res);
      };
      try {
        const path = request.url.split('?', 1)[0] ?? '';
        const route = routes.find(([pattern]) => pattern.test(path));
        if (route === undefined) return plain(404, 'not_found', 'there is nothing here');
        const method = request.method.toUpperCase();
        if (!route[1].includes(method))
          return plain(405, 'invalid_request', 'the path exists, the method does not', [['allow', route[1].join(', ')]]);
        const refusal = await admit(request);
        if (refusal !== undefined) return refusal;
        if (holdsNul(request)) return plain(400, 'invalid_request', 'the request holds the character U+0000');
        const headers: Record<string, string> = { host };
        for (const [name, value] of Object.entries(request.headers))
          if (!dropped.test(name.toLowerCase())) headers[name.toLowerCase()] = value;
        headers['user-agent'] ??= '';
        const response = await inject(dispatch, {
          method: method as 'GET',
          url: request.url,
          headers,
          remoteAddress: request.remoteAddress,
          ...(method === 'POST' ? { payload: request.body } : {}),
        });
        return { status: response.statusCode, headers: headerPairs(response.headers), body: response.rawPayload };
      } catch (error) {
        onFault(error);
        return plain(500, 'server_error', 'something went wrong on our side');
      }
    },
  };
}

/** U+0000, bare or percent-encoded: the database takes it in no text, so it would come back as a fault of ours. */
function holdsNul({ url, body }: IdentityRequest): boolean {
  return url.includes('%00') || body.includes('%00') || body.includes(0);
}

function headerPairs(headers: Readonly<Record<string, unknown>>): [string, string][] {
  const pairs: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name === 'connection' || name === 'keep-alive' || name === 'transfer-encoding' || name === 'date') continue;
    for (const one of Array.isArray(value) ? value : [value]) pairs.push([name, String(one)]);
  }
  return pairs;
}

function plain(status: number, error: string, description: string, extra: [string, string][] = []): IdentityResponse {
  const body = Buffer.from(JSON.stringify({ error, error_description: description }));
  const headers: [string, string][] = [
    ['content-type', 'application/json; charset=utf-8'],
    ['cache-control', 'no-store'],
    ['x-content-type-options', 'nosniff'],
    ...extra,
  ];
  return { status, headers, body };
}
