/** A process of the built `tmcp` that harnesses start, stop, freeze and start again: always the same one, on the same address. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ServerProcess, startServer, tail } from '../../test/support/child.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface ProgramOptions {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where its log goes. */
  readonly folder: string;
  /** Answers 200 when it can be used. */
  readonly probe: string;
}

export class Program {
  readonly name: string;
  readonly url: string;
  readonly logFile: string;
  readonly #options: ProgramOptions;
  #process: ServerProcess | undefined;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.name = options.name;
    this.url = new URL(options.probe).origin;
    this.logFile = join(options.folder, `${options.name}.log`);
  }

  /** Of the process now, or of the last one. */
  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  get running(): boolean {
    return this.#process?.running ?? false;
  }

  /** Of the last process; null while it runs, and when a signal ended it. */
  get exitCode(): number | null {
    return this.#process?.exitCode ?? null;
  }

  /** Starts it and waits until it can be used. Errors: it runs; it ended, or 60 s passed, first. */
  async start(): Promise<void> {
    if (this.running) throw new Error(`${this.name} is running`);
    const { args, env } = this.#options;
    const environment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: process.env['HOME'] ?? '/', ...env };
    this.#process = startServer({
      command: process.execPath,
      args: [main, ...args],
      cwd: this.#options.folder,
      logFile: this.logFile,
      environment,
    });
    try {
      await this.ready();
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /** Resolves when the probe answers 200. Errors: the process is not there or ends; 60 s pass. */
  async ready(): Promise<void> {
    const until = performance.now() + 60_000;
    while (!(await this.isReady())) {
      if (!this.running || performance.now() > until) throw new Error(`${this.name} did not become ready:\n${tail(this.logFile, 30)}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  async isReady(): Promise<boolean> {
    const answer = await fetch(this.#options.probe, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await answer?.arrayBuffer().catch(() => undefined);
    return answer?.ok === true;
  }

  /** Sends a signal (SIGKILL when left out) and resolves when it has ended, which a frozen process does by SIGKILL alone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#process?.end(signal, 60_000);
  }

  /** SIGSTOP: it is there, keeps its connections, and does nothing. */
  pause(): void {
    if (this.running) process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    if (this.running) process.kill(this.pid, 'SIGCONT');
  }

  /** Ends it as a rollout does, when it runs, and starts it again. Resolves when it can be used. */
  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.kill(signal);
    await this.start();
  }
}
