/**
 * Values in clear that a vault keeps at hand, within a bound of its own and one for all vaults of the node. Second chance: what
 * was read since the last look stays once more. A value that is not flushed yet is nowhere else and always stays.
 */
import type { Entry } from './entry.ts';

/** What an entry costs beside its value's bytes, roughly. */
const overheadBytes = 256;

/** The bound that all vaults of a node share. A vault that was dropped gives its share back when it is collected. */
export class HotBudget {
  readonly totalBytes: number;
  readonly perVaultBytes: number;
  used = 0;
  readonly #gone = new FinalizationRegistry<{ bytes: number }>((share) => {
    this.used -= share.bytes;
  });

  constructor(perVaultBytes: number, totalBytes: number) {
    this.perVaultBytes = perVaultBytes;
    this.totalBytes = totalBytes;
  }

  /** Gives the share back once `owner` is collected. */
  watch(owner: object, share: { bytes: number }): void {
    this.#gone.register(owner, share);
  }
}

export class HotCache {
  readonly #entries = new Set<Entry>();
  readonly #share = { bytes: 0 };
  readonly #budget: HotBudget;

  constructor(budget: HotBudget) {
    this.#budget = budget;
    budget.watch(this, this.#share);
  }

  get bytes(): number {
    return this.#share.bytes;
  }

  /** Takes an entry whose value is set. */
  add(entry: Entry): void {
    if (this.#entries.has(entry)) return;
    this.#entries.add(entry);
    this.#count(entry.sizeBytes + overheadBytes);
  }

  /** Lets go of an entry that was replaced. */
  remove(entry: Entry): void {
    if (this.#entries.delete(entry)) this.#count(-entry.sizeBytes - overheadBytes);
  }

  /** Drops values until both bounds hold, or only unflushed ones (of commits after `flushed`) are left. */
  trim(flushed: number): void {
    let looks = this.#entries.size * 2;
    for (const entry of this.#entries) {
      if (!this.#over() || looks-- <= 0) return;
      if (entry.commit > flushed) continue;
      if (entry.touched) {
        entry.touched = false;
        this.#entries.delete(entry);
        this.#entries.add(entry);
        continue;
      }
      this.remove(entry);
      entry.value = undefined;
      entry.view = undefined;
    }
  }

  #over(): boolean {
    return this.#share.bytes > this.#budget.perVaultBytes || this.#budget.used > this.#budget.totalBytes;
  }

  #count(bytes: number): void {
    this.#share.bytes += bytes;
    this.#budget.used += bytes;
  }
}
