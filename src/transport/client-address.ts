/** Who is at the other end of a connection, as far as it can be believed (reliability: spoofed forwarding headers). */
import type { HttpRequest, HttpResponse } from './uws.ts';

const decoder = new TextDecoder();

/** The peer's address as text; IPv4 in IPv6 clothing is shown as IPv4. */
export function socketAddress(res: Pick<HttpResponse, 'getRemoteAddressAsText'>): string {
  const text = decoder.decode(res.getRemoteAddressAsText());
  return text.startsWith('0000:0000:0000:0000:0000:ffff:') ? mapped(text) : text;
}

/**
 * The client's address behind `hops` trusted proxies: the entry of `X-Forwarded-For` that the outermost of them wrote. What a client
 * wrote itself stands further left and is never looked at.
 */
export function clientAddress(
  res: Pick<HttpResponse, 'getRemoteAddressAsText'>,
  req: Pick<HttpRequest, 'getHeader'>,
  hops: number,
): string {
  const direct = socketAddress(res);
  return hops === 0 ? direct : forwardedAddress(req.getHeader('x-forwarded-for'), hops, direct);
}

/** The `hops`-th entry from the right; `direct` where the header has fewer or the entry is no address. */
export function forwardedAddress(header: string, hops: number, direct: string): string {
  const entries = header.split(',');
  const entry = entries.at(-hops)?.trim() ?? '';
  return /^[0-9A-Fa-f:.]{2,45}$/.test(entry) ? entry : direct;
}

/** Whether an address is of this machine. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address === '0000:0000:0000:0000:0000:0000:0000:0001';
}

const loopbackHost = /^(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?$/i;

/**
 * Whether a request is meant for this machine by what it says: its Host is a loopback name, so no other name was made to lead here; no
 * page of another site sent it; and no proxy that is not counted among the `hops` passed it on. Whose the addresses are is
 * `isLoopback`'s question.
 */
export function saysLoopback(req: Pick<HttpRequest, 'getHeader'>, hops: number): boolean {
  const origin = req.getHeader('origin');
  return (
    loopbackHost.test(req.getHeader('host')) &&
    (origin === '' || loopbackHost.test(origin.replace(/^https?:\/\//, ''))) &&
    (hops > 0 || ['x-forwarded-for', 'forwarded', 'x-real-ip'].every((name) => req.getHeader(name) === ''))
  );
}

function mapped(text: string): string {
  const [high, low] = text
    .slice(-9)
    .split(':')
    .map((part) => Number.parseInt(part, 16)) as [number, number];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}
