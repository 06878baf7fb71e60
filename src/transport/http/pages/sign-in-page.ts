/** The page that asks who you are. The same page, word for word, whatever was wrong with the name or the password. */
import { html } from './html.ts';
import { appBadge, type Problem, page, proof, summary } from './layout.ts';

export interface SignInPage {
  readonly app: { readonly name: string; readonly developer: string; readonly classification: string };
  /** `/interaction/<uid>`. */
  readonly action: string;
  readonly csrf: string;
  /** What was typed before, or hinted by the app. */
  readonly account: string;
  readonly problems: readonly Problem[];
}

/** The sign-in document. */
export function signInPage(view: SignInPage): string {
  const { app, action, csrf, account, problems } = view;
  const wrong = (field: string): Problem | undefined => problems.find((problem) => problem.field === field);
  const accountProblem = wrong('account');
  const passwordProblem = wrong('password');
  const focusAccount = problems.length === 0 && account === '';
  const body = html`${appBadge(app)}
${summary(problems)}
<h1>Sign in</h1>
<p class="lead">to go on to <strong>${app.name}</strong></p>
<form method="post" action="${action}/sign-in" novalidate>
${proof(csrf)}
<div class="field">
<label for="account">User name</label>
<p class="hint" id="account-hint">For example alice, or @alice:example.org</p>
${accountProblem === undefined ? undefined : html`<p class="problem" id="account-problem">${accountProblem.text}</p>`}
<input id="account" name="account" type="text" value="${account}" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false" required maxlength="255" aria-describedby="account-hint${accountProblem === undefined ? '' : ' account-problem'}"${accountProblem === undefined ? undefined : html` aria-invalid="true"`}${focusAccount && html` autofocus`}>
</div>
<div class="field">
<label for="password">Password</label>
${passwordProblem === undefined ? undefined : html`<p class="problem" id="password-problem">${passwordProblem.text}</p>`}
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"${passwordProblem === undefined ? undefined : html` aria-invalid="true" aria-describedby="password-problem"`}${problems.length === 0 && !focusAccount && html` autofocus`}>
</div>
<div class="actions"><button type="submit">Sign in</button></div>
</form>
<div class="actions"><form method="post" action="${action}/cancel">${proof(csrf)}<button type="submit" class="plain">Cancel</button></form></div>`;
  const footer = html`Your password is checked here and never shown to ${app.name}.`;
  return page(`Sign in to ${app.name}`, body, { problem: problems.length > 0, footer });
}
