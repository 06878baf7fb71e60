/** Reading request headers: strictly, and without keeping anything of the request. */

const requestIdForm = /^[A-Za-z0-9._-]{1,64}$/;

/** The client's request id where it is of the accepted form. */
export function givenRequestId(header: string): string | undefined {
  return requestIdForm.test(header) ? header : undefined;
}

/** The token of an `Authorization: Bearer` header; undefined for another scheme or no token (RFC 6750, section 2.1). */
export function bearerToken(header: string): string | undefined {
  if (header.length < 8 || header.slice(0, 7).toLowerCase() !== 'bearer ') return undefined;
  const token = header.slice(7).trim();
  return token === '' || token.includes(' ') ? undefined : token;
}

/** A trace as its caller names it (W3C Trace Context, section 3.2). */
export interface TraceParent {
  readonly traceId: string;
  readonly parentId: string;
  readonly sampled: boolean;
}

const traceForm = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** A `traceparent` header; undefined where it is not one. Later versions are read as far as version 00 goes. */
export function parseTraceParent(header: string): TraceParent | undefined {
  const match = traceForm.exec(header);
  if (match === null) return undefined;
  const [, version, traceId, parentId, flags, rest] = match as unknown as [string, string, string, string, string, string | undefined];
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Whether a content type is JSON. Parameters but a charset other than UTF-8 do not matter. */
export function isJson(contentType: string): boolean {
  const [type = '', ...parameters] = contentType.toLowerCase().split(';');
  if (type.trim() !== 'application/json') return false;
  return parameters.every((parameter) => {
    const [name = '', value = ''] = parameter.split('=');
    return name.trim() !== 'charset' || /^"?utf-?8"?$/.test(value.trim());
  });
}

const deviceForm = /^[\x21-\x7e]{1,128}$/;

/** The device id of an `X-Device-Id` header. Undefined: there is none; null: it is not of its form. */
export function deviceIdOf(header: string): string | undefined | null {
  if (header === '') return undefined;
  return deviceForm.test(header) ? header : null;
}
