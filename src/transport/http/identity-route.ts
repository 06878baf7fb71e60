/** Hands the OAuth paths to identity and writes what it answers; its headers go out as they are, each `Set-Cookie` for itself. */
import type { Clock } from '../../actors/ports.ts';
import type { Admission } from '../../actors/runtime/admission.ts';
import type { PrefixRoute } from './gateway.ts';

/** The part of identity that answers requests. */
export interface IdentityHandler {
  handle(request: {
    readonly method: string;
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Buffer;
    readonly remoteAddress: string;
  }): Promise<{ readonly status: number; readonly headers: readonly (readonly [string, string])[]; readonly body: Buffer }>;
}

export const identityPrefixes = ['/oauth2/', '/.well-known/', '/interaction/', '/assets/'] as const;
const bodyBytes = 64 * 1024;
/** The library writes these itself. */
const own = new Set(['content-length', 'connection', 'keep-alive', 'transfer-encoding', 'date']);

/** What a busy node refuses: the way to a session. What takes rights away, and what costs nothing, is always served. */
function isEntry(path: string): boolean {
  return path.startsWith('/interaction/') || path === '/oauth2/authorize' || path === '/oauth2/token';
}

/** The route of everything OAuth. */
export function identityRoute(identity: IdentityHandler, admission?: Admission, clock?: Pick<Clock, 'monotonic'>): PrefixRoute {
  return {
    prefixes: identityPrefixes,
    bodyBytes,
    async handle(exchange, headers, body) {
      const busy = isEntry(exchange.path) ? admission?.refuse('entry', 'read', clock?.monotonic() ?? 0) : undefined;
      if (busy !== undefined) {
        exchange.fail(busy);
        return;
      }
      const url = exchange.query === '' ? exchange.path : `${exchange.path}?${exchange.query}`;
      const answer = await identity.handle({ method: exchange.method, url, headers, body, remoteAddress: exchange.ip });
      exchange.end(
        {
          status: answer.status,
          headers: answer.headers.filter(([name]) => !own.has(name.toLowerCase())),
          contentType: 'text/plain; charset=utf-8',
        },
        answer.body,
      );
    },
  };
}
