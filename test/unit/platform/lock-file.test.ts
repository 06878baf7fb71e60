/** The lock file is whole: `npm ci` refuses one that lacks an optional binary of some platform, on every platform. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Locked {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly hasInstallScript?: boolean;
  readonly engines?: { readonly node?: string };
}

const root = resolve(import.meta.dirname, '../../..');
const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'));
const { packages } = read('package-lock.json') as { readonly packages: Readonly<Record<string, Locked>> };
const manifest = read('package.json') as {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
};

/** Where Node would find `name` from the package at `from`, as npm lays packages out. */
function lookUp(from: string, name: string): Locked | undefined {
  for (let base = from; ; base = base.slice(0, Math.max(0, base.lastIndexOf('node_modules/') - 1))) {
    const found = packages[base === '' ? `node_modules/${name}` : `${base}/node_modules/${name}`];
    if (found !== undefined || base === '') return found;
  }
}

describe('package-lock.json', () => {
  it('has an entry for every dependency, optional ones of other platforms among them', () => {
    const missing = Object.entries(packages).flatMap(([from, locked]) =>
      Object.keys({ ...locked.dependencies, ...locked.optionalDependencies })
        .filter((name) => lookUp(from, name) === undefined)
        .map((name) => `${name}, for ${from}`),
    );
    expect(missing).toEqual([]);
  });

  it('holds only packages that take Node 20', () => {
    const newer = Object.entries(packages).filter(([, locked]) =>
      /^(>=|\^|~)?\s*(2[1-9]|[3-9]\d)(\.[\d.x]+)?$/.test(locked.engines?.node ?? ''),
    );
    expect(newer.map(([name, locked]) => `${name} wants Node ${locked.engines?.node}`)).toEqual([]);
  });

  it('holds no package whose install script was neither allowed nor refused', () => {
    const scripted = Object.entries(packages)
      .filter(([, locked]) => locked.hasInstallScript === true)
      .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
    expect(scripted.filter((name) => manifest.allowScripts[name] === undefined)).toEqual([]);
  });
});

describe('package.json', () => {
  it('pins every dependency exactly', () => {
    const loose = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
      ([, range]) => !/^(npm:[a-z]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(range),
    );
    expect(loose).toEqual([]);
  });
});
