/**
 * Remembers chains that failed and have nothing waiting any more, so that a late entry of the discarded actor is refused without a
 * round trip. Only a saving: the database refuses it too, by its base seq. Bounded, the oldest is forgotten.
 */
import type { Address, JournalEntry } from '../../actors/ports.ts';
import { EntryRefusedError } from './errors.ts';
import type { Chain } from './pending.ts';

const most = 10_000;

export class BrokenChains {
  readonly #chains = new Map<Address, { tail: number; readonly error: Error }>();

  remember(chain: Chain): void {
    if (chain.broken === undefined) return;
    this.#chains.delete(chain.address);
    this.#chains.set(chain.address, { tail: chain.tail, error: chain.broken });
    if (this.#chains.size <= most) return;
    for (const oldest of this.#chains.keys()) {
      this.#chains.delete(oldest);
      return;
    }
  }

  /** Why `entry` is refused: it goes on where a failed chain ended. Any other base is that of an actor loaded anew, and clears the mark. */
  refusalOf(entry: JournalEntry): Error | undefined {
    const broken = this.#chains.get(entry.address);
    if (broken === undefined) return undefined;
    if (entry.baseSeq !== broken.tail) {
      this.#chains.delete(entry.address);
      return undefined;
    }
    broken.tail = entry.seq;
    return new EntryRefusedError(`an earlier entry of ${entry.address} failed`, { cause: broken.error });
  }
}
