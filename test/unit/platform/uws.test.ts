/** The binary of uWebSockets.js: it is the known one, and a machine that cannot load it is told what to do. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkBinaries } from '../../../scripts/check-uws.mjs';
import { explainLoadFailure, loadUws, uws } from '../../../src/transport/uws.ts';

describe('uWebSockets.js', () => {
  it('loads and makes an app', () => {
    expect(typeof uws.App).toBe('function');
  });

  it('has the binaries whose checksums are kept', () => {
    expect(checkBinaries()).toEqual([]);
  });

  it('fails with one sentence that names the machine and the ways out', () => {
    const load = (): never => {
      throw new Error("only glibc\n\nError: /lib/libc.so.6: version `GLIBC_2.38' not found");
    };
    expect(() => loadUws(load)).toThrow(new RegExp(`Node ${process.versions.node}.*npm install.*GLIBC_2\\.38' not found$`));
  });

  it.each([
    [{ node: '22.1.0', abi: '127', platform: 'linux', arch: 'x64', glibc: '2.36' }, 'Node 22.1.0, ABI 127, linux-x64, glibc 2.36'],
    [{ node: '20.1.0', abi: '115', platform: 'linux', arch: 'x64', glibc: undefined }, 'no glibc (musl is not supported)'],
    [{ node: '20.1.0', abi: '115', platform: 'darwin', arch: 'arm64', glibc: undefined }, 'darwin-arm64)'],
  ])('says where it failed: %o', (site, words) => {
    const sentence = explainLoadFailure(site, 'cause');
    expect(sentence).toContain(words);
    expect(sentence).not.toContain('\n');
  });
});

describe('checkBinaries', () => {
  let folder: string;
  const sum = (text: string): string => createHash('sha256').update(text).digest('hex');
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tmcp-uws-'));
    writeFileSync(join(folder, 'a.node'), 'good');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is content with a file as listed', () => {
    expect(checkBinaries({ folder, list: `# known\n${sum('good')}  a.node\n` })).toEqual([]);
  });

  it('finds a changed file', () => {
    expect(checkBinaries({ folder, list: `${sum('other')}  a.node` })[0]).toContain('a.node has SHA-256');
  });

  it('finds a missing file, unless only present ones are asked for', () => {
    const list = `${sum('good')}  a.node\n${sum('gone')}  b.node`;
    expect(checkBinaries({ folder, list })).toEqual(['b.node is missing']);
    expect(checkBinaries({ folder, list, present: true })).toEqual([]);
  });

  it('is not content with a list that checks nothing', () => {
    expect(checkBinaries({ folder, list: '' })).toHaveLength(1);
    expect(checkBinaries({ folder, list: 'nonsense' })).toHaveLength(2);
  });
});
