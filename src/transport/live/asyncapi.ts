/** The AsyncAPI 3.0 document of the live binding, made from the catalogue. `npm run docs` writes it, the gateway serves it. */
import { eventMethods, operations } from '../../protocol/catalogue.ts';
import { closeCodes } from '../../protocol/close-codes.ts';
import { errorTable, rpcCodeOf } from '../../protocol/errors.ts';
import { limits } from '../../protocol/limits.ts';
import { commonErrors, type Operation } from '../../protocol/operation.ts';
import { subprotocols } from './subprotocol.ts';

type Json = { [member: string]: unknown };

const requestId = {
  description: 'Chosen by the client; the answer has the same. Without it the message is a notification and is never answered.',
  oneOf: [
    { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    { type: 'string', maxLength: limits.idBytes },
  ],
};
const version = { const: '2.0', description: 'May be left out in MessagePack' };

/** What each event tells. */
const eventParams: Readonly<Record<(typeof eventMethods)[number], Json>> = {
  'tween.session.expiring': { expires_at: { type: 'string', format: 'date-time' } },
  'tween.session.draining': { reconnect_after_ms: { type: 'integer' } },
  'tween.session.durable': { write: { type: 'integer' }, db_epoch: { type: 'string' } },
  'tween.payment.updated': { payment_id: { type: 'string' }, status: { type: 'string' } },
  'tween.storage.changed': { key: { type: 'string' }, version: { type: 'integer' } },
  'tween.sync.conflict': { key: { type: 'string' } },
  'tween.auth.revoked': {},
  'tween.wallet.updated': {},
};

/** The document. Same catalogue, same document, member for member. */
export function buildAsyncApi(): Json {
  const messages: Record<string, Json> = { Error: errorMessage() };
  for (const operation of operations) {
    messages[`${operation.name}.request`] = requestMessage(operation);
    messages[`${operation.name}.result`] = resultMessage(operation);
  }
  for (const method of eventMethods) messages[`${method}.event`] = eventMessage(method);
  const channelMessage = (name: string): Json => ({ $ref: `#/channels/live/messages/${pointer(name)}` });
  const document = {
    asyncapi: '3.0.0',
    info: {
      title: 'TMCP live binding',
      version: '1',
      description: 'JSON-RPC 2.0 over one WebSocket, in MessagePack or JSON.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/msgpack',
    channels: {
      live: {
        address: '/v1/live',
        description: `Subprotocols: ${Object.keys(subprotocols).join(', ')}. Frames up to ${limits.frameBytes} bytes, ${limits.frameBytesBeforeOpen} before tween.session.open.`,
        messages: Object.fromEntries(Object.keys(messages).map((name) => [name, { $ref: `#/components/messages/${pointer(name)}` }])),
        bindings: { ws: { method: 'GET' } },
        'x-close-codes': closeCodes,
      },
    },
    operations: {
      ...Object.fromEntries(
        operations.map((operation) => [
          operation.name,
          {
            action: 'receive',
            summary: operation.summary,
            channel: { $ref: '#/channels/live' },
            messages: [channelMessage(`${operation.name}.request`)],
            reply: {
              channel: { $ref: '#/channels/live' },
              messages: [channelMessage(`${operation.name}.result`), channelMessage('Error')],
            },
            'x-scopes-any-of': operation.scopes,
            'x-rate-limit-class': operation.limit,
            'x-idempotency': operation.idempotency,
            'x-accepted': operation.accepted,
            'x-errors': errorsOf(operation),
          },
        ]),
      ),
      ...Object.fromEntries(
        eventMethods.map((method) => [
          method,
          { action: 'send', channel: { $ref: '#/channels/live' }, messages: [channelMessage(`${method}.event`)] },
        ]),
      ),
    },
    components: { messages },
  };
  return JSON.parse(JSON.stringify(document)) as Json;
}

function requestMessage({ name, summary, input }: Operation): Json {
  return {
    name,
    summary,
    payload: {
      type: 'object',
      additionalProperties: false,
      required: ['method'],
      properties: {
        jsonrpc: version,
        id: requestId,
        method: { const: name },
        params: input,
        context: { type: 'object', description: 'Ignored' },
      },
    },
  };
}

function resultMessage({ name, output }: Operation): Json {
  return {
    name: `${name} result`,
    payload: { type: 'object', required: ['id', 'result'], properties: { jsonrpc: version, id: requestId, result: output } },
  };
}

function eventMessage(method: (typeof eventMethods)[number]): Json {
  const seq = { type: 'integer', minimum: 1, description: 'Without gaps within the session' };
  const params = { type: 'object', properties: eventParams[method] };
  return {
    name: method,
    payload: {
      type: 'object',
      required: ['method', 'params', 'seq'],
      properties: { jsonrpc: version, method: { const: method }, params, seq },
    },
  };
}

function errorMessage(): Json {
  const data = {
    type: 'object',
    required: ['code', 'retryable', 'request_id', 'timestamp'],
    properties: {
      code: { enum: Object.keys(errorTable) },
      retryable: { type: 'boolean' },
      retry_after: { type: 'number', description: 'Seconds' },
      details: { type: 'object' },
      request_id: { type: 'string' },
      timestamp: { type: 'string', format: 'date-time' },
    },
  };
  const error = {
    type: 'object',
    required: ['code', 'message', 'data'],
    properties: { code: { type: 'integer' }, message: { type: 'string' }, data },
  };
  return {
    name: 'Error',
    payload: {
      type: 'object',
      required: ['id', 'error'],
      properties: { jsonrpc: version, id: { oneOf: [...requestId.oneOf, { type: 'null' }] }, error },
    },
  };
}

function errorsOf(operation: Operation): Json[] {
  return [...new Set([...commonErrors, ...operation.errors])].map((code) => ({
    code,
    rpc_code: rpcCodeOf(code),
    retryable: errorTable[code].retryable,
  }));
}

/** A name as a token of a JSON pointer. */
function pointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
