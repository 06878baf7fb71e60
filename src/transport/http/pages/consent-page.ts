/**
 * The page that asks what an app may do, in plain words, the gravest first. Each permission can be left out, and denying all of it is
 * as easy as allowing.
 */
import { type Html, html } from './html.ts';
import { appBadge, type Problem, page, proof, summary, who } from './layout.ts';

type Sensitivity = 'low' | 'medium' | 'high' | 'critical';

export interface ConsentScope {
  readonly scope: string;
  readonly sensitivity: Sensitivity;
  readonly text: string;
  readonly note?: string;
}

export interface ConsentPage {
  readonly app: { readonly name: string; readonly developer: string; readonly classification: string };
  readonly userId: string;
  readonly action: string;
  readonly csrf: string;
  /** What the person chooses from. Empty when everything was allowed before and the app wants to hear it again. */
  readonly asked: readonly ConsentScope[];
  /** Those of `asked` that are ticked. */
  readonly ticked: readonly string[];
  /** What the person allowed before. */
  readonly allowed: readonly ConsentScope[];
  /** What every app gets, or this one by its record. */
  readonly unasked: readonly ConsentScope[];
  /** The host the browser goes to next. */
  readonly returnHost: string;
  readonly problems: readonly Problem[];
}

const levels: Readonly<Record<Sensitivity, readonly [number, string]>> = {
  low: [1, 'Low risk'],
  medium: [2, 'Personal'],
  high: [3, 'Sensitive'],
  critical: [4, 'Very sensitive'],
};

/** The name a permission's box has in the form. */
export function boxName(scope: string): string {
  return `scope.${scope}`;
}

/**
 * The consent document. Enter on a box presses the form's first submit button; that one is hidden and decides nothing, so that nobody
 * allows or denies without a button that says so.
 */
export function consentPage(view: ConsentPage): string {
  const { app, userId, action, csrf, allowed, unasked, returnHost, problems } = view;
  const asked = view.asked.toSorted((a, b) => levels[b.sensitivity][0] - levels[a.sensitivity][0]);
  const choice = asked.length > 0;
  const lead = choice
    ? html`${app.name} asks for the permissions below. Untick what you do not want to allow.`
    : html`${app.name} asks you to confirm what it may do.`;
  const body = html`${appBadge(app)}
${summary(problems)}
<h1>Allow ${app.name}?</h1>
<p class="lead">${lead}</p>
<form method="post" action="${action}/consent">
${proof(csrf)}
${choice && html`<button type="submit" formaction="${action}/consent?only=ticked" hidden></button>\n`}${
  choice &&
  html`<fieldset>
<legend>It will be able to</legend>
<div class="scopes">
${asked.map((scope, index) => box(scope, index, view.ticked.includes(scope.scope)))}</div>
</fieldset>`
}
${list('allowed', choice ? 'You allowed before' : 'It is able to', allowed)}
${list('unasked', 'Also, without asking', unasked)}
<div class="actions pair">
<button type="submit" id="allow" name="decision" value="allow"${choice && html` formaction="${action}/consent?only=ticked"`}>Allow</button>
<button type="submit" name="decision" value="deny" class="plain">Deny</button>
</div>
</form>
${who('Signed in as', userId, `${action}/switch`, csrf)}
<p class="next">Whatever you choose, you go back to <strong>${returnHost}</strong> next. You can withdraw permissions at any time.</p>`;
  return page(`Allow ${app.name}?`, body, { problem: problems.length > 0 });
}

function box({ scope, sensitivity, text, note }: ConsentScope, index: number, ticked: boolean): Html {
  const id = `scope-${index}`;
  return html`<div class="scope"><input type="checkbox" id="${id}" name="${boxName(scope)}" value="yes"${ticked && html` checked`}${note !== undefined && html` aria-describedby="${id}-note"`}>
<div><label for="${id}">${text} ${level(sensitivity)}</label>${note !== undefined && html`<p class="note" id="${id}-note">${note}</p>`}</div></div>
`;
}

function list(id: string, title: string, scopes: readonly ConsentScope[]): Html | false {
  if (scopes.length === 0) return false;
  const items = scopes.map(
    ({ text, sensitivity }) => html`<li>${text}${sensitivity !== 'low' && html` ${level(sensitivity)}`}</li>
`,
  );
  return html`<h2 id="${id}">${title}</h2>
<ul class="given" aria-labelledby="${id}">
${items}</ul>`;
}

/** How grave it is: in words, in a colour, and as one to four bars. */
function level(sensitivity: Sensitivity): Html {
  const [rank, words] = levels[sensitivity];
  const bars = [1, 2, 3, 4].map(
    (bar) =>
      html`<rect x="${bar * 4 - 4}" y="${10 - bar * 2.5}" width="2.5" height="${bar * 2.5}" rx=".75"${bar > rank && html` opacity=".28"`}/>`,
  );
  return html`<span class="level ${sensitivity}"><svg viewBox="0 0 14.5 10" aria-hidden="true" focusable="false" fill="currentColor">${bars}</svg>${words}</span>`;
}
