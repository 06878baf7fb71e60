/**
 * The connection to Redis, which may be away at any moment without anybody noticing more than a lost hint: every command has a
 * deadline, nothing queues while there is no connection, and it comes back by itself.
 */
import { Redis } from 'ioredis';
import { jitter } from '../../ids.ts';

export interface RedisOptions {
  /** Before every key. Default `tmcp:`. */
  readonly prefix?: string;
  /** A command that takes longer has failed. Default 500 ms. */
  readonly commandTimeoutMs?: number;
  /** Told of each connection fault; they are counted either way. */
  readonly onError?: (error: Error) => void;
}

export interface RedisConnection {
  readonly client: Redis;
  /** Resolves, never rejects, when the first try to connect has ended either way. */
  readonly tried: Promise<void>;
  /** Connected and answering, as far as is known. */
  readonly ready: () => boolean;
  /** Connection faults so far, and commands that failed. */
  readonly counters: { connectionErrors: number; commandErrors: number };
  close(): Promise<void>;
}

const longestPauseMs = 2_000;

/** Begins to connect to `url` (`redis://…`) and goes on trying: a Redis that is away is no reason not to start. */
export function openRedis(url: string, options: RedisOptions = {}): RedisConnection {
  const counters = { connectionErrors: 0, commandErrors: 0 };
  const client = new Redis(url, {
    keyPrefix: options.prefix ?? 'tmcp:',
    lazyConnect: true,
    connectTimeout: 2_000,
    commandTimeout: options.commandTimeoutMs ?? 500,
    // A master that has gone silent without closing: the connection is given up, and made anew.
    socketTimeout: 5_000,
    enableOfflineQueue: false,
    // A command that was under way when the connection broke fails; repeating it could take a token or a record twice.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(longestPauseMs, 50 * 2 ** Math.min(times, 10)) * (0.5 + jitter() / 2),
  });
  client.on('error', (error: Error) => {
    counters.connectionErrors++;
    options.onError?.(error);
  });
  // The fault itself arrives as an `error` event and is counted there.
  const tried = client.connect().catch(() => undefined);
  return {
    client,
    tried,
    ready: () => client.status === 'ready',
    counters,
    close: async () => {
      client.disconnect();
    },
  };
}
