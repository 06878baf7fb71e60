/** What the SDK carries along: the modules reachable from `mod.ts` when it runs, and nothing that browsers or a strict CSP refuse. */
import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { type Module, parseSync } from '@swc/core';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');
const entry = resolve(root, 'src/client/mod.ts');

function parse(text: string): Module {
  return parseSync(text, { syntax: 'typescript', target: 'es2022' });
}

/** The specifiers that are still there when the types are gone. */
function runtimeImports(module: Module): string[] {
  const found: string[] = [];
  for (const item of module.body) {
    if (item.type === 'ImportDeclaration') {
      const onlyTypes =
        item.typeOnly ||
        (item.specifiers.length > 0 && item.specifiers.every((specifier) => specifier.type === 'ImportSpecifier' && specifier.isTypeOnly));
      if (!onlyTypes) found.push(item.source.value);
    } else if (item.type === 'ExportNamedDeclaration' && item.source != null) {
      const { typeOnly } = item as unknown as { readonly typeOnly: boolean };
      const onlyTypes = typeOnly || item.specifiers.every((specifier) => specifier.type === 'ExportSpecifier' && specifier.isTypeOnly);
      if (!onlyTypes) found.push(item.source.value);
    } else if (item.type === 'ExportAllDeclaration') found.push(item.source.value);
  }
  return found;
}

/** Calls by name anywhere in a module: `eval`, `Function`, `import`, `require`. */
function calledNames(node: unknown, names: Set<string> = new Set()): Set<string> {
  if (Array.isArray(node)) for (const each of node) calledNames(each, names);
  else if (typeof node === 'object' && node !== null) {
    const { type, callee } = node as { readonly type?: unknown; readonly callee?: { readonly type: string; readonly value?: string } };
    if ((type === 'CallExpression' || type === 'NewExpression') && callee !== undefined) {
      if (callee.type === 'Identifier' && callee.value !== undefined) names.add(callee.value);
      if (callee.type === 'Import') names.add('import');
    }
    for (const value of Object.values(node)) calledNames(value, names);
  }
  return names;
}

function walk(): { readonly files: Map<string, Module>; readonly packages: Set<string> } {
  const files = new Map<string, Module>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (files.has(file)) return;
    const module = parse(readFileSync(file, 'utf8'));
    files.set(file, module);
    for (const specifier of runtimeImports(module)) {
      if (specifier.startsWith('.')) visit(resolve(dirname(file), specifier));
      else packages.add(specifier);
    }
  };
  visit(entry);
  return { files, packages };
}

const { files, packages } = walk();
const names = [...files.keys()].map((file) => relative(root, file));

describe('the SDK at run time', () => {
  it('is its own modules and the protocol’s, and of the packages only the codec', () => {
    expect([...packages].sort()).toEqual(['msgpackr/pack', 'msgpackr/unpack']);
    for (const name of names) expect(name).toMatch(/^src\/(client|protocol)\//);
  });

  it('holds no schemas: the catalogue gives it types only', () => {
    for (const name of names) expect(name).not.toMatch(/protocol\/(catalogue|operation|operations\/.*|schemas)\.ts$/);
  });

  it('holds none of the modules for Node', () => {
    for (const name of names) expect(name).not.toMatch(/client\/(node|file-.*)\.ts$/);
    for (const module of files.values()) for (const specifier of runtimeImports(module)) expect(specifier).not.toMatch(/^node:/);
  });

  it('makes no code from text and loads none later', () => {
    for (const [file, module] of files) {
      const called = calledNames(module);
      for (const name of ['eval', 'Function', 'import', 'require'])
        expect({ file, calls: called.has(name) ? name : undefined }).toEqual({ file, calls: undefined });
    }
  });
});

describe('this test', () => {
  it('sees what it looks for', () => {
    const sample = parse(`
      import type { A } from 'types-only';
      import { type B } from 'types-only-too';
      import { type C, d } from 'values';
      import 'effects';
      import e from 'default';
      import * as f from 'namespace';
      export type { G } from 'types-only-three';
      export { type H } from 'types-only-four';
      export { i } from 'again';
      export * from 'everything';
      void import('later'); eval('1'); new Function('1'); require('x');
    `);
    expect(runtimeImports(sample)).toEqual(['values', 'effects', 'default', 'namespace', 'again', 'everything']);
    expect([...calledNames(sample)].sort()).toEqual(['Function', 'eval', 'import', 'require']);
  });
});
