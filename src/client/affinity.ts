/** The hint that keeps a user on one node: told by the server at open, put into the address of the next dial, hashed by balancers. */

const form = /^[a-z2-7]{2}$/;

/** Whether a value is one; what a server or an app gives is looked at before it goes into an address. */
export function isAffinity(value: unknown): value is string {
  return typeof value === 'string' && form.test(value);
}

/** `url` with the query member `affinity`, in place of one it may have; its other members and their order stay. */
export function withAffinity(url: string, affinity: string | undefined): string {
  if (affinity === undefined) return url;
  const [, base = url, query = '', hash = ''] = /^([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(url) ?? [];
  const others = query
    .slice(1)
    .split('&')
    .filter((member) => member !== '' && member.split('=', 1)[0] !== 'affinity');
  return `${base}?${[...others, `affinity=${affinity}`].join('&')}${hash}`;
}
