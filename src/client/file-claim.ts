/**
 * A claim on a file by one process (Node only): a file beside it whose name says which process. Each process makes its own claim and
 * then looks for those of others, so of two that come at once at most one goes on. A claim of a process that is gone is cleared away:
 * its name is its own, so nobody else's can be meant.
 */
import { open, readdir, readFile, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Stands where the system does not tell a figure. */
const unknown = '0';

export interface Claim {
  release(): Promise<void>;
}

/** Claims `path`. Errors: another process has it, or this one has it already; the sentence says which and what to do. */
export async function claimFile(path: string): Promise<Claim> {
  const folder = dirname(path);
  const prefix = `${basename(path)}.lock.`;
  const own = `${prefix}${process.pid}.${await startOf(process.pid)}.${await bootId()}`;
  const ownPath = join(folder, own);
  try {
    await (await open(ownPath, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw taken(path, process.pid, ownPath);
  }
  try {
    for (const name of await readdir(folder)) {
      if (!name.startsWith(prefix) || name === own) continue;
      const pid = await ownerOf(name.slice(prefix.length));
      if (pid !== undefined) throw taken(path, pid, join(folder, name));
      await remove(join(folder, name));
    }
  } catch (error) {
    await remove(ownPath);
    throw error;
  }
  return { release: () => remove(ownPath) };
}

/** The process that a claim is of, if it is still running. */
async function ownerOf(claim: string): Promise<number | undefined> {
  const [pid, start = unknown, boot = unknown] = claim.split('.');
  const number = Number(pid);
  if (!Number.isSafeInteger(number) || number <= 0) return undefined;
  if (differ(boot, await bootId()) || !isRunning(number)) return undefined;
  // A number is given to another process some time after its first is gone.
  return differ(start, await startOf(number)) ? undefined : number;
}

/** Whether two figures are both known and not the same. In doubt a claim holds. */
function differ(a: string, b: string): boolean {
  return a !== unknown && b !== unknown && a !== b;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process began, in ticks since boot. Where the system does not say, its number alone must do. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // Field 22; the second is the command in brackets and may hold anything.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? unknown;
}

/** Which start of the machine this is, where the system says. */
async function bootId(): Promise<string> {
  const id = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => unknown);
  return id.trim();
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

function taken(path: string, pid: number, claim: string): Error {
  const who = pid === process.pid ? 'this process' : `process ${pid}`;
  return new Error(`the offline queue ${path} is open in ${who}: a queue is for one client (if it is not, delete ${claim})`);
}
