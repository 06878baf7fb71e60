/** Listeners by name. An exception in one reaches neither the others nor the client: it is reported. */

/** Where faults go that have no caller: exceptions of listeners, unreadable messages, a failing token source or queue store. */
export type Report = (error: unknown) => void;

export type Listener = (params: never, seq: number) => unknown;

/** `onError` made safe to call from anywhere; the console where there is none. */
export function reporter(onError: Report | undefined): Report {
  return (error) => {
    try {
      if (onError === undefined) console.error('tmcp client:', error);
      else onError(error);
    } catch (nested) {
      console.error('tmcp client: onError failed:', nested);
    }
  };
}

export class Listeners {
  readonly #report: Report;
  readonly #byName = new Map<string, Set<{ readonly listener: Listener }>>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** Whether anybody listens. */
  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /** Adds a listener; the same one may be added twice. Returns how to take it away. */
  add(name: string, listener: Listener): () => void {
    const entry = { listener };
    const set = this.#byName.get(name) ?? new Set();
    set.add(entry);
    this.#byName.set(name, set);
    return () => {
      if (set.delete(entry) && set.size === 0 && this.#byName.get(name) === set) this.#byName.delete(name);
    };
  }

  /** Calls the listeners of a name in the order in which they were added; one added meanwhile hears the next event. */
  emit(name: string, params: unknown, seq = 0): void {
    for (const { listener } of [...(this.#byName.get(name) ?? [])]) {
      try {
        const returned = listener(params as never, seq);
        if (returned instanceof Promise) returned.catch(this.#report);
      } catch (error) {
        this.#report(error);
      }
    }
  }
}
