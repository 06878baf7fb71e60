/** Nodes as processes of their own, for tests that put a balancer in front of them and then kill, freeze or drain one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { NodeQuestion, NodeSeen } from '../e2e/balancer-node-child.ts';
import { LiveClient } from './live-client.ts';
import { lastingPort } from './ports.ts';

const program = join(import.meta.dirname, '../e2e/balancer-node-child.ts');

export class BalancedNode {
  readonly name: string;
  port = 0;
  #child: ChildProcess | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Starts it, on the port it had. Resolves when it listens. */
  async start(): Promise<this> {
    if (this.port === 0) this.port = await lastingPort();
    const child = spawn(process.execPath, ['--import', 'tsx', program, this.name, `${this.port}`], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error(`${this.name} ended before it listened`))),
    ]);
    return this;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  ready(ready: boolean): void {
    this.#send({ ready });
  }

  drain(): void {
    this.#send({ drain: true });
  }

  async seen(): Promise<NodeSeen> {
    const answer = once(this.#running, 'message');
    this.#send({ seen: true });
    return ((await answer) as [NodeSeen])[0];
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#running.kill(signal);
  }

  /** SIGKILL; also a frozen one ends. */
  async kill(): Promise<void> {
    if (!this.running) return;
    const child = this.#running;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  get #running(): ChildProcess {
    if (this.#child === undefined) throw new Error(`${this.name} was not started`);
    return this.#child;
  }

  #send(question: NodeQuestion): void {
    this.#running.send(question);
  }
}

/** A live socket through a balancer, its session open; `node` is who answered. Errors: `UpgradeRefused`. */
export async function openThrough(
  port: number,
  affinity?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ client: LiveClient; node: string }> {
  const path = affinity === undefined ? '/v1/live' : `/v1/live?affinity=${affinity}`;
  const client = await LiveClient.connect(port, { path, headers });
  const answer = await client.call('tween.session.open', { token: 'tep.alice' });
  if (answer.error !== undefined) throw new Error(`open was refused: ${JSON.stringify(answer.error)}`);
  return { client, node: answer.result.node as string };
}
