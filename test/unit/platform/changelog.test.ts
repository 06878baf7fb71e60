/** Change fragments and how they become the changelog. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { placeIn, sectionOf } from '../../../scripts/changelog.mjs';

const root = resolve(import.meta.dirname, '../../..');

describe('sectionOf', () => {
  it('joins fragments by kind, security first, each in the order of its number', () => {
    const text = sectionOf('1.0.0', {
      '0002-b.md': 'added\n\nB is there.\nIt is new.\n',
      '0001-a.md': 'added\n\nA is there.\n',
      '0003-c.md': 'security\n\nC is closed.\n',
    });
    expect(text).toBe('## 1.0.0\n\n### Security\n\n* C is closed.\n\n### Added\n\n* A is there.\n* B is there.\n  It is new.');
  });

  it.each([
    ['a wrong name', { 'a.md': 'added\n\nx' }, 'not named'],
    ['an unknown kind', { '0001-a.md': 'better\n\nx' }, 'first line'],
    ['no words', { '0001-a.md': 'added\n' }, 'says nothing'],
  ])('refuses %s', (_what, fragments, words) => {
    expect(() => sectionOf('x', fragments)).toThrow(words);
  });
});

describe('placeIn', () => {
  const changelog = 'head\n<!-- unreleased: made by npm run changelog -->\nold\n<!-- /unreleased -->\n\n## 0.1.0\n';

  it('replaces the unreleased part and nothing else', () => {
    expect(placeIn(changelog, 'new', false)).toBe(changelog.replace('old', 'new'));
  });

  it('puts a released section below an empty unreleased part', () => {
    expect(placeIn(changelog, '## 0.2.0', true)).toBe(
      'head\n<!-- unreleased: made by npm run changelog -->\n<!-- /unreleased -->\n\n## 0.2.0\n\n## 0.1.0\n',
    );
  });

  it('refuses a changelog without its marks', () => {
    expect(() => placeIn('nothing', 'new', false)).toThrow('CHANGELOG.md');
  });
});

it('the fragments of this tree are well formed', () => {
  const names = readdirSync(join(root, 'changes')).filter((name) => name.endsWith('.md'));
  const fragments = Object.fromEntries(names.map((name) => [name, readFileSync(join(root, 'changes', name), 'utf8')]));
  expect(() => sectionOf('Unreleased', fragments)).not.toThrow();
});
