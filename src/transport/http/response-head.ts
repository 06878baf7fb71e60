/** Status lines and the headers that stand in every answer. */
import type { HttpResponse } from '../uws.ts';

const texts: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

const lines = new Map(Object.entries(texts).map(([status, text]) => [Number(status), `${status} ${text}`]));

/** `404 Not Found`. */
export function statusLine(status: number): string {
  return lines.get(status) ?? `${status} Status`;
}

/** One write instead of three: uWebSockets.js copies a value as it is, so the first header's value carries the others. */
const common = 'nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY';
const overTls = `${common}\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains`;

/** Writes the headers that protect browsers. `secure`: clients reach this server by https, and it may say so for good. */
export function securityHeaders(res: Pick<HttpResponse, 'writeHeader'>, secure: boolean): void {
  res.writeHeader('X-Content-Type-Options', secure ? overTls : common);
}
