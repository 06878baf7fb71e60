/**
 * Callers on a link between nodes: a session's caller is sent once and named by a number from then on. The receiver may forget (its table is
 * bounded, or it was restarted); it says so, and the caller is sent again.
 */
import type { Principal } from '../../actors/ports.ts';

/** A caller as it is sent: its number (0: not to be remembered), then its members. */
type WireCaller = readonly [
  number,
  string,
  string,
  string,
  readonly string[],
  string,
  string,
  number,
  string | null,
  string | null,
  number,
];

/** What stands for a caller in a message: nobody, the number of one who was sent before, or the whole. */
export type CallerReference = null | number | WireCaller;

const mostCallers = 100_000;

/**
 * Grows for as long as this process runs, whatever becomes of a table: a peer's table may outlive ours, and a number that meant somebody else
 * before would let the message in under that name.
 */
let lastNumber = 0;

/** The sending side, one a peer. */
export class CallersSent {
  readonly #numbers = new WeakMap<Principal, number>();

  refer(who: Principal | null): CallerReference {
    if (who === null) return null;
    const known = this.#numbers.get(who);
    if (known !== undefined) return known;
    let number = 0;
    // Over HTTP each request makes a caller of its own.
    if (who.sessionId !== undefined) {
      number = ++lastNumber;
      this.#numbers.set(who, number);
    }
    const { userId, appId, walletId, scopes, tokenId, grantId, expiresAt, deviceId, sessionId, generation } = who;
    return [
      number,
      userId,
      appId,
      walletId,
      [...scopes],
      tokenId,
      grantId,
      expiresAt,
      deviceId ?? null,
      sessionId ?? null,
      generation ?? 0,
    ];
  }

  /** The peer does not know this caller (any more): the whole goes with the next message. */
  forgotten(who: Principal): void {
    this.#numbers.delete(who);
  }
}

/** The receiving side, one a peer. */
export class CallersKnown {
  readonly #callers = new Map<number, Principal>();

  /** The caller; undefined: its number is not known here. */
  resolve(reference: CallerReference): Principal | null | undefined {
    if (reference === null) return null;
    if (typeof reference === 'number') return this.#callers.get(reference);
    const [number, userId, appId, walletId, scopes, tokenId, grantId, expiresAt, deviceId, sessionId, generation] = reference;
    const who: Principal = {
      userId,
      appId,
      walletId,
      scopes: new Set(scopes),
      tokenId,
      grantId,
      expiresAt,
      ...(deviceId === null ? {} : { deviceId }),
      ...(sessionId === null ? {} : { sessionId }),
      generation,
    };
    if (number !== 0) {
      this.#callers.set(number, who);
      if (this.#callers.size > mostCallers) this.#callers.delete(this.#callers.keys().next().value as number);
    }
    return who;
  }
}
