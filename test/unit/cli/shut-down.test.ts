/** What ends a process, and with what. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';

const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

/** The process, once it is there. `does` sends a word, or a signal, and waits for what is said to it. */
async function start() {
  const child = fork(join(import.meta.dirname, 'shut-down-child.ts'), { execArgv: ['--import', 'tsx'] });
  children.add(child);
  const words: unknown[] = [];
  let heard: () => void = () => {};
  child.on('message', (word) => {
    words.push(word);
    heard();
  });
  const code = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const says = async (word: string): Promise<void> => {
    while (!words.includes(word)) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
    words.splice(words.indexOf(word), 1);
  };
  await says('here');
  return {
    child,
    code,
    says,
    async does(word: string, answer: string): Promise<void> {
      child.send(word);
      await says(answer);
    },
  };
}

describe('a process', () => {
  it('[CLU6] that is asked to drain does what a signal does, and ends with 0; asked again it does nothing more', async () => {
    const { child, code, does, says } = await start();
    await does('run', 'running');
    await does('request', 'stopping');
    await says('requested');
    await does('request', 'requested');
    child.send('end');
    expect(await code).toBe(0);
  }, 60_000);

  it('that is asked before it runs stops as soon as it does', async () => {
    const { child, code, does, says } = await start();
    await does('request', 'requested');
    await does('run', 'stopping');
    await says('running');
    child.send('end');
    expect(await code).toBe(0);
  }, 60_000);

  it('that was asked is not ended by the signal that follows, and is by the next', async () => {
    const { child, code, does } = await start();
    await does('run', 'running');
    await does('request', 'stopping');
    child.kill('SIGTERM');
    // The first answer may come before the signal is looked at, the third cannot.
    for (let n = 0; n < 3; n++) await does('hello', 'here');
    child.kill('SIGTERM');
    expect(await code).toBe(1);
  }, 60_000);

  it('ends at once with 0 at a signal while it starts', async () => {
    const { child, code } = await start();
    child.kill('SIGTERM');
    expect(await code).toBe(0);
  }, 60_000);
});
