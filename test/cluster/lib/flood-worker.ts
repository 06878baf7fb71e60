/**
 * The generator, in a thread of its own: open loop, so requests are due by the clock whatever the servers do, and count from the moment they
 * were due. Its sessions keep to the protocol: they come back when they are told, and have no more in flight than they were told. What is due
 * while one may not send counts as not served.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { pack, unpack } from 'msgpackr';
import { RawSocket, requestFrame } from '../../../bench/lib/raw-client.ts';
import type { FloodFigures, FloodOptions, FloodOrder, FloodTarget } from './flood.ts';

const port = parentPort;
if (port === null) throw new Error('the generator is a thread');
const { targets, goodWithinMs, mostInFlight } = workerData as FloodOptions;

const value = 'v'.repeat(64);
const tickMs = 5;
/** Request ids are five bytes long from here on. */
const firstId = 65_536;
/** More than can be under way: 64 a session. */
const remembered = 1 << 18;
const backlogBytes = 256 * 1024;

/** What is asked, each up to its bound of all: half of it reads of one key, then durable writes, sync pushes of two operations, lists. */
const mix = [
  { below: 0.5, ...requestFrame('tween.storage.get', pack({ key: 'mix' })) },
  { below: 0.85, ...requestFrame('tween.storage.set', pack({ key: 'mix', value })) },
  { below: 0.95, ...pushFrame() },
  { below: 1, ...requestFrame('tween.storage.list', pack({ limit: 10 })) },
];

function pushFrame(): { frame: Buffer; idAt: number } {
  const client_timestamp = Math.floor(Date.now() / 1_000);
  const op = (n: number): object => ({ op_id: `flood:${n}`, key: `push-${n}`, kind: 'set', value, client_timestamp });
  return requestFrame('tween.sync.push', pack({ ops: [op(1), op(2)] }));
}

const dueAt = new Float64Array(remembered);
let nextId = firstId;
let counts = fresh();
let rate = 0;
let owed = 0;
let lastTick = performance.now();
let turn = 0;
let mixTurn = 0;

function fresh(): FloodFigures & { waits: number[] } {
  return { offered: 0, good: 0, late: 0, refused: 0, away: 0, cut: 0, refusedEntries: 0, open: 0, waits: [] };
}

class FloodSession {
  readonly #target: FloodTarget;
  #socket: RawSocket | undefined;
  #open = false;
  #inFlight = 0;
  #hintMs: number | undefined;

  constructor(target: FloodTarget) {
    this.#target = target;
  }

  get open(): boolean {
    return this.#open;
  }

  async dial(): Promise<void> {
    this.#hintMs = undefined;
    try {
      const socket = await RawSocket.open({ port: this.#target.port, path: '/v1/live' });
      this.#socket = socket;
      socket.onFrame = (payload) => this.#frame(payload);
      socket.onEnd = () => this.#gone();
      socket.write(requestFrame('tween.session.open', pack({ token: this.#target.token, device: { id: this.#target.device } })).frame);
    } catch {
      counts.refusedEntries++;
      this.#gone();
    }
  }

  /** Sends `count` requests. False: it is away, or waits for as many answers as it may. */
  ask(frames: Buffer, count: number): boolean {
    if (!this.#open || this.#socket === undefined || this.#socket.unsentBytes > backlogBytes) return false;
    if (this.#inFlight + count > mostInFlight) return false;
    this.#inFlight += count;
    this.#socket.write(frames);
    return true;
  }

  #frame(payload: Buffer): void {
    const at = payload.indexOf('id');
    if (!this.#open) {
      const { result, error } = unpack(payload) as { result?: object; error?: { retry_after?: number } };
      this.#open = result !== undefined;
      if (error === undefined) return;
      counts.refusedEntries++;
      this.#hintMs = (error.retry_after ?? 1) * 1_000;
      this.#socket?.end();
      this.#gone();
      return;
    }
    if (at < 1 || at > 6) {
      // An event: the server says when to come back.
      const { method, params } = unpack(payload) as { method?: string; params?: { reconnect_after_ms?: number } };
      if (method === 'tween.session.draining') this.#hintMs = params?.reconnect_after_ms;
      return;
    }
    this.#inFlight--;
    // The id is a marker and four bytes; then comes "result" or "error", which differ in length.
    const waited = performance.now() - (dueAt[payload.readUInt32BE(at + 3) % remembered] as number);
    if (payload[at + 7] !== 0xa6) counts.refused++;
    else if (waited > goodWithinMs) counts.late++;
    else {
      counts.good++;
      counts.waits.push(waited);
    }
  }

  #gone(): void {
    if (this.#open) counts.cut++;
    this.#open = false;
    this.#inFlight = 0;
    this.#socket = undefined;
    const wait = (this.#hintMs ?? 1_000) + Math.random() * 1_000;
    setTimeout(() => void this.dial(), wait);
  }
}

const sessions = targets.map((target) => new FloodSession(target));

function tick(): void {
  const now = performance.now();
  owed += (rate * (now - lastTick)) / 1_000;
  const from = lastTick;
  lastTick = now;
  const due = Math.floor(owed);
  owed -= due;
  counts.offered += due;
  // One write carries several requests of a session where there are more requests than the generator could write one by one.
  const burst = rate > 20_000 ? 4 : 1;
  for (let sent = 0; sent < due; sent += burst) {
    const size = Math.min(burst, due - sent);
    const frames: Buffer[] = [];
    for (let n = 0; n < size; n++) {
      const id = nextId;
      nextId = nextId >= 0xfffffff0 ? firstId : nextId + 1;
      dueAt[id % remembered] = from + ((now - from) * (sent + n)) / due;
      frames.push(next(id));
    }
    turn = (turn + 1) % sessions.length;
    if (!(sessions[turn] as FloodSession).ask(size === 1 ? (frames[0] as Buffer) : Buffer.concat(frames), size)) counts.away += size;
  }
}

function next(id: number): Buffer {
  // Spread evenly, not by luck.
  mixTurn = (mixTurn + 0.618_033_988_75) % 1;
  const { frame, idAt } = mix.find(({ below }) => mixTurn < below) ?? (mix[0] as (typeof mix)[number]);
  const made = Buffer.from(frame);
  made.writeUInt32BE(id, idAt);
  return made;
}

port.on('message', (order: FloodOrder) => {
  if (order.rate !== undefined) rate = order.rate;
  const { waits, ...figures } = counts;
  counts = fresh();
  port.postMessage({ ...figures, open: sessions.filter(({ open }) => open).length, waits: Float64Array.from(waits) });
});
setInterval(tick, tickMs);
// Not all in the same moment.
for (const [index, session] of sessions.entries()) setTimeout(() => void session.dial(), index * 4);
