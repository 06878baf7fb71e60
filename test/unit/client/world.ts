/** A client of a live peer on fake time. Time passes only in `pass`. */
import { afterEach, beforeEach, vi } from 'vitest';
import { type Client, type ClientOptions, createClient } from '../../../src/client/mod.ts';
import { LivePeer, turn } from './live-peer.ts';

export interface World {
  readonly peer: LivePeer;
  readonly client: Client;
  readonly errors: unknown[];
  readonly states: string[];
  readonly resyncs: unknown[];
  /** Whether each token asked for was to be a new one. */
  readonly renewals: boolean[];
}

const clients: Client[] = [];

/** Fake timers and a fake `Date` and `performance.now` for every test of the file; clients are closed after each. */
export function useFakeTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({
      now: Date.UTC(2026, 0, 1),
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) {
      const closed = client.close();
      await pass(3_000);
      await closed;
    }
    vi.useRealTimers();
  });
}

/** A client that is not connected, and the peer it will dial. */
export function newWorld(options: Partial<ClientOptions> = {}, peer = new LivePeer()): World {
  const errors: unknown[] = [];
  const states: string[] = [];
  const resyncs: unknown[] = [];
  const renewals: boolean[] = [];
  const client = createClient({
    url: 'ws://peer/v1/live',
    token: async (renew) => {
      renewals.push(renew);
      return `tep.${renewals.length}`;
    },
    deviceId: 'device',
    WebSocket: peer.WebSocket,
    onError: (error) => errors.push(error),
    ...options,
  });
  client.on('state', (now) => states.push(now));
  client.on('resync', (why) => resyncs.push(why));
  clients.push(client);
  return { peer, client, errors, states, resyncs, renewals };
}

/** A client with an open session. */
export async function openWorld(options: Partial<ClientOptions> = {}, peer = new LivePeer()): Promise<World> {
  const world = newWorld(options, peer);
  await world.client.connect();
  return world;
}

/** Lets time pass, and everything happen that follows. */
export async function pass(ms: number): Promise<void> {
  await turn();
  await vi.advanceTimersByTimeAsync(ms);
  await turn();
}

/** What became of a promise so far. */
export async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  let seen: unknown = 'pending';
  promise.then(
    (value) => {
      seen = { value };
    },
    (error: unknown) => {
      seen = { error };
    },
  );
  await turn();
  return seen;
}
