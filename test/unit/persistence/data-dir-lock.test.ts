import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { lockDataDir } from '../../../src/persistence/pglite/data-dir-lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'tmcp-lock-'));
const dataDir = join(folder, 'made', 'on', 'the', 'way', 'data');
const lock = `${dataDir}.lock`;
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the lock of a data folder', () => {
  it('is refused while its holder runs, and free after', () => {
    const unlock = lockDataDir(dataDir);
    expect(readFileSync(lock, 'utf8')).toMatch(new RegExp(`^${process.pid} `));
    expect(() => lockDataDir(dataDir, 0)).toThrow(`process ${process.pid}`);
    unlock();
    expect(existsSync(lock)).toBe(false);
    lockDataDir(dataDir, 0)();
  });

  it.each([
    ['a process that is gone', '4194304 1'],
    ['a process that was killed before it had written its name', ''],
    ['an earlier process whose number was given again', `${process.pid} 1`],
  ])('is taken over from %s', (_, holder) => {
    lockDataDir(dataDir)();
    writeFileSync(lock, holder);
    const unlock = lockDataDir(dataDir, 0);
    expect(readFileSync(lock, 'utf8')).toMatch(new RegExp(`^${process.pid} `));
    unlock();
  });

  it('is not given back by one who has lost it', () => {
    const unlock = lockDataDir(dataDir);
    writeFileSync(lock, '1 7');
    unlock();
    expect(readFileSync(lock, 'utf8')).toBe('1 7');
  });
});
