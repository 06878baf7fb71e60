/**
 * Server processes that tests and harnesses start, and their temporary folders. Nothing outlives us: a child is killed when
 * its owner stops it, when our process exits or is told to, and (on Linux, by `setpriv`) when we are killed outright.
 * A folder carries the pid of its owner, so that the next run removes what a killed run left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync, closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Whom a server runs as: itself when we are an ordinary user, an account without rights when we are root. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface ServerProcess {
  readonly pid: number;
  /** Settles when the process has ended, however it ended. */
  readonly ended: Promise<void>;
  readonly running: boolean;
  /** Null while it runs, and when a signal ended it. */
  readonly exitCode: number | null;
  /** Sends `first`, and SIGKILL `graceMs` later when that did not end it. Resolves when it has ended. */
  end(first: NodeJS.Signals, graceMs?: number): Promise<void>;
}

const living = new Set<ChildProcess>();
const folders = new Set<string>();
let hooked = false;

/** The account servers run as when we are root, because Postgres refuses to run as root; undefined when we are not. */
export function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const rows = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const row = rows.find((fields) => fields[0] === name);
    if (row !== undefined) return { uid: Number(row[2]), gid: Number(row[3]) };
  }
  throw new Error(
    'Postgres does not run as root, and neither a user "postgres" nor "nobody" exists to run it as: add one, or run as an ordinary user',
  );
}

/** Makes a folder of our own, mode 0700, owned by `account`. Removed at exit at the latest. */
export function runFolder(kind: string, account?: Account): string {
  hookExits();
  const base = folderBase(account);
  sweep(base);
  const folder = mkdtempSync(join(base, `tmcp-test-${process.pid}-${kind}-`));
  folders.add(folder);
  if (account !== undefined) chownSync(folder, account.uid, account.gid);
  chmodSync(folder, 0o700);
  return folder;
}

/** Removes a folder that `runFolder` made. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  folders.delete(folder);
}

/** Whether every user may reach `path`: each folder on the way can be entered by others. */
export function reachableByAll(path: string): boolean {
  if ((statSync(path).mode & 0o001) === 0) return false;
  const parent = dirname(path);
  return parent === path || reachableByAll(parent);
}

/** Starts a server as a direct child, its output in `logFile`. It gets `environment` and nothing of ours. */
export function startServer(options: {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly logFile: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly account?: Account | undefined;
}): ServerProcess {
  hookExits();
  const { account } = options;
  const guard = tether(account);
  const log = openSync(options.logFile, 'a');
  const child = spawn(
    guard[0] ?? options.command,
    guard[0] === undefined ? options.args : [...guard.slice(1), options.command, ...options.args],
    {
      cwd: options.cwd,
      env: options.environment,
      stdio: ['ignore', log, log],
      // A group of its own, so that Ctrl-C at the terminal reaches us alone and we end it in order.
      detached: true,
      ...(guard[0] === undefined && account !== undefined ? { uid: account.uid, gid: account.gid } : {}),
    },
  );
  closeSync(log);
  living.add(child);
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => resolve());
  }).then(() => {
    living.delete(child);
  });
  return {
    pid: child.pid ?? -1,
    ended,
    get running() {
      return living.has(child);
    },
    get exitCode() {
      return child.exitCode;
    },
    async end(first, graceMs = 10_000) {
      if (!living.has(child)) return ended;
      child.kill(first);
      const late = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(late);
    },
  };
}

/** The last lines of a log file, for an error that has to say why a server did not start. */
export function tail(logFile: string, lines = 12): string {
  return existsSync(logFile) ? readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : '';
}

/** `setpriv` before the command makes the kernel kill the child when we die, whatever we die of. */
function tether(account: Account | undefined): string[] {
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
  if (process.platform !== 'linux' || setpriv === undefined) return [];
  const identity = account === undefined ? [] : ['--reuid', String(account.uid), '--regid', String(account.gid), '--clear-groups'];
  return [setpriv, '--pdeathsig', 'KILL', ...identity, '--'];
}

/** The first folder for temporary files that the server's account can reach. */
function folderBase(account: Account | undefined): string {
  const choices = [tmpdir(), '/tmp', '/var/tmp'].filter((path) => existsSync(path));
  const base = choices.find((path) => account === undefined || reachableByAll(path));
  if (base === undefined) throw new Error(`none of ${choices.join(', ')} can be reached by the account that runs the test servers`);
  return base;
}

function sweep(base: string): void {
  for (const name of readdirSync(base)) {
    const owner = /^tmcp-test-(\d+)-/.exec(name)?.[1];
    if (owner !== undefined && !alive(Number(owner))) rmSync(join(base, name), { recursive: true, force: true });
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function hookExits(): void {
  if (hooked) return;
  hooked = true;
  const clear = (): void => {
    for (const child of living) child.kill('SIGKILL');
    for (const folder of folders) {
      // A server that was killed this instant may still be writing; what stays is swept by the next run.
      try {
        rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
      } catch (error) {
        process.stderr.write(`left behind: ${folder} (${String(error)})\n`);
      }
    }
  };
  process.once('exit', clear);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
    process.once(signal, () => {
      clear();
      // Others may have hooked the signal to end in order; when nobody has, it keeps its meaning.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}
