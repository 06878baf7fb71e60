import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LedgerJournal } from '../../../src/wallet-sandbox/journal.ts';

describe('ledger journal', () => {
  let dataDir = '';
  const file = () => join(dataDir, 'ledger.jsonl');
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'tmcp-journal-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  async function write(...lines: unknown[]): Promise<void> {
    const journal = LedgerJournal.open({ dataDir }, () => undefined);
    for (const line of lines) journal.append(line);
    await journal.close();
  }

  async function readBack(): Promise<unknown[]> {
    const lines: unknown[] = [];
    await LedgerJournal.open({ dataDir }, (line) => lines.push(line)).close();
    return lines;
  }

  it.each([false, true])('gives back what was written, in order (fsync %s)', async (fsync) => {
    const journal = LedgerJournal.open({ dataDir, fsync }, () => undefined);
    journal.append({ n: 1 });
    const first = journal.settled();
    journal.append({ n: 2, text: 'für £5 \n "x"' });
    await first;
    journal.append({ n: 3 });
    await journal.close();
    expect(await readBack()).toEqual([{ n: 1 }, { n: 2, text: 'für £5 \n "x"' }, { n: 3 }]);
  });

  it('has the line in the file when settled resolves, and nothing to wait for then', async () => {
    const journal = LedgerJournal.open({ dataDir }, () => undefined);
    journal.append({ n: 1 });
    expect(readFileSync(file(), 'utf8')).toBe('');
    await journal.settled();
    expect(readFileSync(file(), 'utf8')).toContain('{"n":1}');
    expect(journal.settled()).toBeUndefined();
    await journal.close();
  });

  it('cuts off a tail that was cut short, wherever the cut fell, and goes on behind what is left', async () => {
    await write({ n: 1 }, { n: 2 });
    const whole = readFileSync(file());
    const firstLine = whole.indexOf(10) + 1;
    for (let length = firstLine; length < whole.length; length += 1) {
      writeFileSync(file(), whole);
      truncateSync(file(), length);
      expect(await readBack()).toEqual([{ n: 1 }]);
      await write({ n: 3 });
      expect(await readBack()).toEqual([{ n: 1 }, { n: 3 }]);
    }
  });

  it('cuts off a tail of zeros or nonsense lines', async () => {
    await write({ n: 1 });
    appendFileSync(file(), `${'\0'.repeat(512)}\n00000000 {"n":2}\n`);
    expect(await readBack()).toEqual([{ n: 1 }]);
  });

  it('refuses to open when a damaged line has good ones behind it', async () => {
    await write({ n: 1 }, { n: 2 }, { n: 3 });
    const text = readFileSync(file(), 'utf8').replace('{"n":2}', '{"n":7}');
    writeFileSync(file(), text);
    await expect(readBack()).rejects.toThrow(/damaged at byte 17/);
    expect(readFileSync(file(), 'utf8')).toBe(text);
  });

  it('reads lines across its chunks', async () => {
    const long = 'x'.repeat(700_000);
    await write({ n: 1, long }, { n: 2, long }, { n: 3, long });
    expect((await readBack()).map((line) => (line as { n: number }).n)).toEqual([1, 2, 3]);
  });

  it('keeps nothing without a folder', async () => {
    const journal = LedgerJournal.open({}, () => undefined);
    journal.append({ n: 1 });
    expect(journal.settled()).toBeUndefined();
    await journal.close();
  });
});
