/** A page that only says something: a request that cannot go on, an expired sign-in. */
import { html } from './html.ts';
import { page } from './layout.ts';

/** The document. `code` is the OAuth error for whoever builds the app. */
export function messagePage(title: string, text: string, code?: string): string {
  const body = html`<h1>${title}</h1>
<p class="lead">${text}</p>
${code === undefined ? undefined : html`<p class="next">Error code: <strong>${code}</strong></p>`}`;
  return page(title, body, { problem: true });
}
