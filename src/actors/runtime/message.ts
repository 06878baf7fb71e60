/** What travels into an actor's mailbox, and how it is answered. */
import type { TmcpError } from '../../protocol/errors.ts';
import type { LimitClass } from '../../protocol/operation.ts';
import type { Principal } from '../ports.ts';
import type { LimitState } from './limiter.ts';

/** Called exactly once per message: with an error, or with null and the result. */
export type Reply = (error: TmcpError | null, result?: unknown) => void;

/** For a write asked for as accepted: called once, when it is committed or when it is certain that it never will be. */
export type Durable = (error: Error | null) => void;

export interface Message {
  /** An operation's name, or the name of an internal event (which never holds `tween.`). */
  readonly type: string;
  /** Validated for operations; trusted for internal events. */
  // biome-ignore lint/suspicious/noExplicitAny: the catalogue's validator has checked it; each actor names the type it takes
  readonly input: any;
  /** The caller of an operation; null for internal events. */
  readonly who: Principal | null;
  readonly reply: Reply;
  readonly requestId?: string;
  /** Present when the caller wants the answer before the commit; the answer then says `durable: false`. */
  readonly durable?: Durable;
  /** Present when the caller gave an idempotency key: where the first answer is kept, and the hash of the input. */
  readonly idempotency?: { readonly scope: string; readonly inputHash: string };
  /** The bucket the message is taken from, on the node that delivers it: the one that owns the caller's actors counts exactly. */
  readonly limit?: Charge | undefined;
  /** Called with that bucket's state, before the answer. */
  readonly onLimit?: ((state: LimitState) => void) | undefined;
  /** A read, or a write whose repeat is recognised: it may be sent again when nobody knows whether it arrived. */
  readonly repeatable?: boolean;
  /** Monotonic ms after which nobody waits for the answer any more. */
  readonly deadline?: number | undefined;
  /** Of a read: whether its caller is gone. Then it is not begun. */
  readonly abandoned?: (() => boolean) | undefined;
  /** W3C trace context of the request, as it came. */
  readonly trace?: string | undefined;
}

export interface Charge {
  /** Its `bucketKey`. */
  readonly bucket: string;
  readonly limitClass: Exclude<LimitClass, 'none'>;
}

export const noReply: Reply = () => {};
