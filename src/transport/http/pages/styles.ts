/**
 * The one style sheet of the sign-in pages. Served from our own origin under a name that holds its hash, so that browsers may keep it
 * for ever. Colours meet WCAG AA in both schemes: body text at least 7:1, controls and their borders at least 3:1 against the surface.
 */
import { createHash } from 'node:crypto';

export const styles = `
:root {
  color-scheme: light dark;
  --page: #f3f4f8; --surface: #ffffff; --text: #171a26; --quiet: #4c5366; --line: #d5d9e4; --field: #767e93;
  --accent: #3a3fc4; --accent-strong: #2a2e9c; --on-accent: #ffffff; --tint: #eceefc;
  --bad: #a8122a; --bad-tint: #fdecee; --warn: #7a4a00; --warn-tint: #fdf1dc; --good: #17603a; --good-tint: #e4f4ea;
  --shadow: 0 1px 2px rgb(20 24 45 / 8%), 0 12px 32px rgb(20 24 45 / 8%);
  --gutter: 1.25rem;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1119; --surface: #191c28; --text: #f0f2f8; --quiet: #b4bbcd; --line: #343a4d; --field: #8790a6;
    --accent: #a9b0ff; --accent-strong: #c6cbff; --on-accent: #12143a; --tint: #262a45;
    --bad: #ffb0b8; --bad-tint: #40191f; --warn: #f6cf8c; --warn-tint: #3a2b10; --good: #9fdcb6; --good-tint: #14331f;
    --shadow: 0 1px 2px rgb(0 0 0 / 40%), 0 12px 32px rgb(0 0 0 / 35%);
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { font: 100%/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; -webkit-text-size-adjust: 100%; }
body { margin: 0; min-height: 100vh; min-height: 100svh; display: flex; flex-direction: column; align-items: center;
  padding: 0 .75rem 1.5rem; background: var(--page); color: var(--text); overflow-wrap: anywhere; }
.brand { display: flex; align-items: center; gap: .5rem; margin: 1.25rem 0; font-weight: 650; letter-spacing: .02em; }
.brand svg { width: 1.5rem; height: 1.5rem; color: var(--accent); }
main { width: 100%; max-width: 28rem; background: var(--surface); border: 1px solid var(--line); border-radius: 1rem;
  box-shadow: var(--shadow); padding: 1.5rem var(--gutter); }
footer { margin: 1.25rem 0 0; color: var(--quiet); font-size: .875rem; text-align: center; max-width: 24rem; text-wrap: balance; }
h1 { margin: 0 0 .375rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.015em; }
h2, legend { margin: 0; padding: 0; font-size: 1rem; font-weight: 650; line-height: 1.4; }
p { margin: 0 0 1rem; }
.lead { color: var(--quiet); margin-bottom: 1.5rem; }
main > :last-child { margin-bottom: 0; }
strong, .name { font-weight: 650; unicode-bidi: isolate; }
.app { display: flex; align-items: flex-start; gap: .875rem; margin: -.25rem calc(-1 * var(--gutter)) 1.375rem;
  padding: 0 var(--gutter) 1.25rem; border-bottom: 1px solid var(--line); }
.app .tile { flex: none; width: 3.25rem; height: 3.25rem; border-radius: .875rem; display: grid; place-items: center;
  background: var(--accent); color: var(--on-accent); font-size: 1.5rem; font-weight: 650; }
.app p { margin: 0; }
.app .name { font-size: 1.0625rem; line-height: 1.4; }
.app .by { color: var(--quiet); font-size: .875rem; }
.app .standing { display: inline-block; margin-top: .375rem; padding: .0625rem .5rem; border: 1px solid var(--line); border-radius: 1rem;
  color: var(--quiet); font-size: .75rem; font-weight: 600; }
.app .official, .app .verified { border-color: transparent; background: var(--good-tint); color: var(--good); }
label { display: block; margin: 0 0 .375rem; font-weight: 600; font-size: .9375rem; }
.field { margin: 0 0 1.125rem; }
.hint { margin: 0 0 .375rem; color: var(--quiet); font-size: .875rem; }
input:not([type=checkbox]) { width: 100%; min-height: 2.875rem; padding: .5rem .75rem; font: inherit; color: inherit; background: var(--surface);
  border: 1px solid var(--field); border-radius: .6rem; }
input:not([type=checkbox])[aria-invalid="true"] { border-color: var(--bad); border-width: 2px; }
input#code { font-size: 1.375rem; letter-spacing: .3em; font-variant-numeric: tabular-nums; }
.problem { margin: 0 0 .375rem; color: var(--bad); font-size: .9375rem; font-weight: 600; }
.summary { margin: 0 0 1.375rem; padding: .75rem 1rem; border: 1px solid var(--bad); border-left-width: .3rem; border-radius: .6rem;
  background: var(--bad-tint); }
.summary h2 { margin: 0 0 .25rem; color: var(--bad); }
.summary p { margin: 0; }
.summary a { color: inherit; font-weight: 600; }
.actions { display: flex; flex-direction: column; gap: .625rem; margin-top: 1.5rem; }
.actions form { margin: 0; }
form + .actions { margin-top: .625rem; }
button { width: 100%; min-height: 2.875rem; padding: .5rem 1rem; font: inherit; font-weight: 650; border-radius: .6rem; cursor: pointer;
  border: 1px solid transparent; background: var(--accent); color: var(--on-accent); }
button:hover { background: var(--accent-strong); }
button.plain { background: transparent; color: var(--text); border-color: var(--field); }
button.plain:hover { background: var(--tint); }
button.link { width: auto; min-height: 0; padding: 0; background: none; border: 0; color: var(--accent); font-weight: 600; text-decoration: underline;
  text-underline-offset: .15em; }
button.link:hover { background: none; color: var(--accent-strong); }
a { color: var(--accent); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .6rem; }
input:not([type=checkbox]):focus-visible { outline-offset: -1px; }
.summary:focus { outline: 2px solid var(--bad); outline-offset: -1px; }
fieldset { min-width: 0; margin: 0; padding: 0; border: 0; }
.scopes { margin-top: .625rem; border: 1px solid var(--line); border-radius: .75rem; }
.scope { position: relative; display: flex; gap: .75rem; padding: .875rem; }
.scope + .scope { border-top: 1px solid var(--line); }
.scope input { position: relative; z-index: 1; flex: none; width: 1.25rem; height: 1.25rem; margin: .125rem 0 0; accent-color: var(--accent); cursor: pointer; }
.scope input:focus-visible { border-radius: .25rem; }
.scope label { margin: 0; font-weight: 600; font-size: 1rem; line-height: 1.4; cursor: pointer; }
.scope label::before { content: ""; position: absolute; inset: 0; }
.scope .level { display: flex; width: fit-content; margin-top: .375rem; }
.scope .note { margin: .375rem 0 0; color: var(--quiet); font-size: .875rem; }
.scope input:not(:checked) + div label { font-weight: 400; color: var(--quiet); }
ul + h2, fieldset + h2, .lead + h2 { margin-top: 1.5rem; }
.given { margin: .375rem 0 0; padding: 0 0 0 1.125rem; color: var(--quiet); font-size: .9375rem; }
.given li + li { margin-top: .25rem; }
.given .level { vertical-align: .0625rem; }
.level { display: inline-flex; align-items: center; gap: .375rem; padding: .125rem .5rem; border-radius: .375rem; background: var(--good-tint);
  color: var(--good); font-size: .75rem; font-weight: 650; line-height: 1.35; white-space: nowrap; }
.level svg { height: .625rem; width: .906rem; }
.level.medium { background: var(--tint); color: var(--accent-strong); }
.level.high { background: var(--warn-tint); color: var(--warn); }
.level.critical { background: var(--bad-tint); color: var(--bad); }
.who { display: flex; flex-wrap: wrap; gap: .125rem .75rem; align-items: baseline; justify-content: space-between; margin: 1.5rem 0 0; padding-top: 1.125rem;
  border-top: 1px solid var(--line); font-size: .9375rem; color: var(--quiet); }
.who form { margin: 0; }
.who strong { color: var(--text); }
.next { margin: 1rem 0 0; font-size: .875rem; color: var(--quiet); }
.fault { margin: .375rem 0 0; padding: .75rem .875rem; border-radius: .6rem; background: var(--page); color: var(--quiet); font-size: .875rem; }
.fault code { display: block; color: var(--text); font: 600 .875rem/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; }
@media (min-width: 34rem) {
  :root { --gutter: 2rem; }
  body { padding-top: min(8vh, 5rem); }
  main { padding-block: 2rem; }
  .actions.pair { flex-direction: row; }
  .actions.pair > * { flex: 1; }
}
@media (forced-colors: active) { .level, .tile { border: 1px solid; } }
`;

/** Where the pages find the sheet. */
export const stylesPath = `/assets/identity.${createHash('sha256').update(styles).digest('hex').slice(0, 12)}.css`;
