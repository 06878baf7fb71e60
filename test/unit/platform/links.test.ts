/** The documents: every link inside the project leads to a file, and to a heading where it names one. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');
const skipped = new Set(['node_modules', 'dist', '.git', '.tmcp', 'coverage']);

function documents(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : documents(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** The targets of inline and reference links and images; code is not looked at. */
function linksOf(text: string): string[] {
  const prose = text.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, '').replaceAll(/`[^`\n]*`/g, '');
  const inline = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)].map((match) => match[1] ?? '');
  const references = [...prose.matchAll(/^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)/gm)].map((match) => match[1] ?? '');
  return [...inline, ...references];
}

/** The anchors of a document's headings, as the common hosts make them. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, '').matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(/\s/g, '-'),
    ),
  );
}

/** What is wrong with the link `target` of the document `from`; undefined when nothing is, or when it leads out of the project. */
function problem(from: string, target: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return undefined;
  const [path = '', anchor] = decodeURIComponent(target).split('#', 2);
  const file = path === '' ? from : resolve(dirname(from), path);
  if (relative(root, file).startsWith('..')) return 'leads out of the project';
  if (!existsSync(file)) return 'leads nowhere';
  if (anchor === undefined || anchor === '' || statSync(file).isDirectory()) return undefined;
  return anchorsOf(readFileSync(file, 'utf8')).has(anchor) ? undefined : 'names no heading';
}

const found = documents(root);

describe('links', () => {
  it('are looked for in all documents', () => {
    const names = found.map((path) => relative(root, path));
    expect(names).toEqual(
      expect.arrayContaining(['README.md', 'CONTRIBUTING.md', join('docs', 'protocol.md'), join('docs', 'adr', 'README.md')]),
    );
  });

  it.each(found.map((path) => relative(root, path)))('of %s lead somewhere', (name) => {
    const from = join(root, name);
    const broken = linksOf(readFileSync(from, 'utf8')).flatMap((target) => {
      const wrong = problem(from, target);
      return wrong === undefined ? [] : [`${target} ${wrong}`];
    });
    expect(broken).toEqual([]);
  });

  it('that are broken are seen', () => {
    const here = join(root, 'README.md');
    const links = linksOf(
      '[a](docs/none.md) ![b](../out.png) [c](docs/protocol.md#none) [d](docs/) `[e](x)` [f](https://x.example) [g](#try-it)\n\n[h]: none.md',
    );
    expect(links.map((target) => problem(here, target))).toEqual([
      'leads nowhere',
      'leads out of the project',
      'names no heading',
      undefined,
      undefined,
      undefined,
      'leads nowhere',
    ]);
  });
});
