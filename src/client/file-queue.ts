/**
 * The offline queue in one append-only file of JSON lines (Node only). `append` resolves after `fdatasync`; writes that come together
 * share one. A torn last line is dropped at load, a bad line anywhere else refuses to load, so that nothing is silently lost. One process
 * at a time has the file. It is written anew, and put in place by a rename, at load and whenever most of it is no longer needed.
 */
import { type FileHandle, open, readFile, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Claim, claimFile } from './file-claim.ts';
import { linesOf, type QueueLine, readLines, textOf } from './queue-lines.ts';
import { firstCounter, type QueuedOp, type QueueStore } from './queue.ts';

interface PendingWrite {
  readonly line: QueueLine;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** How many numbers are reserved at once: a crash skips at most these. */
const reserve = 100;
/** The file is written anew when it has grown by this much, and to four times what is needed. */
const compactBytes = 1024 * 1024;

export class FileQueue implements QueueStore {
  readonly #path: string;
  readonly #claim: Claim;
  readonly #ops: Map<string, QueuedOp>;
  #file: FileHandle;
  /** Bytes of the file that are whole lines. */
  #size: number;
  #compactAt = 0;
  #next: number;
  #reserved: number;
  /** The reservation under way, and those it is for. */
  #reserving: Promise<void> | undefined;
  #pending: PendingWrite[] = [];
  #writing: Promise<void> | undefined;
  #busy = false;
  /** Why nothing can be written any more. */
  #broken: Error | undefined;
  #closed: Promise<void> | undefined;

  private constructor(path: string, claim: Claim, found: Found) {
    this.#path = path;
    this.#claim = claim;
    this.#ops = found.ops;
    this.#file = found.file;
    this.#size = found.size;
    this.#next = found.reserved + 1;
    this.#reserved = found.reserved;
    this.#planCompaction();
  }

  /** Opens the queue at `path`, making it when there is none. Errors: another process has it; a damaged line that is not the last. */
  static async open(path: string): Promise<FileQueue> {
    const real = await realpath(path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return join(await realpath(dirname(path)), basename(path));
    });
    const claim = await claimFile(real);
    try {
      return new FileQueue(real, claim, await openFile(real));
    } catch (error) {
      await claim.release();
      throw error;
    }
  }

  async load(): Promise<QueuedOp[]> {
    return [...this.#ops.values()];
  }

  append(op: QueuedOp): Promise<void> {
    return this.#write({ op });
  }

  /** Not waited for by the disk: what comes back after a power cut is pushed again and recognised. */
  remove(opIds: readonly string[]): Promise<void> {
    return this.#write({ done: opIds });
  }

  async nextCounter(): Promise<number> {
    const counter = this.#next++;
    while (counter > this.#reserved) {
      const upTo = counter + reserve;
      this.#reserving ??= this.#write({ counter: upTo }).finally(() => {
        this.#reserving = undefined;
      });
      await this.#reserving;
    }
    return counter;
  }

  /** Writes what is under way and lets the file go. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#writing;
    this.#broken ??= new Error('the queue is closed');
    await this.#file.close();
    await this.#claim.release();
  }

  #write(line: QueueLine): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(new Error('the queue is closed'));
    return new Promise((resolve, reject) => {
      this.#pending.push({ line, resolve, reject });
      if (!this.#busy) this.#writing = this.#writeAll();
    });
  }

  /** What came while a write was under way goes into the next one, together. */
  async #writeAll(): Promise<void> {
    this.#busy = true;
    while (this.#pending.length > 0) {
      const group = this.#pending;
      this.#pending = [];
      try {
        await this.#append(group.map(({ line }) => line));
        for (const { line, resolve } of group) {
          this.#apply(line);
          resolve();
        }
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
      if (this.#size >= this.#compactAt && this.#broken === undefined) await this.#compact();
    }
    // In the turn in which nothing was pending: what comes after it starts the next round.
    this.#busy = false;
  }

  #apply(line: QueueLine): void {
    if ('op' in line) this.#ops.set(line.op.op_id, line.op);
    else if ('done' in line) for (const id of line.done) this.#ops.delete(id);
    else this.#reserved = Math.max(this.#reserved, line.counter);
  }

  async #append(lines: readonly QueueLine[]): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const bytes = Buffer.from(textOf(lines));
    try {
      await this.#file.appendFile(bytes);
    } catch (error) {
      // A part of it may be there, and the next line would be joined to it.
      await this.#file.truncate(this.#size).catch((cause: unknown) => this.#breakOff(cause));
      throw error;
    }
    this.#size += bytes.length;
    if (lines.every((line) => 'done' in line)) return;
    try {
      await this.#file.datasync();
    } catch (error) {
      // What is on the disk is not known, and asking again would not tell.
      throw this.#breakOff(error);
    }
  }

  #breakOff(cause: unknown): Error {
    this.#broken = new Error(`the offline queue ${this.#path} cannot be written any more`, { cause });
    return this.#broken;
  }

  #planCompaction(): void {
    this.#compactAt = Math.max(4 * this.#size, this.#size + compactBytes);
  }

  async #compact(): Promise<void> {
    const fresh = await writeFresh(this.#path, linesOf(this.#reserved, this.#ops.values())).catch(() => undefined);
    // No room for a second file, say: the first is as good, and is tried again when it has grown.
    if (fresh !== undefined) {
      const old = this.#file;
      try {
        await putInPlace(this.#path);
        this.#file = fresh.file;
        this.#size = fresh.size;
        await old.close();
      } catch (error) {
        // Which of the two files a reader will find is not known.
        this.#breakOff(error);
      }
    }
    this.#planCompaction();
  }
}

interface Fresh {
  readonly file: FileHandle;
  readonly size: number;
}

interface Found extends Fresh {
  readonly ops: Map<string, QueuedOp>;
  readonly reserved: number;
}

/** Reads the file and writes it anew: what a crash cut short is gone then, and the next line begins on its own. */
async function openFile(path: string): Promise<Found> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const { ops, reserved = firstCounter() - 1 } = readLines(text, path);
  const fresh = await writeFresh(path, linesOf(reserved, ops.values()));
  try {
    await putInPlace(path);
  } catch (error) {
    await fresh.file.close();
    throw error;
  }
  return { ...fresh, ops, reserved };
}

/** Writes lines to a file beside `path`, down to the disk. Errors: nothing of it is left. */
async function writeFresh(path: string, lines: readonly QueueLine[]): Promise<Fresh> {
  const bytes = Buffer.from(textOf(lines));
  await rm(freshPath(path), { force: true });
  // Values are the user's; nobody else on the machine reads them.
  const file = await open(freshPath(path), 'ax', 0o600);
  try {
    await file.appendFile(bytes);
    await file.sync();
    return { file, size: bytes.length };
  } catch (error) {
    await file.close();
    await rm(freshPath(path), { force: true });
    throw error;
  }
}

/** Gives the file that was written beside `path` its name, down to the disk. */
async function putInPlace(path: string): Promise<void> {
  await rename(freshPath(path), path);
  // Windows opens no folders, and keeps names by itself.
  if (process.platform === 'win32') return;
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function freshPath(path: string): string {
  return `${path}.new`;
}
