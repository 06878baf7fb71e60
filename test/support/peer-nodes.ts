/** Nodes with real links on loopback, what each was told, and conditions to wait for. */
import type { Clock } from '../../src/actors/ports.ts';
import { SystemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';
import {
  noMeters,
  type PeerAddress,
  type PeerBounds,
  type PeerError,
  type PeerErrorKind,
  type PeerMeters,
} from '../../src/transport/cluster/peer.ts';
import { createPeerNet, type PeerNet, type PeerNetOptions } from '../../src/transport/cluster/peer-net.ts';

/** What an ask came to: values in order, then maybe an error. */
export interface Outcome {
  readonly values: unknown[];
  readonly kind?: PeerErrorKind;
}

export class PeerNode implements AsyncDisposable {
  readonly id: string;
  readonly net: PeerNet;
  readonly events: (readonly [from: string, userId: string, body: unknown])[];
  readonly gaps: string[];
  readonly hints: unknown[];
  readonly ups: string[];
  readonly counts: Counts;
  readonly lines: Record<string, unknown>[];

  private constructor(id: string, net: PeerNet, told: Told) {
    this.id = id;
    this.net = net;
    this.events = told.events;
    this.gaps = told.gaps;
    this.hints = told.hints;
    this.ups = told.ups;
    this.counts = told.counts;
    this.lines = told.lines;
  }

  static async start(id: string, options: NodeOptions = {}): Promise<PeerNode> {
    const told: Told = { events: [], gaps: [], hints: [], ups: [], counts: new Counts(), lines: [] };
    const net = await createPeerNet({
      self: { bootId: id, name: `node-${id}`, version: '1.0.0' },
      key: options.key ?? sharedKey,
      listen: { host: '127.0.0.1', port: 0 },
      clock: options.clock ?? systemClock,
      log: createLogger({ logLevel: 'debug' }, { write: (line) => told.lines.push(JSON.parse(line)) }),
      leaseValid: options.leaseValid ?? (() => true),
      onAsk: options.onAsk ?? ((_from, body, _deadlineMs, _trace, answer) => answer(body, true)),
      onEvent: options.onEvent ?? ((from, userId, body) => told.events.push([from, userId, body()])),
      onGap: (from) => {
        told.gaps.push(from);
        told.events.push([from, 'gap', null]);
      },
      onHint: (_from, body) => told.hints.push(body),
      onPeer: (bootId, up) => told.ups.push(`${bootId} ${up ? 'up' : 'down'}`),
      observe: told.counts.meters,
      ...(options.bounds === undefined ? {} : { bounds: options.bounds }),
    });
    return new PeerNode(id, net, told);
  }

  /** How others find this node; through a proxy when a port is given. */
  at(port = this.net.port): PeerAddress {
    return { bootId: this.id, name: `node-${this.id}`, host: '127.0.0.1', port };
  }

  /** Asks and waits until nothing more will come. */
  ask(to: string, body: unknown, options: { readonly deadlineMs?: number; readonly trace?: string } = {}): Promise<Outcome> {
    return new Promise((resolve) => {
      const values: unknown[] = [];
      this.net.ask(to, body, { deadlineMs: 20_000, ...options }, (error: PeerError | null, value, last) => {
        if (error !== null) resolve({ values, kind: error.kind });
        else {
          values.push(value);
          if (last) resolve({ values });
        }
      });
    });
  }

  /** Resolves when this node can ask all of those. */
  async reaches(...nodes: readonly PeerNode[]): Promise<void> {
    await until(() => nodes.every(({ id }) => this.net.reachable(id)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net[Symbol.asyncDispose]();
  }
}

export interface NodeOptions {
  readonly key?: Uint8Array;
  readonly clock?: Clock;
  readonly bounds?: Partial<PeerBounds>;
  readonly leaseValid?: () => boolean;
  readonly onAsk?: PeerNetOptions['onAsk'];
  readonly onEvent?: PeerNetOptions['onEvent'];
}

interface Told {
  readonly events: (readonly [string, string, unknown])[];
  readonly gaps: string[];
  readonly hints: unknown[];
  readonly ups: string[];
  readonly counts: Counts;
  readonly lines: Record<string, unknown>[];
}

/** Meters that can be read. */
export class Counts {
  refused = 0;
  framesIn = 0;
  roundTrips = 0;
  readonly errors = { unreachable: 0, busy: 0, late: 0, lost: 0 };
  readonly meters: PeerMeters;

  constructor() {
    const failed = (kind: PeerErrorKind) => ({
      inc: () => {
        this.errors[kind] += 1;
      },
    });
    this.meters = {
      ...noMeters,
      refused: {
        inc: () => {
          this.refused += 1;
        },
      },
      framesIn: {
        inc: (by = 1) => {
          this.framesIn += by;
        },
      },
      errors: { unreachable: failed('unreachable'), busy: failed('busy'), late: failed('late'), lost: failed('lost') },
      roundTrip: {
        observe: () => {
          this.roundTrips += 1;
        },
      },
    };
  }
}

export const sharedKey = new Uint8Array(32).fill(7);
export const systemClock = new SystemClock();

/** Two nodes that know each other, and a way from the first to the second that a test may put a proxy into. */
export async function twoNodes(first: NodeOptions = {}, second: NodeOptions = {}): Promise<{ a: PeerNode; b: PeerNode } & AsyncDisposable> {
  const a = await PeerNode.start('a', first);
  const b = await PeerNode.start('b', second);
  a.net.setPeers([b.at()]);
  b.net.setPeers([a.at()]);
  await a.reaches(b);
  await b.reaches(a);
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      await a[Symbol.asyncDispose]();
      await b[Symbol.asyncDispose]();
    },
  };
}

/** Resolves when `found` holds. Errors: it does not within 20 s. */
export async function until(found: () => boolean): Promise<void> {
  const late = performance.now() + 20_000;
  while (!found()) {
    if (performance.now() > late) throw new Error(`never: ${found}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
