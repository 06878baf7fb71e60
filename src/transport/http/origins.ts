/** Which browser origins may use this server, for CORS and for the live binding's door (reliability: cross-site hijack). */
export type OriginCheck = (origin: string) => boolean | Promise<boolean>;

/**
 * The check by an operator's list, exact and case-sensitive; with an empty list by what the registered apps say. The server's own
 * origin is always allowed.
 */
export function originCheck(publicUrl: string, list: readonly string[], registered?: OriginCheck): OriginCheck {
  const own = new URL(publicUrl).origin;
  if (list.length > 0 || registered === undefined) {
    const allowed = new Set([own, ...list]);
    return (origin) => allowed.has(origin);
  }
  return (origin) => origin === own || registered(origin);
}
