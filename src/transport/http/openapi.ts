/** The OpenAPI 3.1 document of the HTTP binding, made from the catalogue. `npm run docs` writes it, the gateway serves it. */
import type { TSchema } from '@sinclair/typebox';
import { operations } from '../../protocol/catalogue.ts';
import { type ErrorCode, errorTable } from '../../protocol/errors.ts';
import { commonErrors, type HttpBinding, type Operation } from '../../protocol/operation.ts';

type Json = { [member: string]: unknown };

/** What the gateway itself can answer beside an operation's own codes. */
const gatewayErrors: readonly ErrorCode[] = ['UNSUPPORTED_MEDIA_TYPE'];

const rateHeaders: Json = Object.fromEntries(
  [
    ['X-RateLimit-Limit', 'Requests in a window'],
    ['X-RateLimit-Remaining', 'Requests left of it'],
    ['X-RateLimit-Reset', 'Unix seconds at which the bucket is full'],
    ['X-RateLimit-Reset-After', 'Seconds until then'],
    ['X-RateLimit-Burst', 'Requests allowed beyond the limit'],
    ['X-RateLimit-Burst-Remaining', 'Requests left of those'],
  ].map(([name, description]) => [name, { description, schema: { type: 'integer' } }]),
);
const requestIdHeader = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } };

/** The document. Same catalogue, same document, member for member. */
export function buildOpenApi(): Json {
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    const { http } = operation;
    if (http === undefined) continue;
    paths[http.path] = { ...paths[http.path], [http.method.toLowerCase()]: operationObject(operation, http) };
  }
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'TMCP',
      version: '1',
      description: 'The HTTP binding of the mini-app communication protocol: the second door to the operations of the live binding.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ tep: [] }],
    tags: [...new Set(operations.filter(({ http }) => http !== undefined).map(({ name }) => tagOf(name)))].map((name) => ({ name })),
    paths: { ...paths, ...plainPaths },
    components: {
      securitySchemes: {
        tep: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'TEP',
          description: 'A TEP access token, `tep.` and a JWT, from `/oauth2/token`',
        },
      },
      headers: {
        RequestId: { description: "The request's id: the client's, when it sent one of [A-Za-z0-9._-]{1,64}", schema: { type: 'string' } },
      },
      parameters: {
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          description: 'Synonym of the member `idempotency_key`',
          schema: { type: 'string', minLength: 1, maxLength: 255 },
        },
        DeviceId: {
          name: 'X-Device-Id',
          in: 'header',
          description: 'The device the request comes from',
          schema: { type: 'string', minLength: 1, maxLength: 128 },
        },
        RequestId: { name: 'X-Request-Id', in: 'header', schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' } },
        TraceParent: { name: 'traceparent', in: 'header', description: 'W3C Trace Context', schema: { type: 'string' } },
      },
      schemas: { Error: errorSchema() },
    },
  };
  return JSON.parse(JSON.stringify(document)) as Json;
}

