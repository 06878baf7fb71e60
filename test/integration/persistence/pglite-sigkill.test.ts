/** PGlite's files after SIGKILL: everything that was flushed is there, and the lock of the dead process is taken over. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openPglite } from '../../../src/persistence/pglite/open.ts';

const folder = mkdtempSync(join(tmpdir(), 'tmcp-pglite-'));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the writer until it has said `lines` lines, then kills it; the highest seq of each address that it said. */
async function writeAndKill(dataDir: string, lines: number): Promise<Map<string, number>> {
  const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'pglite-child.ts'), dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let killed = false;
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    text += chunk;
    if (!killed && text.split('\n').length > lines) killed = child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('close', resolve));
  const last = new Map<string, number>();
  // The last piece may be a line that was cut.
  for (const line of text.split('\n').slice(0, -1)) {
    const [address, seq] = line.split(' ');
    last.set(address!, Number(seq));
  }
  return last;
}

describe('a PGlite data folder', () => {
  it('[I1] keeps everything flushed through three SIGKILLs', async () => {
    const dataDir = join(folder, 'data');
    const said = new Map<string, number>();
    for (let round = 0; round < 3; round++) {
      const last = await writeAndKill(dataDir, 400);
      expect(last.size).toBeGreaterThan(0);
      for (const [address, seq] of last) {
        expect(seq).toBeGreaterThan(said.get(address) ?? 0);
        said.set(address, seq);
      }
    }
    const db = await openPglite(dataDir);
    const rows = await db.query<{ address: string; seq: number; records: number }>(
      'select address, a.seq, count(r.seq) as records from actors a join records r using (address) group by 1, 2',
    );
    await db.close();
    for (const [address, seq] of said) {
      const row = rows.find((one) => one.address === address);
      expect(row?.seq).toBeGreaterThanOrEqual(seq);
      expect(row?.records).toBe(row?.seq);
    }
  }, 60_000);
});
