/**
 * The one way in for operations, whatever binding they came over: scope, limit, validation, idempotency, then the actor. Both
 * transports call it with a verified principal; it never sees a socket or a request.
 */
import { invalidRequest, TmcpError } from '../../protocol/errors.ts';
import type { Principal } from '../ports.ts';
import { digest, inputHash } from './digest.ts';
import { bucketKey, type LimitState, type UserLimiter } from './limiter.ts';
import type { Durable, Message, Reply } from './message.ts';
import { type CompiledOperation, issuesOf } from './validators.ts';

export interface GateOptions {
  readonly operations: ReadonlyMap<string, CompiledOperation>;
  readonly limiter: UserLimiter;
  readonly tell: (address: string, message: Message) => void;
  /** Keys the hashes of inputs under idempotency keys; the same on every node, and not in the database. */
  readonly hashKey: Uint8Array;
}

/** What a binding tells about one call. */
export interface Call {
  readonly requestId: string;
  /** Called with the bucket's state, before the answer. */
  readonly onLimit?: (state: LimitState) => void;
  /** Given by bindings that can tell later what became durable; without it an accepted write is answered durable. */
  readonly durable?: Durable;
}

interface Route {
  readonly bucket: string;
  /** Undefined where the input has a say. */
  readonly address: string | undefined;
}

export class Gate {
  /** By principal: a session's stays the same until its token is swapped. */
  readonly #routes = new WeakMap<Principal, Map<string, Route>>();
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  operation(name: string): CompiledOperation | undefined {
    return this.#options.operations.get(name);
  }

  /** Runs an operation for a caller; `reply` is called exactly once, possibly before this returns. */
  call(operation: CompiledOperation, who: Principal, input: unknown, call: Call, reply: Reply): void {
    const refusal = this.#refuse(operation, who, input, call);
    if (refusal !== undefined) {
      reply(refusal);
      return;
    }
    const { actor, name } = operation;
    if (actor === undefined) {
      reply(new TmcpError('INVALID_REQUEST', `${name} exists only on the live binding`));
      return;
    }
    const params = input as { readonly idempotency_key?: string; readonly durability?: string };
    const key = operation.idempotency === 'none' ? undefined : params.idempotency_key;
    const base: Message =
      operation.accepted && params.durability === 'accepted' && call.durable !== undefined
        ? { type: name, input, who, reply, requestId: call.requestId, durable: call.durable }
        : { type: name, input, who, reply, requestId: call.requestId };
    const address = this.#route(operation, who).address ?? actor(input as never, who, digest);
    this.#options.tell(
      address,
      key === undefined
        ? base
        : {
            ...base,
            idempotency: {
              scope: `${address}|${who.userId}|${who.appId}|${name}|${key}`,
              inputHash: inputHash(params, this.#options.hashKey),
            },
          },
    );
  }

  /** Strings that follow from caller and operation, made once: fresh ones would be hashed anew at every look-up. */
  #route(operation: CompiledOperation, who: Principal): Route {
    let routes = this.#routes.get(who);
    if (routes === undefined) {
      routes = new Map();
      this.#routes.set(who, routes);
    }
    let route = routes.get(operation.name);
    if (route === undefined) {
      const address = operation.perCaller ? operation.actor?.(undefined as never, who, digest) : undefined;
      route = { bucket: bucketKey(who, operation.limit), address };
      routes.set(operation.name, route);
    }
    return route;
  }

  #refuse(operation: CompiledOperation, who: Principal, input: unknown, call: Call): TmcpError | undefined {
    const { scopes } = operation;
    if (scopes.length > 0 && !scopes.some((scope) => who.scopes.has(scope))) {
      return new TmcpError('INSUFFICIENT_PERMISSIONS', undefined, { details: { required_scope: scopes.join(' or ') } });
    }
    if (operation.limit !== 'none') {
      const state = this.#options.limiter.take(this.#route(operation, who).bucket, operation.limit);
      call.onLimit?.(state);
      if (!state.ok) {
        return new TmcpError('RATE_LIMIT_EXCEEDED', undefined, {
          retryAfter: state.retryAfterS,
          details: { limit: state.limit, window: state.windowS, class: operation.limit },
        });
      }
    }
    const issues = issuesOf(operation, input);
    return issues.length > 0 ? invalidRequest(issues) : undefined;
  }
}
