/**
 * A TCP proxy on loopback that can do to a connection what networks do: hold bytes back for a while, or for ever without a word, or
 * reset. Each fault is per direction: `toServer` is what the dialling side sends, `toClient` what comes back. For any protocol.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export type Way = 'toServer' | 'toClient' | 'both';

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** Connections that stand now. */
  readonly connections: number;
  /** Connections ever taken. */
  readonly accepted: number;
  /** Bytes of that way arrive so much later, in order; 0 ends it. */
  delay(way: Way, ms: number): void;
  /** From now on nothing of that way is read, also of connections to come; senders learn nothing of it. */
  stall(way: Way): void;
  /** What was stalled goes on. */
  flow(way: Way): void;
  /** Ends all connections by a reset. One way resets that receiver alone; the other side is told nothing and hears no more. */
  reset(way?: Way): void;
  /** Whether connections to come are reset at once. */
  refuse(refused: boolean): void;
  /** Where connections to come lead. */
  retarget(port: number, host?: string): void;
}

interface Faults {
  delayMs: number;
  stalled: boolean;
}

/** Bytes from one socket to another. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #faults: Faults;
  /** What is held back, oldest first; the timer is the first one's. */
  readonly #held: { readonly at: number; readonly run: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #dead = false;

  constructor(from: Socket, to: Socket, faults: Faults) {
    this.#from = from;
    this.#to = to;
    this.#faults = faults;
    from.on('data', (bytes: Buffer) => this.#later(() => this.#write(bytes)));
    from.on('end', () => this.#later(() => to.end()));
    from.on('error', () => undefined);
    from.on('close', (failed) => {
      if (failed && !this.#dead && !to.destroyed) to.resetAndDestroy();
    });
    if (faults.stalled) from.pause();
  }

  apply(): void {
    if (this.#faults.stalled || this.#dead) this.#from.pause();
    else this.#from.resume();
  }

  /** Resets the receiver. The sender is left standing and is not read any more. */
  cut(): void {
    this.#dead = true;
    this.#from.pause();
    this.#to.resetAndDestroy();
  }

  end(): void {
    this.#dead = true;
    clearTimeout(this.#timer);
    this.#from.destroy();
  }

  #write(bytes: Buffer): void {
    if (this.#dead || this.#to.destroyed) return;
    if (this.#to.write(bytes)) return;
    this.#from.pause();
    this.#to.once('drain', () => this.apply());
  }

  #later(run: () => void): void {
    const { delayMs } = this.#faults;
    // Behind what is held back nothing passes, also when its own delay is over before.
    if (delayMs === 0 && this.#held.length === 0) return run();
    this.#held.push({ at: performance.now() + delayMs, run });
    if (this.#held.length === 1) this.#arm();
  }

  #arm(): void {
    const [first] = this.#held;
    if (first === undefined || this.#dead) return;
    this.#timer = setTimeout(
      () => {
        // A timer may be a little early.
        while (this.#held[0] !== undefined && this.#held[0].at <= performance.now() + 1) this.#held.shift()?.run();
        this.#arm();
      },
      Math.max(0, first.at - performance.now()),
    );
  }
}

/** Starts a proxy before a server; it stands until disposed of. `host` is where it listens, loopback alone when left out. */
export async function startFaultProxy(target: { readonly port: number; readonly host?: string }, host = '127.0.0.1'): Promise<FaultProxy> {
  const faults = { toServer: { delayMs: 0, stalled: false }, toClient: { delayMs: 0, stalled: false } };
  const pairs = new Set<{ readonly toServer: Pipe; readonly toClient: Pipe }>();
  let to: { readonly port: number; readonly host?: string } = target;
  let refused = false;
  let accepted = 0;

  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (refused) {
      client.resetAndDestroy();
      return;
    }
    accepted += 1;
    const upstream = connect({ port: to.port, host: to.host ?? '127.0.0.1', allowHalfOpen: true });
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    const pair = { toServer: new Pipe(client, upstream, faults.toServer), toClient: new Pipe(upstream, client, faults.toClient) };
    pairs.add(pair);
    const gone = (): void => {
      if (client.destroyed && upstream.destroyed) pairs.delete(pair);
    };
    client.once('close', gone);
    upstream.once('close', gone);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });

  const ways = (way: Way): ('toServer' | 'toClient')[] => (way === 'both' ? ['toServer', 'toClient'] : [way]);
  const stalled = (way: Way, is: boolean): void => {
    for (const one of ways(way)) {
      faults[one].stalled = is;
      for (const pair of pairs) pair[one].apply();
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return pairs.size;
    },
    get accepted() {
      return accepted;
    },
    delay(way, ms) {
      for (const one of ways(way)) faults[one].delayMs = ms;
    },
    stall: (way) => stalled(way, true),
    flow: (way) => stalled(way, false),
    reset(way = 'both') {
      for (const pair of pairs) for (const one of ways(way)) pair[one].cut();
    },
    refuse(now) {
      refused = now;
    },
    retarget(port, host) {
      to = host === undefined ? { port } : { port, host };
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const pair of pairs) for (const one of ways('both')) pair[one].end();
      await closed;
    },
  };
}
