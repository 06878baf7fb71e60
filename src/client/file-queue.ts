/**
 * The offline queue in one append-only file of JSON lines (Node only). `append` resolves after `fdatasync`; a torn last line
 * is dropped at load, a bad line anywhere else refuses to load, so that nothing is silently lost. The file is compacted at load.
 */
import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import type { QueuedOp, QueueStore } from './queue.ts';

type Line = { readonly op: QueuedOp } | { readonly done: readonly string[] } | { readonly counter: number };

/** How many counters are reserved at once: a crash skips at most these. */
const reserve = 100;

export class FileQueue implements QueueStore {
  readonly #path: string;
  readonly #ops = new Map<string, QueuedOp>();
  #file: FileHandle | undefined;
  #next = 1;
  #reservedTo = 0;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /** Opens the queue at `path`, making it when there is none. Errors: a damaged line that is not the last. */
  static async open(path: string): Promise<FileQueue> {
    const queue = new FileQueue(path);
    await queue.#start();
    return queue;
  }

  async load(): Promise<QueuedOp[]> {
    return [...this.#ops.values()];
  }

  append(op: QueuedOp): Promise<void> {
    this.#ops.set(op.op_id, op);
    return this.#write({ op });
  }

  remove(opIds: readonly string[]): Promise<void> {
    for (const id of opIds) this.#ops.delete(id);
    return this.#write({ done: opIds });
  }

  async nextCounter(): Promise<number> {
    const counter = this.#next++;
    if (counter > this.#reservedTo) {
      this.#reservedTo = counter + reserve;
      await this.#write({ counter: this.#reservedTo });
    }
    return counter;
  }

  async close(): Promise<void> {
    await this.#tail;
    await this.#file?.close();
    this.#file = undefined;
  }

  /** Lines are written one after the other; each caller waits for its own. */
  #write(line: Line): Promise<void> {
    const done = this.#tail.then(async () => {
      if (this.#file === undefined) throw new Error('the queue is closed');
      await this.#file.write(`${JSON.stringify(line)}\n`);
      await this.#file.datasync();
    });
    this.#tail = done.catch(() => {});
    return done;
  }

  async #start(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const lines = text.split('\n');
    // What follows the last newline is a write that a crash cut short; it was never acknowledged.
    lines.pop();
    for (const [index, raw] of lines.entries()) {
      let line: Line;
      try {
        line = JSON.parse(raw) as Line;
      } catch (cause) {
        throw new Error(`the offline queue ${this.#path} is damaged at line ${index + 1}`, { cause });
      }
      if ('op' in line) this.#ops.set(line.op.op_id, line.op);
      else if ('done' in line) for (const id of line.done) this.#ops.delete(id);
      else this.#next = Math.max(this.#next, line.counter + 1);
    }
    this.#reservedTo = this.#next - 1;
    const fresh = `${this.#path}.new`;
    const file = await open(fresh, 'w');
    const kept: Line[] = [{ counter: this.#reservedTo }, ...[...this.#ops.values()].map((op) => ({ op }))];
    await file.write(kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await file.datasync();
    await file.close();
    await rename(fresh, this.#path);
    this.#file = await open(this.#path, 'a');
  }
}
