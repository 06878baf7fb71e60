/**
 * Every import rule is seen red: a small tree that breaks just that rule is laid out in a temporary folder and cruised
 * with the project's own configuration.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { cruise, type ICruiseOptions, type IFlattenedRuleSet } from 'dependency-cruiser';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

interface Configuration {
  readonly forbidden: readonly { readonly name: string }[];
  readonly options: ICruiseOptions;
}

const root = resolve(import.meta.dirname, '../../..');
const configurationFile = '../../../.dependency-cruiser.mjs';
const { default: configuration } = (await import(configurationFile)) as { readonly default: Configuration };

/** What breaks a rule: the importing file, and what it imports. A target below `src` or `test` is made empty. */
const planted: Readonly<Record<string, readonly [from: string, target: string]>> = {
  'no-cycles': ['src/transport/live/a.ts', './a.ts'],
  'protocol-is-the-floor': ['src/protocol/a.ts', '../clock.ts'],
  'protocol-does-no-io': ['src/protocol/a.ts', 'node:fs'],
  'actors-know-the-protocol': ['src/actors/user/a.ts', '../../persistence/b.ts'],
  'machines-are-pure': ['src/actors/user/a.machine.ts', '../../clock.ts'],
  'machines-do-no-io': ['src/actors/user/a.machine.ts', 'node:crypto'],
  'actor-kinds-are-strangers': ['src/actors/payment/a.ts', '../vault/b.ts'],
  'runtime-knows-no-kind': ['src/actors/runtime/a.ts', '../vault/b.ts'],
  'persistence-adapts-ports': ['src/persistence/journal/a.ts', '../../actors/runtime/b.ts'],
  'transport-meets-the-runtime': ['src/transport/live/a.ts', '../../persistence/b.ts'],
  'client-knows-the-protocol': ['src/client/a.ts', '../clock.ts'],
  'nobody-imports-the-client': ['src/transport/a.ts', '../client/b.ts'],
  'environment-has-one-reader': ['src/log.ts', './env.ts'],
  'app-is-the-root': ['src/transport/a.ts', '../app.ts'],
  'sandbox-is-a-stranger': ['src/wallet-sandbox/a.ts', '../persistence/b.ts'],
  'src-stands-alone': ['src/app.ts', '../test/b.ts'],
  'no-dev-dependencies': ['src/app.ts', 'fast-check'],
  resolvable: ['src/app.ts', './nowhere.ts'],
};

/** Rules about a library are broken by the composition root, which owns none. */
const ownerRules: Readonly<Record<string, string>> = {
  'one-owner-of-uwebsockets-js': 'uWebSockets.js',
  'one-owner-of-msgpackr': 'msgpackr',
  'one-owner-of-xstate': 'xstate',
  'one-owner-of-pg': 'pg',
  'one-owner-of-electric-sql-pglite': '@electric-sql/pglite',
  'one-owner-of-ioredis': 'ioredis',
  'one-owner-of-pino': 'pino',
  'one-owner-of-prom-client': 'prom-client',
  'one-owner-of-oidc-provider': 'oidc-provider',
  'one-owner-of-light-my-request': 'light-my-request',
  'one-owner-of-node-rs-argon2': '@node-rs/argon2',
  'one-owner-of-undici': 'undici',
  'one-owner-of-cockatiel': 'cockatiel',
  'one-owner-of-jose': 'jose',
  'one-owner-of-commander': 'commander',
};

let tree: string;

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'tmcp-rules-'));
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'));
  writeFileSync(join(tree, 'package.json'), readFileSync(join(root, 'package.json')));
});

afterEach(() => {
  rmSync(tree, { recursive: true, force: true });
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
}

async function violated(from: string, target: string): Promise<string[]> {
  if (target.startsWith('.') && !target.includes('nowhere')) write(join(dirname(from), target), 'export const b = 1;\n');
  write(from, `import * as b from '${target}';\nexport const a = b;\n`);
  return violations();
}

async function violations(): Promise<string[]> {
  const ruleSet = { forbidden: configuration.forbidden } as unknown as IFlattenedRuleSet;
  const report = await cruise(['src'], { ...configuration.options, validate: true, ruleSet, baseDir: tree, preserveSymlinks: true });
  if (typeof report.output === 'string') throw new Error(report.output);
  return [...new Set(report.output.summary.violations.map((violation) => violation.rule.name))];
}

describe('import rules', () => {
  it.each(Object.entries(planted))('%s is broken by a planted import', async (rule, [from, target]) => {
    expect(await violated(from, target)).toContain(rule);
  });

  it.each(Object.entries(ownerRules))('%s is broken by another module importing it', async (rule, library) => {
    expect(await violated('src/app.ts', library)).toEqual([rule]);
  });

  it('has a planted import for every rule', () => {
    expect(Object.keys({ ...planted, ...ownerRules }).sort()).toEqual(configuration.forbidden.map((rule) => rule.name).sort());
  });

  it('a type-only import counts as an import', async () => {
    write('src/env.ts', 'export type B = 1;\n');
    write('src/protocol/a.ts', "import type { B } from '../env.ts';\nexport type A = B;\n");
    expect(await violations()).toContain('protocol-is-the-floor');
  });

  it('allows what the layers allow', async () => {
    expect(await violated('src/transport/live/a.ts', '../../actors/runtime/b.ts')).toEqual([]);
  });
});
