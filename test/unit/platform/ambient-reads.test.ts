/** One reader each of time, randomness, timers and the environment in `src/`; everything else is handed a port or a value. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const src = resolve(import.meta.dirname, '../../../src');
// The SDK runs in browsers without our clock; the command line waits for people and processes.
const apart = /^(client\/|main\.ts$|cli\/)/;

const rules: readonly { readonly what: string; readonly pattern: RegExp; readonly owner: RegExp }[] = [
  { what: 'time', pattern: /\b(Date\.now\(|new Date\(\)|performance\.now\()/, owner: /^clock\.ts$/ },
  { what: 'timers', pattern: /\b(setTimeout|setInterval)\(/, owner: /^clock\.ts$/ },
  { what: 'randomness', pattern: /\b(Math\.random\(|randomUUID\(|crypto\.getRandomValues\()/, owner: /^ids\.ts$|^persistence\/crypto\// },
  { what: 'the environment', pattern: /\bprocess\.env\b/, owner: /^env\.ts$/ },
];

/** The code of a file without its comments; roughly, which is enough for calls by name. */
function code(path: string): string {
  return readFileSync(join(src, path), 'utf8')
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(^|\s)\/\/.*$/gm, '');
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));

describe('ambient reads', () => {
  it.each(rules)('$what is read in one place', ({ pattern, owner }) => {
    expect(files.filter((path) => !apart.test(path) && !owner.test(path) && pattern.test(code(path)))).toEqual([]);
  });

  it.each(rules)('the check of $what sees its owner', ({ pattern, owner }) => {
    expect(files.some((path) => owner.test(path) && pattern.test(code(path)))).toBe(true);
  });
});
