/** The SDK: what a mini-app runtime needs to talk to a TMCP server. One code for browsers and Node; see docs/sdk.md. */
export type { EventMethod, InputOf, MethodName, OutputOf } from '../protocol/catalogue.ts';
export { type ErrorCode, TmcpError } from '../protocol/errors.ts';
export { type CallOptions, Client, type ClientOptions, type ClientState, ConnectionLostError, createClient } from './client.ts';
export { MemoryQueue, type QueuedOp, type QueueStore } from './queue.ts';
export { createPkcePair, type TokenSource } from './sign-in.ts';
