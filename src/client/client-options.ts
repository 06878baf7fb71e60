/** What a client is made with, and what it tells. */
import type { Report } from './listeners.ts';
import type { QueueBounds } from './op-log.ts';
import type { QueueStore } from './queue.ts';
import type { TokenSource } from './sign-in.ts';
import type { SocketConstructor } from './socket.ts';
import type { WriteMode } from './writer.ts';

export interface ClientOptions {
  /** `ws://…/v1/live` or `wss://…/v1/live`. */
  readonly url: string;
  readonly token: TokenSource;
  /** Stable per installation, and of this one alone: binds the session and the operation ids. 1 to 128 printable ASCII characters, no space. */
  readonly deviceId: string;
  /** `client.affinity` of this user's last client, for an app that keeps it over restarts: two characters of a to z and 2 to 7. */
  readonly affinity?: string;
  /** Where writes are kept until they are durable; in memory when left out. The client closes it. */
  readonly queue?: QueueStore;
  /** What the queue holds at most; 100,000 writes and 64 MiB when left out. */
  readonly queueBounds?: QueueBounds;
  /** `durable` when left out. */
  readonly writes?: WriteMode;
  readonly WebSocket?: SocketConstructor;
  readonly client?: { readonly name: string; readonly version: string };
  /** Default deadline of a call, ms; 30,000 when left out. */
  readonly timeoutMs?: number;
  /** Told of faults that have no caller; the console when left out. */
  readonly onError?: Report;
}

/** Why what the client knows may be out of date: the session could not be resumed, or events are missing. */
export interface Resync {
  readonly reason: 'session' | 'gap';
}
