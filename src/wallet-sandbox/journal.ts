/**
 * The sandbox's journal: one line a change, `crc32 SPACE json`, written in groups (all that one turn of the event loop
 * gathered, one `write`). A line is with the kernel before anybody is told, so it survives a SIGKILL of the process;
 * with `fsync` it is on the disk too and survives a power cut.
 *
 * At start the lines are replayed. A bad tail (a write that was cut short) is cut off; a bad line with good ones behind
 * it is damage, and the journal refuses to open rather than forget what was booked.
 */
import { closeSync, fdatasync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

export interface JournalOptions {
  /** Undefined keeps nothing: an in-memory sandbox. */
  readonly dataDir?: string | undefined;
  readonly fsync?: boolean | undefined;
}

interface Batch {
  readonly lines: string[];
  readonly written: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class LedgerJournal {
  readonly #fd: number | undefined;
  readonly #fsync: boolean;
  /** Gathers lines. */
  #open: Batch | undefined;
  /** Is being written. */
  #running: Batch | undefined;
  #failed: Error | undefined;

  private constructor(fd: number | undefined, fsync: boolean) {
    this.#fd = fd;
    this.#fsync = fsync;
  }

  /** Opens the journal in `dataDir`, giving each stored line to `replay` in order. Errors: `Error` for damage before the tail. */
  static open(options: JournalOptions, replay: (line: unknown) => void): LedgerJournal {
    if (options.dataDir === undefined) return new LedgerJournal(undefined, false);
    mkdirSync(options.dataDir, { recursive: true });
    const file = join(options.dataDir, 'ledger.jsonl');
    const fd = openSync(file, 'a+', 0o600);
    try {
      ftruncateSync(fd, readLines(fd, file, replay));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return new LedgerJournal(fd, options.fsync ?? false);
  }

  /** Queues one change. Order: as called. Errors: the write error that stopped the journal; it takes nothing after one. */
  append(line: unknown): void {
    if (this.#failed !== undefined) throw this.#failed;
    if (this.#fd === undefined) return;
    this.#open ??= newBatch();
    this.#open.lines.push(encodeLine(line));
    if (this.#running === undefined && this.#open.lines.length === 1) setImmediate(() => this.#flush());
  }

  /** Resolves when all that was appended so far is written; undefined when it is already. */
  settled(): Promise<void> | undefined {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    return (this.#open ?? this.#running)?.written;
  }

  /** Forgets everything. Nothing may be waiting: await `settled` first. */
  reset(): void {
    if (this.#fd !== undefined) ftruncateSync(this.#fd, 0);
  }

  async close(): Promise<void> {
    await this.settled();
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #flush(): void {
    const batch = this.#open;
    if (batch === undefined || this.#fd === undefined) return;
    this.#open = undefined;
    this.#running = batch;
    try {
      writeAll(this.#fd, Buffer.from(batch.lines.join('')));
    } catch (error) {
      this.#stop(error);
      return;
    }
    if (this.#fsync) fdatasync(this.#fd, (error) => (error === null ? this.#written(batch) : this.#stop(error)));
    else this.#written(batch);
  }

  #written(batch: Batch): void {
    this.#running = undefined;
    batch.resolve();
    if (this.#open !== undefined) setImmediate(() => this.#flush());
  }

  /** Memory is ahead of the disk now; answering anything would promise what a restart forgets. */
  #stop(cause: unknown): void {
    this.#failed = new Error('the ledger journal cannot be written', { cause });
    this.#running?.reject(this.#failed);
    this.#open?.reject(this.#failed);
    this.#running = undefined;
    this.#open = undefined;
  }
}

function newBatch(): Batch {
  let resolve: () => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const written = new Promise<void>((ok, fail) => {
    resolve = ok;
    reject = fail;
  });
  // Whoever awaits it sees the error; a batch nobody awaits must not end the process.
  written.catch(() => undefined);
  return { lines: [], written, resolve, reject };
}

function encodeLine(line: unknown): string {
  const json = JSON.stringify(line);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

function decodeLine(text: string): { readonly line: unknown } | undefined {
  const json = text.slice(9);
  if (text[8] !== ' ' || text.slice(0, 8) !== crc32(json).toString(16).padStart(8, '0')) return undefined;
  return { line: JSON.parse(json) };
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let from = 0; from < bytes.length; ) from += writeSync(fd, bytes, from);
}

/** Replays the good lines; gives the offset behind the last one. */
function readLines(fd: number, file: string, replay: (line: unknown) => void): number {
  const chunk = Buffer.alloc(1024 * 1024);
  let rest = Buffer.alloc(0);
  let position = 0;
  let good = 0;
  let bad = false;
  for (;;) {
    const bytes = readSync(fd, chunk, 0, chunk.length, position);
    if (bytes === 0) return good;
    position += bytes;
    const data = Buffer.concat([rest, chunk.subarray(0, bytes)]);
    let from = 0;
    for (let end = data.indexOf(10, from); end !== -1; end = data.indexOf(10, from)) {
      const decoded = decodeLine(data.toString('utf8', from, end));
      if (decoded === undefined) bad = true;
      else if (bad) throw new Error(`${file} is damaged at byte ${good}, with good lines behind it`);
      else {
        replay(decoded.line);
        good += end + 1 - from;
      }
      from = end + 1;
    }
    rest = Buffer.from(data.subarray(from));
  }
}
