/** How pages leave: headers that allow nothing but our style sheet, our own forms, and the redirect back to the app. */
import type { ParameterizedContext } from 'koa';

/**
 * The policy of a page. Browsers apply `form-action` to every redirect that follows a post, so the origin the code will be sent to is
 * named beside our own, for the browsers that are not sent on from a page of their own.
 */
export function contentSecurityPolicy(redirectUri: string | undefined): string {
  const target = redirectUri === undefined ? undefined : new URL(redirectUri).origin;
  const formAction = target === undefined ? "'self'" : `'self' ${target}`;
  return `default-src 'none'; style-src 'self'; form-action ${formAction}; base-uri 'none'; frame-ancestors 'none'`;
}

/** Sends a page. */
export function sendPage(ctx: ParameterizedContext, status: number, document: string, redirectUri?: string): void {
  ctx.status = status;
  ctx.type = 'html';
  ctx.set('content-security-policy', contentSecurityPolicy(redirectUri));
  ctx.body = document;
}