function operationObject(operation: Operation, http: HttpBinding): Json {
  const properties = (operation.input as unknown as { properties: Record<string, TSchema>; required?: string[] }).properties;
  const required = new Set((operation.input as unknown as { required?: string[] }).required ?? []);
  const inPath = [...http.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string);
  const inQuery = http.query ?? [];
  const elsewhere = new Set([...inPath, ...inQuery]);
  const inBody = Object.keys(properties).filter((name) => !elsewhere.has(name));
  const hasBody = http.method !== 'GET' && inBody.length > 0;
  const parameters: Json[] = [
    ...inPath.map((name) => ({ name, in: 'path', required: true, schema: properties[name] })),
    ...inQuery.map((name) => ({ name, in: 'query', required: required.has(name), schema: properties[name] })),
    ...(operation.idempotency === 'none' ? [] : [{ $ref: '#/components/parameters/IdempotencyKey' }]),
    ...['DeviceId', 'RequestId', 'TraceParent'].map((name) => ({ $ref: `#/components/parameters/${name}` })),
  ];
  const bodyRequired = inBody.filter((name) => required.has(name) && !(name === 'idempotency_key'));
  return {
    operationId: operation.name,
    summary: operation.summary,
    tags: [tagOf(operation.name)],
    security: [{ tep: [...operation.scopes] }],
    'x-scopes-any-of': operation.scopes,
    'x-rate-limit-class': operation.limit,
    'x-idempotency': operation.idempotency,
    parameters,
    ...(hasBody
      ? {
          requestBody: {
            required: bodyRequired.length > 0,
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  additionalProperties: false,
                  ...(bodyRequired.length > 0 ? { required: bodyRequired } : {}),
                  properties: Object.fromEntries(inBody.map((name) => [name, properties[name]])),
                },
              },
            },
          },
        }
      : {}),
    responses: {
      [String(http.status ?? 200)]: {
        description: operation.summary,
        headers: { ...requestIdHeader, ...rateHeaders },
        content: { 'application/json': { schema: operation.output } },
      },
      ...errorResponses([...commonErrors, ...operation.errors, ...(hasBody ? gatewayErrors : [])]),
    },
  };
}

/** One response a status, with the codes that share it. */
function errorResponses(codes: readonly ErrorCode[]): Json {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = errorTable[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const responses = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    responses.map(([status, shared]) => [
      String(status),
      {
        description: shared.map((code) => `${code}: ${errorTable[code].message}`).join('. '),
        headers: {
          ...requestIdHeader,
          ...(status === 429 || status === 503 ? { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' } } } : {}),
          ...(status === 401 ? { 'WWW-Authenticate': { schema: { type: 'string' } } } : {}),
        },
        content: {
          'application/json': {
            schema: {
              allOf: [
                { $ref: '#/components/schemas/Error' },
                { type: 'object', properties: { error: { type: 'object', properties: { code: { enum: shared } } } } },
              ],
            },
          },
        },
      },
    ]),
  );
}

function errorSchema(): Json {
  return {
    type: 'object',
    required: ['error'],
    properties: {
      error: {
        type: 'object',
        required: ['code', 'message', 'timestamp', 'request_id'],
        properties: {
          code: { type: 'string', enum: Object.keys(errorTable) },
          message: { type: 'string' },
          details: { type: 'object' },
          timestamp: { type: 'string', format: 'date-time' },
          request_id: { type: 'string' },
          retry_after: { type: 'number', description: 'Seconds' },
        },
      },
    },
  };
}

function tagOf(name: string): string {
  return name.split('.')[1] ?? name;
}

const json = (description: string, properties: Json): Json => ({
  description,
  content: { 'application/json': { schema: { type: 'object', properties } } },
});
const text = { type: 'string' };

/** What stands on the same port and is no operation. */
const plainPaths: Json = {
  '/healthz': {
    get: {
      operationId: 'healthz',
      summary: 'The process answers',
      security: [],
      responses: { '200': json('Alive', { status: { const: 'ok' } }) },
    },
  },
  '/readyz': {
    get: {
      operationId: 'readyz',
      summary: 'The node can commit',
      security: [],
      responses: {
        '200': json('Ready', { status: { const: 'ready' }, checks: { type: 'object' } }),
        '503': json('Not ready, or draining', { status: { const: 'unavailable' }, checks: { type: 'object' } }),
      },
    },
  },
  '/openapi.json': {
    get: {
      operationId: 'openapi',
      summary: 'This document',
      security: [],
      responses: { '200': json('OpenAPI 3.1', {}), '304': { description: 'Unchanged' } },
    },
  },
  '/asyncapi.json': {
    get: {
      operationId: 'asyncapi',
      summary: 'The document of the live binding',
      security: [],
      responses: { '200': json('AsyncAPI 3.0', {}), '304': { description: 'Unchanged' } },
    },
  },
  '/.well-known/openid-configuration': {
    get: {
      operationId: 'discovery',
      summary: 'Where the OAuth endpoints are and what they can do',
      security: [],
      responses: { '200': json('Discovery', { issuer: text }) },
    },
  },
};
