/**
 * How long a request's body is, told once and plainly. A request whose length could be read in two ways is refused and its connection
 * closed: what one proxy takes for the body another may take for the next request. Chunked bodies are refused as well, because
 * the library reads chunk extensions as data; clients and proxies that buffer send a length.
 */
import type { HttpRequest } from '../uws.ts';

/** Bytes of the body (0: none), or what is wrong with the framing. */
export function bodyLength(req: Pick<HttpRequest, 'getHeader' | 'forEach'>): number | string {
  if (req.getHeader('transfer-encoding') !== '') return 'Transfer-Encoding is not accepted; send Content-Length';
  const length = req.getHeader('content-length');
  if (length === '') return 0;
  if (!/^\d{1,12}$/.test(length)) return 'Content-Length is not a number';
  let count = 0;
  req.forEach((name) => {
    if (name === 'content-length') count++;
  });
  return count === 1 ? Number(length) : 'Content-Length stands more than once';
}
