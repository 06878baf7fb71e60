/** Every rule of the live and HTTP binding, and of many nodes, has a test that cites it, and every citation is of a rule that is written down. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => readFileSync(join(root, 'test', name), 'utf8'))
  .join('\n');

describe.each([
  ['LIVE', 'docs/spec/session.md'],
  ['HTTP', 'docs/spec/http.md'],
  ['CLU', 'docs/spec/cluster.md'],
])('%s rules', (prefix, file) => {
  const rules = new Set([...readFileSync(join(root, file), 'utf8').matchAll(/\*\*\[([A-Z]+\d+)\]\*\*/g)].map(([, rule]) => rule));
  const cited = new Set([...tests.matchAll(new RegExp(`['"\`]\\[(${prefix}\\d+)\\]`, 'g'))].map(([, rule]) => rule));

  it('each has a test', () => {
    expect([...rules].filter((rule) => !cited.has(rule))).toEqual([]);
  });

  it('each citation has a rule', () => {
    expect([...cited].filter((rule) => !rules.has(rule))).toEqual([]);
  });
});
