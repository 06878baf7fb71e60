/**
 * Writes the files that are made from code; with `--check` writes nothing and fails when one of them is not what the code
 * says. Run by `npm run docs`, and by `npm run check`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeConfig } from '../src/config-text.ts';
import { buildOpenApi } from '../src/transport/http/openapi.ts';
import { buildAsyncApi } from '../src/transport/live/asyncapi.ts';
import { buildTweenPayOpenApi } from '../src/transport/tweenpay/openapi.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const json = (document: unknown): string => `${JSON.stringify(document, null, 2)}\n`;

/** Each made file and what makes it. */
const made: Readonly<Record<string, () => string>> = {
  'docs/config.md': () => describeConfig().markdown,
  '.env.example': () => describeConfig().envExample,
  'docs/api/openapi.json': () => json(buildOpenApi()),
  'docs/api/asyncapi.json': () => json(buildAsyncApi()),
  'docs/api/tweenpay.openapi.json': () => json(buildTweenPayOpenApi()),
};

const check = process.argv.includes('--check');
const stale: string[] = [];
for (const [path, make] of Object.entries(made)) {
  const file = join(root, path);
  const wanted = make();
  if (readIfThere(file) === wanted) continue;
  stale.push(path);
  if (check) continue;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, wanted);
}

if (check && stale.length > 0) {
  process.stderr.write(`not what the code says: ${stale.join(', ')}; run npm run docs\n`);
  process.exit(1);
}
process.stdout.write(stale.length === 0 ? `all ${Object.keys(made).length} made files are fresh\n` : `wrote ${stale.join(', ')}\n`);

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
