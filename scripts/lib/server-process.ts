/** Starts the built server and the wallet sandbox as processes of their own, for the demo and the crash harness. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  /** What the process wrote, newest last, at most the last 200 lines. */
  readonly output: string[];
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** A loopback port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Runs `tmcp` with `args` and waits until `probe` answers 200. Errors: the process ends or 60 s pass first. */
export async function startTmcp(args: readonly string[], env: Readonly<Record<string, string>>, probe: string): Promise<Running> {
  const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const output: string[] = [];
  let ended = false;
  child.once('exit', () => {
    ended = true;
    children.delete(child);
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output.push(...text.split('\n').filter((line) => line !== ''));
      if (output.length > 200) output.splice(0, output.length - 200);
    });
  }
  const until = Date.now() + 60_000;
  while (!(await answers(probe))) {
    if (ended || Date.now() > until) {
      child.kill('SIGKILL');
      throw new Error(`tmcp ${args.join(' ')} did not come up:\n${output.slice(-20).join('\n')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    child,
    url: new URL(probe).origin,
    output,
    async kill(signal) {
      if (ended) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

const children = new Set<ChildProcess>();

/** Ends what is still running, also when the script is interrupted. */
export function killAll(): void {
  for (const child of children) child.kill('SIGKILL');
}
process.once('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
