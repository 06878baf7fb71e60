/** The network's threats, S1 to S22, each held by a test whose title names it: none is left out, and none is forgotten when a test is renamed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

const rows: Readonly<Record<string, string>> = {
  S1: 'slow headers',
  S2: 'slow bodies and frames that drip',
  S3: 'frames that are too large, also in fragments',
  S4: 'messages of fragments that never end',
  S5: 'compression bombs',
  S6: 'lengths that lie',
  S7: 'deep nesting',
  S8: 'more values than bytes',
  S9: 'extension types',
  S10: 'huge integers in extensions',
  S11: 'keys that reach prototypes',
  S12: 'keys told twice',
  S13: 'text that is no UTF-8',
  S14: 'numbers that are not what they seem',
  S15: 'storms of connections',
  S16: 'peers that are gone without a word',
  S17: 'peers that never read',
  S18: 'sockets that never say who they are',
  S19: 'pages of other origins',
  S20: 'requests that a balancer and a node read differently, and addresses that are made up',
  S21: 'upgrades and frames that break RFC 6455',
  S22: 'floods of control frames',
};

/** Rows named in titles: strings that begin an argument or a line, as titles of tests and of their cases do. */
function cited(text: string): string[] {
  const titles = [...text.matchAll(/(?:\(|^\s*)(?:'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`)/gm)].map(
    ([, plain, template]) => plain ?? template,
  );
  return titles.flatMap((title) => [...(title ?? '').matchAll(/\b(S[1-9]\d?)\b/g)].map(([, row]) => row as string));
}

const found = new Set(
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => cited(readFileSync(join(root, name), 'utf8'))),
);

it('every threat of the network has a test that names it', () => {
  const missing = Object.entries(rows).filter(([row]) => !found.has(row));
  expect(missing.map(([row, what]) => `${row}: ${what}`)).toEqual([]);
});

it('every row that a test names is one of them', () => {
  expect([...found].filter((row) => !Object.hasOwn(rows, row))).toEqual([]);
});

it('a row counts in a title and not in a comment or another string', () => {
  const row = ['S', '1'].join('');
  expect(cited(`it('[LIVE9][${row}] a title', () => {`)).toEqual(['S1']);
  expect(cited(`  '(${row}) a case': [1],`)).toEqual(['S1']);
  expect(cited(`// ${row} in a comment\nconst text = '${row}';`)).toEqual([]);
  expect(cited("it.each(['S256'])('%s')")).toEqual([]);
});
