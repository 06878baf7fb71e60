/**
 * One hop between two nodes: a body of 150 bytes asked and answered, over the links of the cluster, over Redis Streams and over Redis
 * pub/sub. Two processes, this one asks and a child echoes; the Redis of the same machine stands between them for the latter two.
 * `node --import tsx bench/system/forwarding.ts [--seconds N] [--rounds N] [--depths 1,64,1000]`
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { SystemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';
import { decodeTrusted, encodeTrusted } from '../../src/protocol/codec.ts';
import { createPeerNet, type PeerNet } from '../../src/transport/cluster/peer-net.ts';
import { useRedis } from '../../test/support/redis.ts';
import { median } from '../lib/processes.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    depths: { type: 'string', default: '1,64,1000' },
    echo: { type: 'string' },
    redis: { type: 'string', default: '' },
    prefix: { type: 'string', default: '' },
  },
});

const ways = ['links', 'streams', 'pubsub'] as const;
type Way = (typeof ways)[number];

interface Figures {
  readonly perSecond: number;
  /** CPU µs an exchange: asker, echo, Redis. */
  readonly askerUs: number;
  readonly echoUs: number;
  readonly redisUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** One side of a way: sends an ask and calls back with its answer. */
interface Asker {
  ask(body: unknown, answered: () => void): void;
  close(): Promise<void>;
}

const key = new Uint8Array(32).fill(1);
/** 150 bytes of MessagePack, and such a value as an actor's message is. */
const body = {
  to: 'vault:@alice:tween.example:ma_demo_shop',
  type: 'storage.get',
  input: { key: 'settings/item-3' },
  who: '@alice:tween.example',
  at: 1_700_000_000_000,
  id: 'a3f1c2d4-9b5e-41f07',
};

function openNet(self: string): Promise<PeerNet> {
  return createPeerNet({
    self: { bootId: self, name: self, version: '0' },
    key,
    listen: { host: '127.0.0.1', port: 0 },
    clock: new SystemClock(),
    log: createLogger({ logLevel: 'error' }),
    leaseValid: () => true,
    onAsk: (_from, asked, _deadlineMs, _trace, answer) => answer(asked, true),
    onEvent: () => undefined,
    onGap: () => undefined,
    onHint: () => undefined,
  });
}

/** Sends and receives bytes between two names through Redis. */
interface Mail {
  send(bytes: Uint8Array): void;
  close(): void;
}

const fail = (error: unknown): void => {
  console.error(error);
  process.exit(1);
};

/** Streams: `XADD` pipelined by the turn, `XREAD BLOCK` on a connection of its own. Trimmed as a mailbox would be. */
async function streams(url: string, from: string, to: string, onBytes: (bytes: Buffer) => void): Promise<Mail> {
  const writer = new Redis(url, { enableAutoPipelining: true });
  const reader = new Redis(url);
  let open = true;
  let last = (((await reader.xrevrange(from, '+', '-', 'COUNT', 1))[0] ?? ['0-0'])[0] ?? '0-0') as string;
  const read = async (): Promise<void> => {
    while (open) {
      const found = (await reader.callBuffer('XREAD', 'COUNT', '1000', 'BLOCK', '1000', 'STREAMS', from, last)) as
        | [Buffer, [Buffer, Buffer[]][]][]
        | null;
      for (const [id, fields] of found?.[0]?.[1] ?? []) {
        last = id.toString('latin1');
        onBytes(fields[1] as Buffer);
      }
    }
  };
  void read().catch((error) => open && fail(error));
  return {
    send: (bytes) => void writer.xadd(to, 'MAXLEN', '~', '20000', '*', 'b', asBuffer(bytes)).catch(fail),
    close() {
      open = false;
      writer.disconnect();
      reader.disconnect();
    },
  };
}

