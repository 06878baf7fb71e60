/** The queue in a file: what was promised is there after any crash, numbers are never used twice, one process has the file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { QueuedOp } from '../../../src/client/mod.ts';
import { FileQueue } from '../../../src/client/node.ts';

let folder: string;
let path: string;
const queues: FileQueue[] = [];
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tmcp-queue-'));
  path = join(folder, 'writes.jsonl');
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(queues.splice(0).map((queue) => queue.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function openQueue(at = path): Promise<FileQueue> {
  const queue = await FileQueue.open(at);
  queues.push(queue);
  return queue;
}

async function reopen(queue: FileQueue): Promise<FileQueue> {
  await queue.close();
  return openQueue();
}

async function op(queue: FileQueue, key = 'k', value = 'v'): Promise<QueuedOp> {
  return { op_id: `device:${await queue.nextCounter()}`, key, kind: 'set', value, client_timestamp: 1 };
}

async function appended(queue: FileQueue, key = 'k', value = 'v'): Promise<QueuedOp> {
  const made = await op(queue, key, value);
  await queue.append(made);
  return made;
}

const claims = (): string[] => readdirSync(folder).filter((name) => name.includes('.lock.'));

describe('a queue file', () => {
  it('gives back what was appended and not removed, in order, after it was closed', async () => {
    const queue = await openQueue();
    const ops = [await appended(queue, 'a', 'ünïcode\n"quoted"'), await appended(queue, 'b'), await appended(queue, 'c')];
    await queue.remove([ops[1]!.op_id]);
    expect(await queue.load()).toEqual([ops[0], ops[2]]);
    expect(await (await reopen(queue)).load()).toEqual([ops[0], ops[2]]);
  });

  it('is the user’s alone to read, and leaves nothing else behind', async () => {
    const queue = await openQueue();
    await appended(queue);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await queue.close();
    expect(readdirSync(folder)).toEqual(['writes.jsonl']);
  });

  it('takes writes that come together with few syncs, and keeps their order', async () => {
    const queue = await openQueue();
    const ops = await Promise.all(Array.from({ length: 500 }, (_, n) => op(queue, `k${n}`)));
    await Promise.all(ops.map((each) => queue.append(each)));
    expect(await (await reopen(queue)).load()).toEqual(ops);
  });

  it('takes a write that is made the moment another is kept', async () => {
    const queue = await openQueue();
    const ops = await Promise.all(Array.from({ length: 50 }, (_, n) => op(queue, `k${n}`)));
    let chain = Promise.resolve();
    for (const each of ops) chain = chain.then(() => queue.append(each));
    await chain;
    // Two of these append in the very turn in which the last one was kept: at the end of what is reserved a number is a write.
    for (let n = 0; n < 350; n++) {
      const counter = await queue.nextCounter();
      await queue.append({ op_id: `device:${counter}`, key: 'k', kind: 'remove', client_timestamp: 1 });
    }
    expect(await (await reopen(queue)).load()).toHaveLength(400);
  });

  it('without its last, torn line holds everything that was promised', async () => {
    const queue = await openQueue();
    const first = await appended(queue, 'a');
    const second = await appended(queue, 'b');
    await queue.close();
    const whole = readFileSync(path);
    const before = whole.length - Buffer.byteLength(`${JSON.stringify({ op: second })}\n`);
    for (let length = before; length <= whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const found = await openQueue();
      expect(await found.load()).toEqual(length === whole.length ? [first, second] : [first]);
      const next = await appended(found, 'c');
      const again = await reopen(found);
      expect((await again.load()).at(-1)).toEqual(next);
      await again.close();
    }
  });

  it.each([
    ['no JSON', 'garbage'],
    ['no line of a queue', '{"what":1}'],
    ['a write without a value', '{"op":{"op_id":"d:1","key":"k","kind":"set","client_timestamp":1}}'],
    ['a write without a number', '{"op":{"op_id":"d:x","key":"k","kind":"remove","client_timestamp":1}}'],
    ['null', 'null'],
  ])('damaged in the middle (%s) is refused with the line’s number, and left as it is', async (_, line) => {
    const queue = await openQueue();
    await appended(queue);
    await queue.close();
    appendFileSync(path, `${line}\n{"counter":9}\n`);
    const text = readFileSync(path, 'utf8');
    await expect(FileQueue.open(path)).rejects.toThrow('damaged at line 4');
    expect(readFileSync(path, 'utf8')).toBe(text);
    expect(claims()).toEqual([]);
  });

  it('beside a file that a crash left of writing it anew is opened all the same', async () => {
    const queue = await openQueue();
    const kept = await appended(queue);
    await queue.close();
    writeFileSync(`${path}.new`, '{"counter":1}\n{"op":');
    expect(await (await openQueue()).load()).toEqual([kept]);
    expect(existsSync(`${path}.new`)).toBe(false);
  });

  it('is written anew when it has grown far past what is needed, and nothing is lost by that', async () => {
    const queue = await openQueue();
    const kept = await appended(queue, 'kept');
    const value = 'x'.repeat(100_000);
    let largest = 0;
    for (let n = 0; n < 60; n++) {
      await queue.remove([(await appended(queue, `k${n}`, value)).op_id]);
      largest = Math.max(largest, statSync(path).size);
    }
    expect(largest).toBeLessThan(1_500_000);
    const last = await appended(queue, 'last');
    expect(await (await reopen(queue)).load()).toEqual([kept, last]);
  });

  it('refuses everything after it was closed, and may be closed twice', async () => {
    const queue = await openQueue();
    const made = await op(queue);
    await Promise.all([queue.close(), queue.close()]);
    await expect(queue.append(made)).rejects.toThrow('closed');
    await expect(queue.remove([made.op_id])).rejects.toThrow('closed');
  });

  it('finishes what is under way before it closes', async () => {
    const queue = await openQueue();
    const made = await op(queue);
    const append = queue.append(made);
    await queue.close();
    await append;
    expect(await (await openQueue()).load()).toEqual([made]);
  });

  it('in a folder that is not there is refused', async () => {
    await expect(FileQueue.open(join(folder, 'nowhere', 'q'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('numbers', () => {
  it('grow, have at most fifteen digits, and begin where a wiped queue of the device cannot have been', async () => {
    const queue = await openQueue();
    const before = Date.now();
    const first = await queue.nextCounter();
    expect(await queue.nextCounter()).toBe(first + 1);
    expect(`${first}`.length).toBeLessThanOrEqual(15);
    await queue.close();
    rmSync(path);
    const again = await (await openQueue()).nextCounter();
    expect(again).toBeGreaterThanOrEqual(before * 100);
  });

  it('are never used twice, whenever a crash comes', async () => {
    const queue = await openQueue();
    const moments: { readonly given: number; readonly file: Buffer }[] = [];
    for (let n = 0; n < 210; n++) moments.push({ given: await queue.nextCounter(), file: readFileSync(path) });
    await queue.close();
    for (const { given, file } of moments) {
      writeFileSync(path, file);
      const found = await openQueue();
      expect(await found.nextCounter()).toBeGreaterThan(given);
      await found.close();
    }
  });

  it('given at the same time are all different, and in the order of the calls', async () => {
    const queue = await openQueue();
    const numbers = await Promise.all(Array.from({ length: 350 }, () => queue.nextCounter()));
    expect(new Set(numbers).size).toBe(350);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  });

  it('are reserved on the disk before they are given', async () => {
    const queue = await openQueue();
    const first = await queue.nextCounter();
    const reserved = Math.max(...[...readFileSync(path, 'utf8').matchAll(/"counter":(\d+)/g)].map(([, digits]) => Number(digits)));
    expect(reserved).toBeGreaterThanOrEqual(first);
  });

  it('go on above an operation’s own when no line tells of a reservation', async () => {
    writeFileSync(path, `${JSON.stringify({ op: { op_id: 'device:41', key: 'k', kind: 'remove', client_timestamp: 1 } })}\n`);
    expect(await (await openQueue()).nextCounter()).toBe(42);
  });
});

/** A process of its own on the queue; `lines` are what it said. */
async function child(
  count: number,
  until: (line: string) => boolean,
): Promise<{ readonly process: ChildProcess; readonly lines: string[] }> {
  const started = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'file-queue-child.ts'), path, `${count}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(started);
  const lines: string[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: started.stdout! }).on('line', (line) => {
      lines.push(line);
      if (until(line)) resolve();
    });
    started.once('exit', () => reject(new Error('the child ended')));
  });
  started.removeAllListeners('exit');
  return { process: started, lines };
}

async function killed(started: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => started.once('close', resolve));
  started.kill('SIGKILL');
  await gone;
}

describe('two at once', () => {
  it('in one process: the second is refused, until the first has closed', async () => {
    const queue = await openQueue();
    await expect(FileQueue.open(path)).rejects.toThrow('is open in this process');
    await appended(queue);
    await queue.close();
    await openQueue();
    expect(claims()).toHaveLength(1);
  });

  it('by another name of the same file: the second is refused', async () => {
    await openQueue();
    symlinkSync(folder, `${folder}-link`);
    try {
      await expect(FileQueue.open(join(`${folder}-link`, 'writes.jsonl'))).rejects.toThrow('is open in');
    } finally {
      rmSync(`${folder}-link`);
    }
  });

  it('in another process: refused with its number while it lives; taken over after SIGKILL, with everything it promised', async () => {
    const { process: other, lines } = await child(100_000, (line) => line === '20' || Number(line) % 40 === 0);
    const before = claims();
    const second = await FileQueue.open(path).catch((error: Error) => error.message);
    expect({ before, code: other.exitCode, signal: other.signalCode, second }).toEqual({
      before: [expect.stringContaining(`.lock.${other.pid}.`)],
      code: null,
      signal: null,
      second: expect.stringContaining(`is open in process ${other.pid}`),
    });
    await killed(other);
    expect(claims()).toHaveLength(1);
    const queue = await openQueue();
    const promised = lines.filter((line) => line !== 'open').map(Number);
    const found = (await queue.load()).map(({ op_id }) => Number(op_id.split(':')[1]));
    expect(promised.length).toBeGreaterThan(0);
    expect(found).toEqual(expect.arrayContaining(promised));
    // At most the one that was being written when it died.
    expect(found.length - promised.length).toBeLessThanOrEqual(1);
    expect(await queue.nextCounter()).toBeGreaterThan(Math.max(...found));
    expect(claims()).toHaveLength(1);
  });

  it('a claim of a number that is another process’s now, or of an earlier start of the machine, is cleared away', async () => {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    for (const claim of [`${process.ppid}.1.${boot}`, `${process.pid}.1.${boot}`, `${process.ppid}.1.earlier-boot`, 'nonsense']) {
      writeFileSync(`${path}.lock.${claim}`, '');
      const queue = await openQueue();
      expect(claims()).toHaveLength(1);
      expect(claims()[0]).not.toContain(claim);
      await queue.close();
    }
  });

  it('another file’s claim in the same folder is nobody’s business', async () => {
    writeFileSync(join(folder, 'other.jsonl.lock.1.1.x'), '');
    await openQueue();
    expect(claims()).toHaveLength(2);
  });
});

describe('a write that the disk refuses', () => {
  // A limit on the size of a process's files is a full disk that needs no privileges.
  it('rejects, and what comes after it is whole', async () => {
    const script = `
      import { FileQueue } from ${JSON.stringify(join(import.meta.dirname, '../../../src/client/node.ts'))};
      process.on('SIGXFSZ', () => {});
      const queue = await FileQueue.open(${JSON.stringify(path)});
      const make = async (key, value) => ({ op_id: 'device:' + (await queue.nextCounter()), key, kind: 'set', value, client_timestamp: 1 });
      await queue.append(await make('first', 'v'));
      const failed = await queue.append(await make('huge', 'x'.repeat(200_000))).then(() => 'kept', (error) => error.code);
      await queue.append(await make('last', 'v'));
      console.log(JSON.stringify([failed, (await queue.load()).map(({ key }) => key)]));
      await queue.close();
    `;
    writeFileSync(join(folder, 'script.mts'), script);
    const command = `ulimit -f 64; exec "${process.execPath}" --import tsx "${join(folder, 'script.mts')}"`;
    const run = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'], cwd: join(import.meta.dirname, '../../..') });
    children.push(run);
    let out = '';
    run.stdout.on('data', (data) => {
      out += data;
    });
    let complaints = '';
    run.stderr.on('data', (data) => {
      complaints += data;
    });
    await new Promise((resolve) => run.once('close', resolve));
    expect(complaints).toBe('');
    expect(JSON.parse(out)).toEqual(['EFBIG', ['first', 'last']]);
    expect((await (await openQueue()).load()).map(({ key }) => key)).toEqual(['first', 'last']);
  });
});
