/** What the server sends, read: frames to answers, refusals and events. Knows no call and no session. Rules: live binding, section 2. */
import { decodeAnswer } from '../protocol/codec.ts';
import { type ErrorCode, errorTable, TmcpError } from '../protocol/errors.ts';

export type ServerMessage =
  | { readonly kind: 'answer'; readonly id: unknown; readonly result: unknown }
  | { readonly kind: 'refusal'; readonly id: unknown; readonly error: TmcpError }
  | { readonly kind: 'event'; readonly method: string; readonly params: unknown; readonly seq: unknown };

/**
 * The messages of one frame: one, or those of a batch. Errors: throws what is wrong with a frame that holds none.
 */
export function readFrame(data: unknown): ServerMessage[] {
  if (!(data instanceof ArrayBuffer || ArrayBuffer.isView(data)))
    throw new Error(`the server sent ${typeof data} instead of a binary frame`);
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const value = decodeAnswer(bytes);
  return (Array.isArray(value) ? value : [value]).map(readMessage);
}

function readMessage(value: unknown): ServerMessage {
  if (!isMap(value)) throw new Error('the server sent something that is not a message');
  const { id, method, params, seq, error } = value;
  if (typeof method === 'string') return { kind: 'event', method, params: params ?? {}, seq };
  if (error !== undefined) return { kind: 'refusal', id, error: refusalOf(error) };
  if ('result' in value) return { kind: 'answer', id, result: value['result'] };
  throw new Error('the server sent a message that is neither an answer nor an event');
}

/** A code of a newer server becomes one that says as much about trying again; its own name is then `details.code`. */
function refusalOf(error: unknown): TmcpError {
  const { message, data } = isMap(error) ? error : {};
  const { code, retryable, retry_after: retryAfter, details } = isMap(data) ? data : {};
  const known = typeof code === 'string' && Object.hasOwn(errorTable, code);
  const shown = known ? (code as ErrorCode) : retryable === true ? 'SERVICE_UNAVAILABLE' : 'INVALID_REQUEST';
  const told = { ...(isMap(details) ? details : {}), ...(known || typeof code !== 'string' ? {} : { code }) };
  return new TmcpError(shown, typeof message === 'string' ? message : undefined, {
    ...(typeof retryAfter === 'number' ? { retryAfter } : {}),
    ...(Object.keys(told).length === 0 ? {} : { details: told }),
  });
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
