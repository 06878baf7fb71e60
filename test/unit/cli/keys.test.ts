/** `tmcp keys`: files that `tmcp serve` takes, and that nobody else can read. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config.ts';

const root = mkdtempSync(join(tmpdir(), 'tmcp-keys-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The command runs in a process of its own: it prints. */
function keys(folder: string) {
  const script = `import { runKeys } from ${JSON.stringify(new URL('../../../src/cli/keys.ts', import.meta.url).href)}; await runKeys(process.argv[1]);`;
  return spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script, folder], { encoding: 'utf8' });
}

describe('runKeys', () => {
  it('prints variables with which the configuration of serve lacks no key', () => {
    const { stdout, status } = keys(join(root, 'new'));
    expect(status).toBe(0);
    const env = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split('=', 2) as [string, string]),
    );
    const config = loadConfig(
      {
        ...env,
        TMCP_PUBLIC_URL: 'https://tmcp.example',
        DATABASE_URL: 'postgres://db.example/tmcp',
        TMCP_WALLET_URL: 'https://wallet.example',
        TMCP_WALLET_TOKEN: 't'.repeat(16),
      },
      'serve',
    );
    expect(config.masterKeys?.[0]).toMatchObject({ id: 'k1' });
    expect(config.signingKeys).toHaveLength(1);
  });

  it('makes files that only their owner reads', () => {
    const folder = join(root, 'modes');
    keys(folder);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toHaveLength(4);
  });

  it('leaves a key that exists, and makes none beside it', () => {
    const folder = mkdtempSync(join(root, 'there-'));
    writeFileSync(join(folder, 'pepper'), 'mine');
    const { status, stderr } = keys(folder);
    expect(status).not.toBe(0);
    expect(stderr).toContain('never overwritten');
    expect(readdirSync(folder)).toEqual(['pepper']);
    expect(readFileSync(join(folder, 'pepper'), 'utf8')).toBe('mine');
  });
});
