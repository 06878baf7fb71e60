/**
 * Keeps two processes out of one PGlite data folder: PGlite has no lock of its own, and two engines on the same files
 * destroy them. The lock is a file beside the folder that names its holder; a holder that was killed is recognised.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** How long a holder that is on its way out is waited for. */
const defaultWaitMs = 10_000;
const pollMs = 100;

/**
 * Takes the lock of `dataDir`, waiting up to `waitMs` for its holder; the returned function gives it back.
 * Errors: Error that names the process, when it still runs then.
 */
export function lockDataDir(dataDir: string, waitMs = defaultWaitMs): () => void {
  const path = `${dataDir}.lock`;
  mkdirSync(dirname(path), { recursive: true });
  const mine = identityOf(process.pid);
  for (let waitedMs = 0; ; waitedMs += pollMs) {
    if (tryCreate(path, mine)) return () => release(path, mine);
    const holder = readOr(path, '');
    if (!isAlive(holder)) {
      rmSync(path, { force: true });
      if (tryCreate(path, mine)) {
        // Another process may have found the same dead holder and removed our file in place of the old one.
        pause(pollMs);
        if (readOr(path, '') === mine) return () => release(path, mine);
      }
    } else if (waitedMs >= waitMs) {
      throw new Error(`The data folder ${dataDir} is in use by process ${holder.split(' ')[0]}. Stop it, or choose another folder.`);
    }
    pause(pollMs);
  }
}

function release(path: string, mine: string): void {
  if (readOr(path, '') === mine) rmSync(path, { force: true });
}

function tryCreate(path: string, content: string): boolean {
  try {
    writeFileSync(path, content, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Process id and, where the system tells it, the tick at which it started: a process id alone is given again, in containers at once. */
function identityOf(pid: number): string {
  const stat = readOr(`/proc/${pid}/stat`, '');
  // The second field is the command in brackets and may hold blanks; the start tick is the 20th after it.
  const startTick = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${pid} ${startTick}`;
}

function isAlive(holder: string): boolean {
  const pid = Number(holder.split(' ')[0]);
  // An empty file is a holder that was killed between making and filling it.
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = identityOf(pid);
  return now.endsWith(' ') || now === holder;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** Blocks: this runs at start, before there is anything to serve, and a timer would not hold the process. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
