/** The page that asks whether an app may do what it wants to, in plain words. Denying is as easy as allowing. */
import { type Html, html } from './html.ts';
import { appBadge, page, proof } from './layout.ts';

export interface ConsentScope {
  readonly scope: string;
  readonly sensitivity: 'low' | 'medium' | 'high' | 'critical';
  readonly text: string;
  readonly note?: string;
}

export interface ConsentPage {
  readonly app: { readonly name: string; readonly developer: string; readonly classification: string };
  readonly userId: string;
  readonly action: string;
  readonly csrf: string;
  /** What is asked now. */
  readonly asked: readonly ConsentScope[];
  /** What the app gets without asking, or has already. */
  readonly also: readonly ConsentScope[];
  /** The host the browser goes to next. */
  readonly returnHost: string;
}

const levels = { low: 'Low risk', medium: 'Personal', high: 'Sensitive', critical: 'Very sensitive' } as const;

/** The consent document. */
export function consentPage(view: ConsentPage): string {
  const { app, userId, action, csrf, asked, also, returnHost } = view;
  const body = html`${appBadge(app)}
<h1>Allow ${app.name}?</h1>
<p class="lead">${app.name} asks for permission to do the following with your account.</p>
<h2 id="asked">It will be able to</h2>
<ul class="scopes" aria-labelledby="asked">
${asked.map(item)}
</ul>
${
  also.length > 0 &&
  html`<h2 id="also">Without asking</h2>
<ul class="scopes" aria-labelledby="also">
${also.map(item)}
</ul>`
}
<div class="actions pair">
<form method="post" action="${action}/consent">${proof(csrf)}<button type="submit" name="decision" value="allow">Allow</button></form>
<form method="post" action="${action}/consent">${proof(csrf)}<button type="submit" name="decision" value="deny" class="plain">Deny</button></form>
</div>
<div class="who"><span>Signed in as <strong>${userId}</strong></span>
<form method="post" action="${action}/switch">${proof(csrf)}<button type="submit" class="link">Use another account</button></form></div>
<p class="next">After your choice you go back to ${returnHost}. You can withdraw permissions at any time.</p>`;
  return page(`Allow ${app.name}?`, body);
}

function item(scope: ConsentScope): Html {
  return html`<li><span class="what"><span>${scope.text}</span><span class="level ${scope.sensitivity}">${levels[scope.sensitivity]}</span></span>${scope.note === undefined ? undefined : html`<p class="note">${scope.note}</p>`}</li>
`;
}
