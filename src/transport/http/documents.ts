/** The API documents as they are served: made once, with a strong validator so that tools fetch them again only when they changed. */
import { createHash } from 'node:crypto';
import type { PlainRoute } from './gateway.ts';

/** A route that serves `document` as JSON. */
export function documentRoute(document: object): PlainRoute {
  const text = JSON.stringify(document);
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
  const head = { cacheControl: 'public, max-age=300', headers: [['ETag', etag]] as const };
  return {
    handle(exchange) {
      const unchanged = exchange.ifNoneMatch.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
      if (unchanged) exchange.end({ ...head, status: 304 }, '');
      else exchange.end({ ...head, status: 200 }, text);
    },
  };
}
