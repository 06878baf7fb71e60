/** The SDK: what a mini-app runtime needs to talk to a TMCP server. One code for browsers and Node; see docs/sdk.md. */
export type { EventMethod, InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
export { type ErrorCode, TmcpError } from '../protocol/errors.ts';
export type { CallOptions } from './calls.ts';
export { Client, createClient } from './client.ts';
export type { ClientOptions, Resync } from './client-options.ts';
export { CallTimeoutError, ConnectionLostError, QueueFullError } from './client-errors.ts';
export type { ClientState } from './connection-state.ts';
export type { PushOutcome } from './pusher.ts';
export { MemoryQueue, type QueuedOp, type QueueStore } from './queue.ts';
export { createPkcePair, type TokenSource } from './sign-in.ts';
export type { SocketConstructor, SocketLike } from './socket.ts';
export type { WriteMode } from './writer.ts';
