/**
 * The one way in for operations, whatever binding they came over: scope, limit, validation, idempotency, then the actor. Both
 * transports call it with a verified principal; it never sees a socket or a request.
 */
import { invalidRequest, TmcpError } from '../../protocol/errors.ts';
import type { Clock, Principal } from '../ports.ts';
import type { Admission } from './admission.ts';
import { inputHash, naming } from './digest.ts';
import { bucketKey, charge, type LimitState, type UserLimiter } from './limiter.ts';
import type { Charge, Durable, Message, Reply } from './message.ts';
import { type CompiledOperation, issuesOf } from './validators.ts';

export interface GateOptions {
  readonly operations: ReadonlyMap<string, CompiledOperation>;
  readonly limiter: UserLimiter;
  readonly tell: (address: string, message: Message) => void;
  /** Keys the hashes of inputs under idempotency keys; the same on every node, and not in the database. */
  readonly hashKey: Uint8Array;
  /** Left out, everything is taken on and nothing has a deadline. */
  readonly overload?: Overload;
}

/** What the node takes on, and how long an answer is waited for. */
export interface Overload {
  readonly admission: Admission;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly deadlineMs: number;
}

/** What a binding tells about one call. */
export interface Call {
  readonly requestId: string;
  /** Called with the bucket's state, before the answer. */
  readonly onLimit?: (state: LimitState) => void;
  /** Given by bindings that can tell later what became durable; without it an accepted write is answered durable. */
  readonly durable?: Durable;
  /** W3C trace context of the request, as it came. */
  readonly trace?: string | undefined;
  /** Monotonic ms at which the request was begun, where the binding has looked. */
  readonly startedAt?: number;
  /** `admit` was asked before. */
  readonly admitted?: boolean;
  /** Whether whoever asked is gone. */
  readonly abandoned?: () => boolean;
}

interface Route {
  readonly limit: Charge | undefined;
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

  /** Why the node does not take this on now; undefined: it does. For bindings that must spend much on a request before `call`. */
  admit(operation: CompiledOperation): TmcpError | undefined {
    const { overload } = this.#options;
    return overload?.admission.refuse(operation.workClass, operation.access, overload.clock.monotonic());
  }

  /** Runs an operation for a caller; `reply` is called exactly once, possibly before this returns. */
  call(operation: CompiledOperation, who: Principal, input: unknown, call: Call, reply: Reply): void {
    const { overload } = this.#options;
    const now = call.startedAt ?? overload?.clock.monotonic() ?? 0;
    const shed = call.admitted === true ? undefined : overload?.admission.refuse(operation.workClass, operation.access, now);
    const refusal = shed ?? this.#refuse(operation, who, input, call);
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
    const route = this.#route(operation, who);
    const address = route.address ?? actor(input as never, who, naming);
    const message: Message & { durable?: Durable; idempotency?: Message['idempotency'] } = {
      type: name,
      input,
      who,
      reply,
      requestId: call.requestId,
      limit: route.limit,
      onLimit: call.onLimit,
      repeatable: key !== undefined || operation.access === 'read',
      deadline: overload === undefined ? undefined : now + overload.deadlineMs,
      abandoned: operation.access === 'read' ? call.abandoned : undefined,
      trace: call.trace,
    };
    if (operation.accepted && params.durability === 'accepted' && call.durable !== undefined) message.durable = call.durable;
    if (key !== undefined) {
      message.idempotency = {
        scope: `${address}|${who.userId}|${who.appId}|${name}|${key}`,
        inputHash: inputHash(params, this.#options.hashKey),
      };
    }
    this.#options.tell(address, message);
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
      const address = operation.perCaller ? operation.actor?.(undefined as never, who, naming) : undefined;
      const limit = operation.limit === 'none' ? undefined : { bucket: bucketKey(who, operation.limit), limitClass: operation.limit };
      route = { limit, address };
      routes.set(operation.name, route);
    }
    return route;
  }

  #refuse(operation: CompiledOperation, who: Principal, input: unknown, call: Call): TmcpError | undefined {
    const { scopes } = operation;
    if (scopes.length > 0 && !scopes.some((scope) => who.scopes.has(scope))) {
      return new TmcpError('INSUFFICIENT_PERMISSIONS', undefined, { details: { required_scope: scopes.join(' or ') } });
    }
    const issues = issuesOf(operation, input);
    if (issues.length === 0) return undefined;
    // A valid message is charged where it is delivered; this one goes no further.
    const { limit } = this.#route(operation, who);
    return (limit && charge(this.#options.limiter, limit, call.onLimit)) ?? invalidRequest(issues);
  }
}
