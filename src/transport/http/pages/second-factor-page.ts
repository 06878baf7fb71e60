/** The page that asks for the six digits of the authenticator app, after the password was right. */
import { html } from './html.ts';
import { appBadge, type Problem, page, proof, summary, who } from './layout.ts';

export interface SecondFactorPage {
  readonly app: { readonly name: string; readonly developer: string; readonly classification: string };
  readonly userId: string;
  readonly action: string;
  readonly csrf: string;
  readonly problems: readonly Problem[];
}

/** The second-factor document. */
export function secondFactorPage(view: SecondFactorPage): string {
  const { app, userId, action, csrf, problems } = view;
  const problem = problems.find(({ field }) => field === 'code');
  const body = html`${appBadge(app)}
${summary(problems)}
<h1>Enter your code</h1>
<p class="lead" id="code-lead">Open your authenticator app and type the six digits it shows.</p>
<form method="post" action="${action}/code" novalidate>
${proof(csrf)}
<div class="field">
<label for="code">Six-digit code</label>
${problem !== undefined && html`<p class="problem" id="code-problem">${problem.text}</p>`}
<input class="code" id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxlength="7" required aria-describedby="${problem === undefined ? 'code-lead' : 'code-problem'}"${problem !== undefined && html` aria-invalid="true"`}${problems.length === 0 && html` autofocus`}>
</div>
<div class="actions"><button type="submit">Continue</button></div>
</form>
<div class="actions"><form method="post" action="${action}/cancel">${proof(csrf)}<button type="submit" class="plain">Cancel</button></form></div>
${who('Signing in as', userId, `${action}/back`, csrf)}`;
  return page('Enter your code', body, { problem: problems.length > 0 });
}
