/** The lines of a queue file: what each says, and what a file of them adds up to. Pure. */
import { counterOf, type QueuedOp } from './queue.ts';

/** An operation was queued; operations were settled; numbers up to this one are reserved. */
export type QueueLine = { readonly op: QueuedOp } | { readonly done: readonly string[] } | { readonly counter: number };

export interface QueueContent {
  readonly ops: Map<string, QueuedOp>;
  /** The highest number that may have been used; undefined when no line tells. */
  readonly reserved: number | undefined;
}

/** The text of lines, each with its end. */
export function textOf(lines: readonly QueueLine[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

/** The shortest lines that say the same. */
export function linesOf(reserved: number, ops: Iterable<QueuedOp>): QueueLine[] {
  return [{ counter: reserved }, ...[...ops].map((op) => ({ op }))];
}

/**
 * What a file holds. What follows the last line's end is a write that a crash cut short, so nobody was told that it was kept, and it
 * is left out. Errors: any other line that cannot be read; the sentence names it.
 */
export function readLines(text: string, path: string): QueueContent {
  const lines = text.split('\n');
  lines.pop();
  const ops = new Map<string, QueuedOp>();
  let reserved: number | undefined;
  for (const [index, raw] of lines.entries()) {
    const line = parse(raw);
    if (line === undefined) {
      throw new Error(`the offline queue ${path} is damaged at line ${index + 1}; remove that line to go on without what it held`);
    }
    if ('op' in line) {
      ops.set(line.op.op_id, line.op);
      reserved = Math.max(reserved ?? 0, counterOf(line.op.op_id));
    } else if ('done' in line) for (const id of line.done) ops.delete(id);
    else reserved = Math.max(reserved ?? 0, line.counter);
  }
  return { ops, reserved };
}

function parse(raw: string): QueueLine | undefined {
  let line: unknown;
  try {
    line = JSON.parse(raw);
  } catch {
    // The caller says which line it is.
    return undefined;
  }
  if (typeof line !== 'object' || line === null) return undefined;
  const { op, done, counter } = line as { readonly op?: unknown; readonly done?: unknown; readonly counter?: unknown };
  if (op !== undefined) return isOp(op) ? { op } : undefined;
  if (Array.isArray(done)) return done.every((id) => typeof id === 'string') ? { done } : undefined;
  return Number.isSafeInteger(counter) ? { counter: counter as number } : undefined;
}

function isOp(value: unknown): value is QueuedOp {
  if (typeof value !== 'object' || value === null) return false;
  const { op_id: opId, key, kind, value: text, client_timestamp: at } = value as Partial<Record<keyof QueuedOp, unknown>>;
  if (typeof opId !== 'string' || !Number.isSafeInteger(counterOf(opId)) || typeof key !== 'string' || typeof at !== 'number') return false;
  return kind === 'remove' || (kind === 'set' && typeof text === 'string');
}
