/**
 * What an operation is: one entry of the catalogue, as data. Routing, validation, authorization, limits, both API
 * documents and the SDK's types are derived from it. No I/O; imports only schema types.
 */
import { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox';
import type { ErrorCode, Issue } from './errors.ts';

/** Rate-limit classes (protocol section 28); the buckets are in `rate-limits.ts`. */
export type LimitClass =
  | 'token'
  | 'refresh'
  | 'payment_initiation'
  | 'payment_authorization'
  | 'balance'
  | 'transactions'
  | 'storage'
  | 'storage_batch'
  | 'capabilities'
  | 'general'
  | 'none';

/** The HTTP twin of an operation. Path parameters, query members and the body together make the input. */
export interface HttpBinding {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With `{name}` parameters, each a member of the input. */
  readonly path: string;
  /** Input members that come from the query string; numbers are read as their schema says. */
  readonly query?: readonly string[];
  /** Status of success; 200 when absent. */
  readonly status?: number;
  /** Largest body in bytes; `limits.httpBodyBytes` when absent. */
  readonly bodyBytes?: number;
}

/** Whose call it is, as far as an address needs it. */
export interface CallerIdentity {
  readonly userId: string;
  readonly appId: string;
}

/** How addresses are made of what a caller gave. */
export interface Naming {
  /** 32 lower-case base-32 characters (160 bits) of a collision-resistant hash over the parts, unambiguous at their borders. */
  digest(parts: readonly string[]): string;
  /** Two base-32 characters that all actors of one person share. */
  shard(userId: string): string;
}

export interface Operation<I extends TSchema = TSchema, O extends TSchema = TSchema> {
  readonly name: string;
  readonly summary: string;
  readonly http?: HttpBinding;
  /** `session`: answered by the live session itself, only on the live binding. */
  readonly handledBy: 'actor' | 'session';
  /** Any one of these scopes suffices; empty: any valid token. */
  readonly scopes: readonly string[];
  readonly limit: LimitClass;
  readonly access: 'read' | 'write';
  readonly idempotency: 'none' | 'optional' | 'required';
  /** Whether `durability: "accepted"` may be asked for. */
  readonly accepted: boolean;
  readonly input: I;
  readonly output: O;
  /** Codes beyond those every operation can answer (`commonErrors`). */
  readonly errors: readonly ErrorCode[];
  /** What the schema cannot say; empty when all is well. */
  readonly check?: (input: Static<I>) => readonly Issue[];
  /** The address follows from the caller alone, whatever the input: it is made once a session. */
  readonly perCaller: boolean;
  /** The actor that answers; absent for session operations. */
  readonly actor?: (input: Static<I>, who: CallerIdentity, naming: Naming) => string;
}

/** What every operation with a token can answer (protocol section 35). */
export const commonErrors: readonly ErrorCode[] = [
  'INVALID_REQUEST',
  'INVALID_TOKEN',
  'INSUFFICIENT_PERMISSIONS',
  'RATE_LIMIT_EXCEEDED',
  'PAYLOAD_TOO_LARGE',
  'INTERNAL_ERROR',
  'SERVICE_UNAVAILABLE',
];

/** An idempotency key: 1 to 255 printable ASCII characters. */
export const IdempotencyKey = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: '^[\\x20-\\x7e]+$',
  description: 'Same key and same input: the first answer again',
});

/** An object schema that refuses members it does not name. */
export function strictObject<T extends Record<string, TSchema>>(properties: T, description?: string): TObject<T> {
  return Type.Object(properties, { additionalProperties: false, ...(description === undefined ? {} : { description }) });
}

type Defaults = 'handledBy' | 'scopes' | 'limit' | 'access' | 'idempotency' | 'accepted' | 'errors' | 'perCaller';

/** An entry of the catalogue; what is left out takes the common value. Keeps the literal name and the schemas' types. */
export function defineOperation<const N extends string, I extends TSchema, O extends TSchema>(
  entry: { readonly name: N } & Omit<Operation<I, O>, Defaults | 'name'> & Partial<Pick<Operation<I, O>, Defaults>>,
): Operation<I, O> & { readonly name: N } {
  return {
    handledBy: 'actor',
    scopes: [],
    limit: 'general',
    access: 'read',
    idempotency: 'none',
    accepted: false,
    errors: [],
    perCaller: false,
    ...entry,
  };
}
