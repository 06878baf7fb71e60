/** One installation of the app: a client that goes on whatever happens, and when it was last served. */
import { WebSocket } from 'undici';
import {
  CallTimeoutError,
  type Client,
  ConnectionLostError,
  createClient,
  type InputOf,
  MemoryQueue,
  type MethodName,
  type OutputOf,
  TmcpError,
} from '../../src/client/mod.ts';
import type { SocketConstructor } from '../../src/client/socket.ts';
import type { FixtureUser } from '../../src/dev/fixtures.ts';
import { askAsNeighbour } from './neighbour.ts';
import { pause } from './time.ts';
import type { World } from './world.ts';

const scopes = ['user:read', 'storage:read', 'storage:write', 'wallet:pay', 'wallet:balance'];
export const appId = 'ma_demo_shop';

/** How a device reaches the cluster: as the balancer has it, or one node after the other with each dial. */
export type Way = 'balanced' | 'direct';

export class Device {
  readonly user: FixtureUser;
  readonly id: string;
  /** When an operation was answered, by `performance.now()`. */
  readonly servedAt: number[] = [];
  client: Client;
  /** Sessions that were resumed, and those that had to begin anew. */
  resumed = 0;
  fresh = 0;
  readonly #make: () => Client;
  readonly way: Way;
  #closed = false;

  constructor(world: World, token: string, user: FixtureUser, id: string, way: Way, listen: (client: Client) => void = () => {}) {
    this.user = user;
    this.id = id;
    this.way = way;
    const queue = new MemoryQueue();
    const { origin } = world.balancer ?? { origin: undefined };
    let dials = Math.floor(Math.random() * world.nodes.length);
    class InTurn extends WebSocket {
      constructor(url: string, protocols: string[]) {
        const address = new URL(url);
        address.host = new URL(world.nodes[dials++ % world.nodes.length]?.origin ?? url).host;
        super(address, protocols);
      }
    }
    const direct = way === 'direct' || origin === undefined;
    this.#make = () => {
      const client = createClient({
        url: `${world.origin.replace('http', 'ws')}/v1/live`,
        token: async () => token,
        deviceId: id,
        queue,
        WebSocket: (direct ? InTurn : WebSocket) as unknown as SocketConstructor,
        timeoutMs: direct ? 6_000 : 15_000,
        onError: () => {},
      });
      let opens = 0;
      client.on('state', (state) => {
        if (state === 'open' && opens++ > 0) {
          if (client.session?.resumed === true) this.resumed++;
          else this.fresh++;
        }
        // Refused for good, for example by a node whose clock is wrong: an app would sign in again.
        if (state === 'closed' && !this.#closed) void this.#renew();
      });
      listen(client);
      return client;
    };
    this.client = this.#make();
  }

  async connect(): Promise<void> {
    await this.client.connect();
  }

  /** One try of an operation. Errors: as `Client.call`; see `passing`. */
  async call<M extends MethodName>(method: M, params: InputOf<M>, repeat = false): Promise<OutputOf<M>> {
    const { client } = this;
    try {
      const answer = await client.call(method, params, { repeat });
      this.servedAt.push(performance.now());
      return answer;
    } catch (error) {
      // A refusal for a reason of the request's own is service as well.
      if (error instanceof TmcpError && !passing(error)) this.servedAt.push(performance.now());
      // No balancer stands before a node that says nothing: an app gives up on it.
      if (this.way === 'direct' && error instanceof CallTimeoutError && client.state === 'open') client.disconnect();
      throw error;
    }
  }

  /** Tries until there is an answer or `stopped`; then undefined. Only for what may be asked twice. Errors: refusals. */
  async insist<T>(stopped: () => boolean, work: () => Promise<T>): Promise<T | undefined> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!passing(error)) throw error;
        if (stopped()) return undefined;
        await pause(50);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.client.close();
  }

  /** The longest time without an answer between two instants, ms. */
  longestGap(from: number, to: number): number {
    const times = [from, ...this.servedAt.filter((at) => at > from && at < to), to];
    return Math.max(...times.slice(1).map((at, index) => at - (times[index] as number)));
  }

  async #renew(): Promise<void> {
    await pause(300);
    if (this.#closed) return;
    this.client = this.#make();
    this.client.connect().catch(() => {});
  }
}

/** Whether the same request may simply be made again, or read first: the cluster said nothing of it for good. */
export function passing(error: unknown): boolean {
  if (error instanceof TmcpError) return error.retryable || error.code === 'INVALID_TOKEN';
  return error instanceof ConnectionLostError || error instanceof CallTimeoutError || ended(error);
}

/** The client was refused for good; another one takes its place. */
function ended(error: unknown): boolean {
  return error instanceof Error && /^(the server closed the session|the client was closed|the client is closed)/.test(error.message);
}

/** Makes people and their tokens, through a node's own doors. */
export class Townhall {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async person(name: string, more: { readonly password?: boolean; readonly factors?: boolean } = {}): Promise<Person> {
    const user = await this.#ask<FixtureUser>('/dev/users', { user_id: `@${name}:tween.example`, balance: 90_000, ...more });
    const { access_token: token } = await this.#ask<{ access_token: string }>('/dev/token', {
      user_id: user.user_id,
      app_id: appId,
      scopes,
      expires_in: 86_400,
    });
    return {
      user,
      device: (id, way, listen) => new Device(this.#world, token, user, `${name}-${id}`, way, listen),
    };
  }

  async #ask<T>(path: string, body: unknown): Promise<T> {
    for (let turn = 0; ; turn++) {
      const node = this.#world.nodes[turn % this.#world.nodes.length];
      try {
        return await askAsNeighbour<T>(`${node?.side}${path}`, body);
      } catch (error) {
        if (turn > 20) throw error;
        await pause(300);
      }
    }
  }
}

export interface Person {
  readonly user: FixtureUser;
  device(id: string, way: Way, listen?: (client: Client) => void): Device;
}
