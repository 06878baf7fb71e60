/** Asks the installed HAProxy what it thinks of a configuration. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findBalancer } from '../../../scripts/lib/balancer.ts';

/** Its alerts and warnings; none for a good one. */
export function haproxySays(config: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'tmcp-cfg-'));
  try {
    const file = join(folder, 'haproxy.cfg');
    writeFileSync(file, config);
    const run = spawnSync(findBalancer('haproxy') as string, ['-c', '-f', file], { encoding: 'utf8' });
    const said = run.stderr.split('\n').filter((line) => /\[(ALERT|WARNING)\]/.test(line));
    return run.status === 0 ? said : [...said, `status ${run.status}`];
  } finally {
    rmSync(folder, { recursive: true });
  }
}
