/** `tmcp keys`: the secrets of a new installation as files that only their owner can read. It reads and changes no configuration. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { newSecret } from '../ids.ts';
import { generateSigningKey, loadSigningKeys } from '../transport/tokens/signing-keys.ts';
import { StartError } from './explain.ts';

/** Writes the files into `folder` and prints the variables that name them. Errors: one sentence when one of the files exists. */
export async function runKeys(folder: string): Promise<void> {
  const { privateJwk } = await loadSigningKeys(await generateSigningKey());
  const files = {
    TMCP_SIGNING_KEYS: { name: 'signing-keys.json', content: JSON.stringify({ keys: [privateJwk] }) },
    TMCP_MASTER_KEY: { name: 'master-key', content: `k1:${newSecret()}` },
    TMCP_PEPPER: { name: 'pepper', content: newSecret() },
    TMCP_COOKIE_KEYS: { name: 'cookie-keys', content: newSecret() },
  };
  const dir = resolve(folder);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const there = Object.values(files).find(({ name }) => existsSync(join(dir, name)));
  // A key that is overwritten takes what it protects with it.
  if (there !== undefined) throw new StartError(`${join(dir, there.name)} exists; keys are never overwritten. Choose another folder.`);
  for (const [variable, { name, content }] of Object.entries(files)) {
    writeFileSync(join(dir, name), `${content}\n`, { flag: 'wx', mode: 0o600 });
    process.stdout.write(`${variable}_FILE=${join(dir, name)}\n`);
  }
}
