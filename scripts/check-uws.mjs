/**
 * Compares the uWebSockets.js binaries in node_modules with `uws-binaries.sha256`: they are machine code by a third party,
 * and nothing else in the build would notice that they changed. `--present` accepts that some are missing, as in the
 * container image, which keeps one. Also a module, for the test.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));

/**
 * What is wrong, a sentence each; empty when every listed binary is as listed. `present` lets listed binaries be absent,
 * but not all of them.
 * @param {{ folder?: string, list?: string, present?: boolean }} [options]
 * @returns {string[]}
 */
export function checkBinaries({
  folder = join(here, '../node_modules/uWebSockets.js'),
  list = readFileSync(join(here, 'uws-binaries.sha256'), 'utf8'),
  present = false,
} = {}) {
  const problems = [];
  let seen = 0;
  for (const line of list.split('\n')) {
    const [, wanted, name] = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line) ?? [];
    if (wanted === undefined || name === undefined) {
      if (line !== '' && !line.startsWith('#')) problems.push(`the list has a line that is no checksum: ${line}`);
      continue;
    }
    const file = join(folder, name);
    if (!existsSync(file)) {
      if (!present) problems.push(`${name} is missing`);
      continue;
    }
    seen += 1;
    const found = createHash('sha256').update(readFileSync(file)).digest('hex');
    if (found !== wanted) problems.push(`${name} has SHA-256 ${found}, and ${wanted} was expected`);
  }
  if (seen === 0) problems.push(`none of the listed binaries is in ${folder}`);
  const own = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  if (process.platform === 'linux' && existsSync(folder) && readdirSync(folder).includes(own) && !list.includes(` ${own}`)) {
    problems.push(`${own}, which this Node loads, has no checksum in the list`);
  }
  return problems;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const problems = checkBinaries({ present: process.argv.includes('--present') });
  for (const problem of problems) console.error(`uWebSockets.js: ${problem}`);
  if (problems.length > 0) process.exit(1);
  console.log('uWebSockets.js: the binaries are the known ones');
}
