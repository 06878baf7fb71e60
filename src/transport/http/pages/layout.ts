/** The frame every sign-in page stands in: one main landmark, no script, one style sheet of our own. */
import { Html, html } from './html.ts';
import { stylesPath } from './styles.ts';

/** One thing wrong with what was typed. `field` is the id of the input it is about. */
export interface Problem {
  readonly field?: string;
  readonly text: string;
}

export interface PageOptions {
  readonly problem?: boolean;
  readonly footer?: Html;
  /** Where the browser goes by itself, at once. */
  readonly onward?: string;
}

/** A whole document. `title` is what the tab says; a page with problems says so there first, for screen readers. */
export function page(title: string, body: Html, options: PageOptions = {}): string {
  const document = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
${
  options.onward !== undefined &&
  html`<meta http-equiv="refresh" content="0; url=${options.onward}">
`
}<title>${options.problem === true && 'Error: '}${title} · TMCP</title>
<link rel="stylesheet" href="${stylesPath}">
</head>
<body>
<header class="brand">${mark}<span>TMCP</span></header>
<main>
${body}
</main>
${options.footer !== undefined && html`<footer>${options.footer}</footer>`}
</body>
</html>
`;
  return document.toString();
}

const mark = new Html(
  '<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false"><rect x="2" y="2" width="20" height="20" rx="6" fill="currentColor" opacity=".18"/>' +
    '<path d="M7 8.5h10M12 8.5V17" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" fill="none"/></svg>',
);

/** What went wrong, above the heading, focused, with a link to the field. */
export function summary(problems: readonly Problem[]): Html | undefined {
  if (problems.length === 0) return undefined;
  const lines = problems.map(({ field, text }) =>
    field === undefined ? html`<p>${text}</p>` : html`<p><a href="#${field}">${text}</a></p>`,
  );
  return html`<div class="summary" role="alert" tabindex="-1" autofocus aria-labelledby="summary-title">
<h2 id="summary-title">There is a problem</h2>
${lines}
</div>`;
}

const standings: Readonly<Record<string, string>> = {
  official: 'Official app',
  verified: 'Verified app',
  community: 'Community app',
  beta: 'Beta app',
};

/** The app that asks: its initial, its name, who made it, and how well it is known here. */
export function appBadge(app: { readonly name: string; readonly developer: string; readonly classification: string }): Html {
  const { name, developer, classification } = app;
  const standing = standings[classification];
  return html`<div class="app">
<span class="tile" aria-hidden="true">${[...name][0]?.toUpperCase() ?? '?'}</span>
<div><p class="name">${name}</p>
${
  developer !== '' &&
  html`<p class="by">by ${developer}</p>
`
}${standing !== undefined && html`<p class="standing ${classification}">${standing}</p>`}</div>
</div>`;
}

/** Who is at the page, and the way to be somebody else. */
export function who(words: string, userId: string, action: string, csrf: string): Html {
  return html`<div class="who"><span>${words} <strong>${userId}</strong></span>
<form method="post" action="${action}">${proof(csrf)}<button type="submit" class="link">Use another account</button></form></div>`;
}

/** The hidden field that proves a form is ours. */
export function proof(csrf: string): Html {
  return html`<input type="hidden" name="csrf" value="${csrf}">`;
}
