/**
 * Builds `dist/`: compiles `src/`, copies what is not TypeScript beside it, removes what has no source any more, and makes the
 * command line executable. Fast when nothing changed, so `npm run dev` always builds.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const src = join(root, 'src');
const dist = join(root, 'dist');

/** @param {string} folder @returns {string[]} the files below, relative */
function filesOf(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(folder, path)).isFile());
}

const compiler = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (compiler.status !== 0) process.exit(compiler.status ?? 1);

const sources = filesOf(src);
const kept = new Set(['.tsbuildinfo']);
for (const path of sources) {
  if (path.endsWith('.ts')) {
    const stem = path.slice(0, -'.ts'.length);
    for (const suffix of ['.js', '.js.map', '.d.ts']) kept.add(stem + suffix);
  } else {
    kept.add(path);
    const target = join(dist, path);
    mkdirSync(dirname(target), { recursive: true });
    if (!existsSync(target) || statSync(target).mtimeMs < statSync(join(src, path)).mtimeMs) copyFileSync(join(src, path), target);
  }
}
// A module that was deleted or renamed must not live on in the output.
for (const path of filesOf(dist)) if (!kept.has(path)) rmSync(join(dist, path));

const main = join(dist, 'main.js');
if (existsSync(main)) chmodSync(main, 0o755);
