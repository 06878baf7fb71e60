/** Requests whose end can be read in two ways, for the server and for balancers: what one of them takes for a body another may take for a request. */

/** What is odd, the headers that are, and what follows them. */
export const ambiguous: readonly (readonly [what: string, headers: string, body: string])[] = [
  ['Content-Length and Transfer-Encoding', 'Content-Length: 4\r\nTransfer-Encoding: chunked', '0\r\n\r\n'],
  ['Transfer-Encoding and Content-Length', 'Transfer-Encoding: chunked\r\nContent-Length: 4', '0\r\n\r\n'],
  ['two lengths that differ', 'Content-Length: 4\r\nContent-Length: 40', 'abcd'],
  ['two lengths that agree', 'Content-Length: 4\r\nContent-Length: 4', 'abcd'],
  ['a list of lengths', 'Content-Length: 4, 4', 'abcd'],
  ['a negative length', 'Content-Length: -1', ''],
  ['a signed length', 'Content-Length: +4', 'abcd'],
  ['a length in hexadecimal', 'Content-Length: 0x4', 'abcd'],
  ['a length with letters', 'Content-Length: 4a', 'abcd'],
  ['an unknown coding', 'Transfer-Encoding: xchunked', '0\r\n\r\n'],
  ['identity', 'Transfer-Encoding: identity', 'abcd'],
  ['chunked and identity', 'Transfer-Encoding: chunked, identity', '0\r\n\r\n'],
  ['a space before the colon', 'Transfer-Encoding : chunked', '0\r\n\r\n'],
  ['a tab in the coding', 'Transfer-Encoding:\tchunked', '0\r\n\r\n'],
  ['a folded header', 'X: a\r\n Transfer-Encoding: chunked', '0\r\n\r\n'],
  ['chunk extensions', 'Transfer-Encoding: chunked', '3;a=b\r\nabc\r\n0\r\n\r\n'],
  ['a broken chunk', 'Transfer-Encoding: chunked', 'zz\r\nabc\r\n0\r\n\r\n'],
  ['a NUL in a header', 'X: a\0b', ''],
  ['a bare line feed', 'X: a\nTransfer-Encoding: chunked', '0\r\n\r\n'],
  ['HTTP/1.0', '', ''],
  ['an absolute address', '', ''],
];

/** The bytes of an ambiguous request with `hidden` behind it. */
export function hiding(what: string, headers: string, body: string, hidden: string): string {
  const first =
    what === 'HTTP/1.0' ? 'POST /x HTTP/1.0' : what === 'an absolute address' ? 'POST http://evil/x HTTP/1.1' : 'POST /x HTTP/1.1';
  return `${first}\r\nHost: a\r\n${headers === '' ? '' : `${headers}\r\n`}\r\n${body}${hidden}`;
}
