/**
 * JSON-RPC 2.0 objects: what a decoded frame asks for, and the objects answers and events are sent as. Between the codec
 * and the catalogue; knows no operation. Rules: docs/protocol.md, live binding, section 2.
 */
import type { WireFormat } from './codec.ts';
import { type ErrorCode, errorTable, rpcCodeOf, type TmcpError } from './errors.ts';
import { limits } from './limits.ts';
import { utf8Length } from './utf8.ts';

/** An unsigned safe integer, or a string of at most 64 bytes. */
export type RequestId = number | string;

/** A map of the wire; its members are the sender's and unchecked. */
export type WireMap = Readonly<Record<string, unknown>>;

export interface ParsedRequest {
  readonly kind: 'request';
  readonly id: RequestId;
  readonly method: string;
  readonly params: WireMap;
}

/** Processed, never answered. */
export interface ParsedNotification {
  readonly kind: 'notification';
  readonly method: string;
  readonly params: WireMap;
}

/** Answered -32600. `id` is the sender's where it is a valid one, else null. */
export interface ParsedInvalid {
  readonly kind: 'invalid';
  readonly id: RequestId | null;
  readonly reason: string;
}

export type ParsedItem = ParsedRequest | ParsedNotification | ParsedInvalid;

/** 1 to 64 items in the sender's order; the answers are sent as one array. */
export interface ParsedBatch {
  readonly kind: 'batch';
  readonly items: readonly ParsedItem[];
}

export type Parsed = ParsedItem | ParsedBatch;

const methodChars = 128;

/**
 * What a decoded frame asks for. Never throws: what is no request comes back as `invalid`, in a batch each item for itself;
 * an empty or too long batch is one `invalid`.
 * Shape: absent `params` are `{}`; `context` may be a map and is ignored; every other member beside `jsonrpc`, `id`, `method`
 * and `params` is refused. `value` must come from `decodeFrame`. Source: live binding, section 2.
 */
export function parseEnvelope(value: unknown, format: WireFormat): Parsed {
  if (!Array.isArray(value)) return parseItem(value, format);
  if (value.length === 0) return invalid(null, 'a batch holds at least one request');
  if (value.length > limits.batch) return invalid(null, `a batch holds at most ${limits.batch} requests`);
  return { kind: 'batch', items: value.map((item) => parseItem(item, format)) };
}

function parseItem(value: unknown, format: WireFormat): ParsedItem {
  if (!isMap(value)) return invalid(null, 'a request is a map');
  const id = value['id'];
  const answerTo = isRequestId(id) ? id : null;
  for (const member in value) {
    if (!isKnownMember(member)) return invalid(answerTo, 'the request has an unknown member');
  }
  const version = value['jsonrpc'];
  if (version !== '2.0' && (version !== undefined || format === 'json')) return invalid(answerTo, 'jsonrpc must be "2.0"');
  if (id !== undefined && answerTo === null)
    return invalid(null, `id must be an unsigned integer or a string of at most ${limits.idBytes} bytes`);
  const method = value['method'];
  if (typeof method !== 'string' || method.length === 0 || method.length > methodChars) {
    return invalid(answerTo, `method must be a string of 1 to ${methodChars} characters`);
  }
  const { params = {}, context = {} } = value;
  if (!isMap(params)) return invalid(answerTo, 'params must be a map');
  if (!isMap(context)) return invalid(answerTo, 'context must be a map');
  // Adding 0 turns -0 into 0, so that an id is written as it will be read.
  if (answerTo !== null) return { kind: 'request', id: typeof answerTo === 'number' ? answerTo + 0 : answerTo, method, params };
  return { kind: 'notification', method, params };
}

function isKnownMember(member: string): boolean {
  return member === 'id' || member === 'method' || member === 'params' || member === 'jsonrpc' || member === 'context';
}

function isMap(value: unknown): value is WireMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function isRequestId(id: unknown): id is RequestId {
  if (typeof id === 'number') return Number.isSafeInteger(id) && id >= 0;
  if (typeof id !== 'string' || id.length > limits.idBytes) return false;
  return utf8Length(id) <= limits.idBytes;
}

function invalid(id: RequestId | null, reason: string): ParsedInvalid {
  return { kind: 'invalid', id, reason };
}

// --- outward ---------------------------------------------------------------------------------------------------------

/** `jsonrpc` stands in JSON frames only. */
interface Versioned {
  readonly jsonrpc?: '2.0';
}

export interface ResultEnvelope extends Versioned {
  readonly id: RequestId;
  readonly result: unknown;
}

/** The `data` of every error. `retry_after` is in seconds, `timestamp` RFC 3339. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retry_after?: number;
  readonly details?: WireMap;
  readonly request_id: string;
  readonly timestamp: string;
}

export interface ErrorEnvelope extends Versioned {
  /** Null when the frame or its id could not be read. */
  readonly id: RequestId | null;
  readonly error: { readonly code: number; readonly message: string; readonly data: ErrorData };
}

export interface EventEnvelope extends Versioned {
  readonly method: string;
  readonly params: WireMap;
  /** 1, 2, 3 … within the session. */
  readonly seq: number;
}

/** What the server sends: one of these, or an array of answers to a batch. */
export type AnswerEnvelope = ResultEnvelope | ErrorEnvelope;

/** What an error says of the request it answers. `timestamp` is RFC 3339 UTC. */
export interface ErrorMeta {
  readonly requestId: string;
  readonly timestamp: string;
}

/** The answer to a request that went well. An undefined result is sent as null, for the member must be there. */
export function resultEnvelope(format: WireFormat, id: RequestId, result: unknown): ResultEnvelope {
  const given = result === undefined ? null : result;
  return format === 'json' ? { jsonrpc: '2.0', id, result: given } : { id, result: given };
}

/**
 * The answer to a request that did not. `rpcCode` overrides the code that follows from the error's own, for what has no
 * TMCP code (undecodable, no request, unknown method). `INTERNAL_ERROR` says nothing but its code, whatever it was made with.
 */
export function errorEnvelope(
  format: WireFormat,
  id: RequestId | null,
  error: TmcpError,
  meta: ErrorMeta,
  rpcCode?: number,
): ErrorEnvelope {
  const internal = error.code === 'INTERNAL_ERROR';
  const data: ErrorData = {
    code: error.code,
    retryable: error.retryable,
    ...(error.retryAfter === undefined ? {} : { retry_after: error.retryAfter }),
    ...(error.details === undefined || internal ? {} : { details: error.details }),
    request_id: meta.requestId,
    timestamp: meta.timestamp,
  };
  const body = {
    code: rpcCode ?? rpcCodeOf(error.code),
    message: internal ? errorTable.INTERNAL_ERROR.message : error.message,
    data,
  };
  return format === 'json' ? { jsonrpc: '2.0', id, error: body } : { id, error: body };
}

/** An event of a session. `seq` counts from 1 without gaps; the caller keeps the count. */
export function eventEnvelope(format: WireFormat, method: string, params: WireMap, seq: number): EventEnvelope {
  return format === 'json' ? { jsonrpc: '2.0', method, params, seq } : { method, params, seq };
}
