/**
 * `storage-get`: an authenticated session reads 64 bytes, through gateway, actor and back, against the reference R (uWebSockets.js and
 * msgpackr, same answer, nothing else). Server on core 0, generator on core 1, rounds alternate. The claim is CPU a message as a
 * ratio to R; throughput stands beside it. All features on; rate buckets are larger, not bypassed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from 'msgpackr';
import { freePort } from '../../scripts/lib/server-process.ts';
import { cpuSeconds, median, pinSelf, startPinned, stop } from '../lib/processes.ts';
import { Asker, RawSocket, requestFrame } from '../lib/raw-client.ts';

export interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly sockets: number;
  readonly depth: number;
}

interface Round {
  readonly perSecond: number;
  readonly cpuUs: number;
}

interface Target {
  readonly pid: number;
  readonly askers: Asker[];
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const request = requestFrame('tween.storage.get', pack({ key: 'bench' }));
const value = 'v'.repeat(64);
let fault: string | undefined;
const onFault = (why: string): void => {
  fault ??= why;
};
const right = (decoded: unknown): boolean => (decoded as { result?: { value?: string } }).result?.value === value;

async function openAskers(port: number, count: number, prepare: (socket: RawSocket, index: number) => Promise<void>): Promise<Asker[]> {
  const askers: Asker[] = [];
  for (let index = 0; index < count; index++) {
    const socket = await RawSocket.open({ port, path: '/v1/live' });
    await prepare(socket, index);
    askers.push(new Asker(socket, request, right, onFault));
  }
  return askers;
}

async function measure(target: Target, seconds: number, depth: number): Promise<Round> {
  for (const asker of target.askers) {
    asker.running = true;
    asker.start(depth);
  }
  await pause(Math.min(1_000, seconds * 300));
  const count = (): number => target.askers.reduce((sum, asker) => sum + asker.answers, 0);
  const [messages, cpu, at] = [count(), cpuSeconds(target.pid), performance.now()];
  await pause(seconds * 1000);
  const done = count() - messages;
  const round = { perSecond: done / ((performance.now() - at) / 1000), cpuUs: ((cpuSeconds(target.pid) - cpu) * 1e6) / done };
  for (const asker of target.askers) asker.running = false;
  await pause(100);
  if (fault !== undefined) throw new Error(fault);
  return round;
}

/** Asks once over a raw socket and gives the decoded answer. */
function once(socket: RawSocket, method: string, params: unknown): Promise<{ result?: unknown; error?: { message: string } }> {
  return new Promise((resolve) => {
    socket.onFrame = (payload) => void import('msgpackr').then(({ unpack }) => resolve(unpack(payload) as never));
    const { frame } = requestFrame(method, pack(params));
    socket.write(frame);
  });
}

export async function run({
  seconds,
  rounds,
  sockets,
  depth,
}: Options): Promise<{ readonly figures: unknown; readonly ratios: Record<string, number> }> {
  pinSelf(1);
  const dataDir = mkdtempSync(join(tmpdir(), 'tmcp-bench-'));
  const reference = startPinned(0, [here('./reference-server.mjs')]);
  const referencePort = await new Promise<number>((resolve) =>
    reference.stdout?.once('data', (text: Buffer) => resolve(Number(text.toString()))),
  );
  const port = await freePort();
  const server = startPinned(0, [here('../../dist/main.js'), 'dev'], {
    TMCP_PORT: String(port),
    TMCP_DATA_DIR: dataDir,
    TMCP_METRICS_PORT: '0',
    TMCP_RATE_LIMITS: 'relaxed',
  });
  const origin = `http://127.0.0.1:${port}`;
  const post = async <T>(path: string, body: unknown): Promise<T> => {
    const response = await fetch(origin + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  try {
    for (let tries = 0; ; tries++) {
      if ((await fetch(`${origin}/readyz`).catch(() => undefined))?.ok) break;
      if (tries > 300) throw new Error('the server did not come up');
      await pause(50);
    }
    const ours: Target = {
      pid: server.pid as number,
      askers: await openAskers(port, sockets, async (socket, index) => {
        const user_id = `@bench-${index}:tween.example`;
        await post('/dev/users', { user_id });
        const { access_token } = await post<{ access_token: string }>('/dev/token', {
          user_id,
          app_id: 'ma_demo_shop',
          scopes: ['storage:read', 'storage:write'],
        });
        for (const [method, params] of [
          ['tween.session.open', { token: access_token }],
          ['tween.storage.set', { key: 'bench', value }],
        ] as const) {
          const answer = await once(socket, method, params);
          if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.message}`);
        }
      }),
    };
    const r: Target = { pid: reference.pid as number, askers: await openAskers(referencePort, sockets, async () => {}) };
    const mine: Round[] = [];
    const theirs: Round[] = [];
    for (let round = 0; round < rounds; round++) {
      theirs.push(await measure(r, seconds, depth));
      mine.push(await measure(ours, seconds, depth));
    }
    const ratios = mine.map((round, index) => round.cpuUs / (theirs[index] as Round).cpuUs);
    const row = (name: string, list: readonly Round[]) => ({
      server: name,
      'messages/s': Math.round(median(list.map(({ perSecond }) => perSecond))),
      'CPU µs a message': Number(median(list.map(({ cpuUs }) => cpuUs)).toFixed(2)),
    });
    console.table([row('R: uWebSockets.js + msgpackr', theirs), row('TMCP tween.storage.get', mine)]);
    console.log(
      `CPU a message against R: median ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}), ${rounds} rounds of ${seconds} s, ${sockets} sockets, ${depth} in flight each`,
    );
    return {
      figures: { reference: theirs, tmcp: mine },
      ratios: {
        cpu_vs_R: median(ratios),
        throughput_vs_R: median(mine.map((round, index) => round.perSecond / (theirs[index] as Round).perSecond)),
      },
    };
  } finally {
    await Promise.all([stop(server), stop(reference)]);
    rmSync(dataDir, { recursive: true, force: true });
  }
}
