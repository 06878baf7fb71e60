/**
 * Rate limits of the OAuth endpoints (protocol section 28): client and address for the token endpoints, address for the rest.
 * A bucket's refill is limit over window; its burst comes on top of what it can hold.
 */
import type { SharedBuckets } from '../../../actors/ports.ts';
import type { IdentityRequest, IdentityResponse } from './ports.ts';

interface Limit {
  readonly limit: number;
  readonly windowMs: number;
  readonly burst: number;
}

const minute = 60_000;
const limits = {
  token: { limit: 10, windowMs: minute, burst: 3 },
  refresh: { limit: 20, windowMs: 60 * minute, burst: 5 },
  introspect: { limit: 1_000, windowMs: minute, burst: 100 },
  other: { limit: 100, windowMs: minute, burst: 20 },
  /** Passwords and codes typed from one address, whatever the account. */
  signIn: { limit: 30, windowMs: 5 * minute, burst: 10 },
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof limits;

/** Takes from buckets; `rateScale` makes all of them that many times larger. */
export function createLimits(buckets: SharedBuckets, rateScale: number) {
  const take = (name: LimitName, key: string): Promise<{ readonly ok: boolean; readonly retryAfterS: number }> => {
    const { limit, windowMs, burst } = limits[name];
    const capacity = (limit + burst) * rateScale;
    return buckets.take(`oauth:${name}:${key}`, { capacity, windowMs: Math.round((windowMs * (limit + burst)) / limit) });
  };
  return {
    take,
    /** Undefined when the request may go on, otherwise its answer. Metadata, keys and style sheets are free. */
    async check(request: IdentityRequest): Promise<IdentityResponse | undefined> {
      const path = request.url.split('?', 1)[0] ?? '';
      if (path.startsWith('/.well-known/') || path.startsWith('/assets/') || request.method === 'OPTIONS') return undefined;
      const name = nameOf(path, request);
      const key =
        path === '/oauth2/token' || path === '/oauth2/introspect' ? `${clientOf(request)}:${request.remoteAddress}` : request.remoteAddress;
      const { ok, retryAfterS } = await take(name, key);
      return ok ? undefined : tooMany(limits[name], retryAfterS);
    },
  };
}

export type Limits = ReturnType<typeof createLimits>;

function nameOf(path: string, request: IdentityRequest): LimitName {
  if (path === '/oauth2/introspect') return 'introspect';
  if (path !== '/oauth2/token') return 'other';
  return new URLSearchParams(request.body.toString('utf8')).get('grant_type') === 'refresh_token' ? 'refresh' : 'token';
}

/** The client id a request names, in its form or by HTTP Basic; only for counting. */
export function clientOf(request: Pick<IdentityRequest, 'body' | 'headers'>): string {
  const named = new URLSearchParams(request.body.toString('utf8')).get('client_id');
  if (named !== null && named !== '') return named.slice(0, 128);
  const basic = /^basic ([A-Za-z0-9+/=]+)$/i.exec(request.headers['authorization'] ?? '')?.[1];
  return basic === undefined ? '' : (Buffer.from(basic, 'base64').toString('utf8').split(':', 1)[0] ?? '').slice(0, 128);
}

/** 429 in the flat form, with the members of the other one beside it. */
function tooMany(limit: Limit, retryAfterS: number): IdentityResponse {
  const retryAfter = Math.max(1, Math.ceil(retryAfterS));
  const body = {
    error: 'rate_limit_exceeded',
    error_description: 'Too many requests; try again later',
    code: 'RATE_LIMIT_EXCEEDED',
    retry_after: retryAfter,
    limit: limit.limit,
    window: limit.windowMs / 1_000,
  };
  return {
    status: 429,
    headers: [
      ['content-type', 'application/json; charset=utf-8'],
      ['cache-control', 'no-store'],
      ['retry-after', String(retryAfter)],
      ['x-content-type-options', 'nosniff'],
    ],
    body: Buffer.from(JSON.stringify(body)),
  };
}
