/** A page that only says something: a request that cannot go on, an expired sign-in. */
import { html } from './html.ts';
import { page } from './layout.ts';

/** The document. `fault` is for whoever builds the app: the OAuth error and its description. */
export function messagePage(title: string, text: string, fault?: { readonly code: string; readonly description: string }): string {
  const body = html`<h1>${title}</h1>
<p class="lead">${text}</p>
${
  fault !== undefined &&
  html`<h2>For the makers of the app</h2>
<p class="fault"><code>${fault.code}</code> ${fault.description}</p>`
}`;
  return page(title, body, { problem: true });
}
