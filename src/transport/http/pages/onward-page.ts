/**
 * The page a form post ends on when the browser is to leave. Browsers hold every redirect after a post against `form-action`, also the
 * ones the app's callback makes, to hosts nobody here knows; a page that goes on by itself starts anew.
 */
import { html } from './html.ts';
import { page } from './layout.ts';

/** The document; goes to `url`, and shows a link for browsers that are told not to go by themselves. */
export function onwardPage(url: string): string {
  const body = html`<h1>One moment</h1>
<p class="lead">You are being taken on.</p>
<p class="next"><a href="${url}">Go on</a> if nothing happens.</p>`;
  return page('One moment', body, { onward: url });
}