async function pubsub(url: string, from: string, to: string, onBytes: (bytes: Buffer) => void): Promise<Mail> {
  const writer = new Redis(url, { enableAutoPipelining: true });
  const reader = new Redis(url);
  reader.on('messageBuffer', (_channel: Buffer, bytes: Buffer) => onBytes(bytes));
  await reader.subscribe(from);
  return {
    send: (bytes) => void writer.publish(to, asBuffer(bytes)).catch(fail),
    close() {
      writer.disconnect();
      reader.disconnect();
    },
  };
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const mailOf = (way: Way, url: string, from: string, to: string, onBytes: (bytes: Buffer) => void): Promise<Mail> =>
  way === 'streams' ? streams(url, from, to, onBytes) : pubsub(url, from, to, onBytes);

/** The child: echoes what it is asked, and says what CPU time it has used when told to. */
async function echo(way: Way): Promise<void> {
  let port = 0;
  if (way === 'links') {
    port = (await openNet('echo')).port;
  } else {
    const mail = await mailOf(way, values.redis, `${values.prefix}echo`, `${values.prefix}asker`, (bytes) =>
      mail.send(encodeTrusted(decodeTrusted(bytes))),
    );
  }
  process.on('message', () => process.send?.({ cpuUs: cpuUs() }));
  process.on('disconnect', () => process.exit(0));
  process.send?.({ port });
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function askerOf(way: Way, port: number, url: string, prefix: string): Promise<Asker> {
  if (way === 'links') {
    const net = await openNet('asker');
    net.setPeers([{ bootId: 'echo', name: 'echo', host: '127.0.0.1', port }]);
    while (!net.reachable('echo')) await pause(5);
    return {
      ask: (asked, answered) => net.ask('echo', asked, { deadlineMs: 10_000 }, (error) => (error === null ? answered() : fail(error))),
      close: async () => net[Symbol.asyncDispose](),
    };
  }
  const waiting = new Map<number, () => void>();
  let next = 0;
  const mail = await mailOf(way, url, `${prefix}asker`, `${prefix}echo`, (bytes) => {
    const [id] = decodeTrusted(bytes) as [number];
    const answered = waiting.get(id);
    waiting.delete(id);
    answered?.();
  });
  return {
    ask(asked, answered) {
      const id = next++;
      waiting.set(id, answered);
      mail.send(encodeTrusted([id, asked]));
    },
    close: async () => mail.close(),
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function measure(asker: Asker, child: ChildProcess, redisCpuUs: () => Promise<number>, depth: number, ms: number): Promise<Figures> {
  const waits: number[] = [];
  let running = true;
  let under = 0;
  let measuring = false;
  const one = (): void => {
    under += 1;
    const askedAt = performance.now();
    asker.ask(body, () => {
      under -= 1;
      if (measuring) waits.push(performance.now() - askedAt);
      if (running) one();
    });
  };
  for (let i = 0; i < depth; i++) one();
  // Warm code and a full pipe; one ask at a time needs the longest.
  await pause(1_500);
  const cpu = async (): Promise<readonly [number, number, number]> => {
    const answer = once(child, 'message') as Promise<[{ cpuUs: number }]>;
    child.send('cpu');
    const [[{ cpuUs: echoUs }], redisUs] = await Promise.all([answer, redisCpuUs()]);
    return [cpuUs(), echoUs, redisUs];
  };
  const before = await cpu();
  const from = performance.now();
  measuring = true;
  await pause(ms);
  measuring = false;
  const spent = performance.now() - from;
  const after = await cpu();
  running = false;
  while (under > 0) await pause(5);
  const count = waits.length;
  waits.sort((a, b) => a - b);
  const each = (i: 0 | 1 | 2): number => (after[i] - before[i]) / count;
  return {
    perSecond: (count * 1_000) / spent,
    askerUs: each(0),
    echoUs: each(1),
    redisUs: each(2),
    p50Us: (waits[count >> 1] ?? 0) * 1_000,
    p99Us: (waits[Math.floor(count * 0.99)] ?? 0) * 1_000,
  };
}

async function run(way: Way, depth: number, url: string, prefix: string, control: Redis): Promise<Figures> {
  const child = fork(fileURLToPath(import.meta.url), ['--echo', way, '--redis', url, '--prefix', prefix], {
    execArgv: ['--import', 'tsx'],
  });
  try {
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    const asker = await askerOf(way, port, url, prefix);
    const redisCpuUs = async (): Promise<number> => {
      if (way === 'links') return 0;
      const info = await control.info('cpu');
      const read = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1] ?? 0) * 1e6;
      return read('used_cpu_user') + read('used_cpu_sys');
    };
    const figures = await measure(asker, child, redisCpuUs, depth, Number(values.seconds) * 1_000);
    await asker.close();
    return figures;
  } finally {
    child.kill();
    await control.del(`${prefix}asker`, `${prefix}echo`);
  }
}

const load = (): string => `load average ${(loadavg()[0] as number).toFixed(1)}`;

function row(way: string, depth: number, all: readonly Figures[]): string {
  const middle = (pick: (figures: Figures) => number): number => median(all.map(pick));
  const cells = [
    way,
    String(depth),
    Math.round(middle((f) => f.perSecond)).toLocaleString('en'),
    middle((f) => f.askerUs).toFixed(1),
    middle((f) => f.echoUs).toFixed(1),
    middle((f) => f.redisUs).toFixed(1),
    middle((f) => f.askerUs + f.echoUs + f.redisUs).toFixed(1),
    Math.round(middle((f) => f.p50Us)).toLocaleString('en'),
    Math.round(middle((f) => f.p99Us)).toLocaleString('en'),
  ];
  return `| ${cells.join(' | ')} |`;
}

if (values.echo !== undefined) {
  await echo(values.echo as Way);
} else {
  const redis = await useRedis();
  const { url, prefix } = redis.share();
  const control = new Redis(url);
  console.log(`${encodeTrusted(body).length} bytes, ${values.rounds} rounds of ${values.seconds} s, medians; ${load()} before`);
  console.log('| way | in flight | exchanges/s | asker CPU µs | echo CPU µs | Redis CPU µs | CPU µs in all | p50 µs | p99 µs |');
  console.log('|---|---|---|---|---|---|---|---|---|');
  for (const depth of values.depths.split(',').map(Number)) {
    const all: Record<Way, Figures[]> = { links: [], streams: [], pubsub: [] };
    // The ways take turns, so that what else the machine does hits all of them.
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const way of ways) all[way].push(await run(way, depth, url, `${prefix}${round}:`, control));
    }
    for (const way of ways) console.log(row(way, depth, all[way]));
  }
  console.log(`${load()} after`);
  control.disconnect();
  await redis.stop();
  process.exit(0);
}
