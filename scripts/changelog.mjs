/**
 * Joins the fragments in `changes/` into CHANGELOG.md. A fragment is `changes/NNNN-name.md`: its first line names the kind
 * (`added`, `changed`, `fixed`, `removed` or `security`), the rest says what is now true, for operators and SDK users.
 * Without arguments it rewrites the part "Unreleased"; `--release 1.2.0` turns it into that version and removes the
 * fragments; `--check` only says what is wrong with them. Also a module, for the test.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const kinds = ['security', 'added', 'changed', 'fixed', 'removed'];
const start = '<!-- unreleased: made by npm run changelog -->';
const end = '<!-- /unreleased -->';

/**
 * The section of one version, made of fragments by file name. Throws with every malformed fragment.
 * @param {string} title @param {Readonly<Record<string, string>>} fragments @returns {string}
 */
export function sectionOf(title, fragments) {
  /** @type {Map<string, string[]>} */
  const byKind = new Map(kinds.map((kind) => [kind, []]));
  const problems = [];
  for (const [name, text] of Object.entries(fragments).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [first = '', ...rest] = text.trim().split('\n');
    const body = rest.join('\n').trim();
    const entries = byKind.get(first.trim());
    if (!/^\d{4}-[a-z0-9-]+\.md$/.test(name)) problems.push(`${name}: is not named NNNN-name.md`);
    else if (entries === undefined) problems.push(`${name}: its first line is not one of ${kinds.join(', ')}`);
    else if (body === '') problems.push(`${name}: says nothing`);
    else entries.push(`* ${body.replaceAll('\n', '\n  ')}`);
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const parts = [...byKind].filter(([, entries]) => entries.length > 0);
  const blocks = parts.map(([kind, entries]) => `### ${kind[0]?.toUpperCase()}${kind.slice(1)}\n\n${entries.join('\n')}`);
  return [`## ${title}`, ...blocks].join('\n\n');
}

/**
 * The changelog with its unreleased part replaced; with `release` the section becomes fixed below an empty part.
 * @param {string} changelog @param {string} section @param {boolean} release @returns {string}
 */
export function placeIn(changelog, section, release) {
  const [from, to] = [changelog.indexOf(start), changelog.indexOf(end)];
  if (from < 0 || to < from) throw new Error('CHANGELOG.md has lost the comments that mark its unreleased part');
  const before = changelog.slice(0, from + start.length);
  const after = changelog.slice(to + end.length);
  return release ? `${before}\n${end}\n\n${section}${after}` : `${before}\n${section}\n${end}${after}`;
}

function main() {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const folder = join(root, 'changes');
  const names = readdirSync(folder).filter((name) => name.endsWith('.md') && name !== 'README.md');
  const fragments = Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
  const version = process.argv.includes('--release') ? process.argv[process.argv.indexOf('--release') + 1] : undefined;
  if (process.argv.includes('--release') && !/^\d+\.\d+\.\d+$/.test(version ?? ''))
    throw new Error('usage: npm run changelog -- --release 1.2.0');
  const title = version === undefined ? 'Unreleased' : `${version} (${new Date().toISOString().slice(0, 10)})`;
  const section = sectionOf(title, fragments);
  if (process.argv.includes('--check')) return;
  const file = join(root, 'CHANGELOG.md');
  writeFileSync(file, placeIn(readFileSync(file, 'utf8'), section, version !== undefined));
  if (version !== undefined) for (const name of names) rmSync(join(folder, name));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main();
