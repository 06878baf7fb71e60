/** Reads values that are not hot: from the store, decrypted, outside the actor's turn. Rule [STO6]. */
import { TmcpError } from '../../protocol/errors.ts';
import type { VaultStore } from '../ports.ts';
import type { ActorContext } from '../runtime/behaviour.ts';
import type { Entry } from './entry.ts';
import { openValue } from './seal.ts';
import type { VaultState } from './vault-state.ts';

/**
 * How it ended: values by key, of exactly the versions that were asked for (a key that moved on meanwhile is left out); or why
 * not. `gone`: the activation is out of use, and only answers may be given.
 */
export type ValuesRead =
  | { readonly kind: 'values'; readonly values: ReadonlyMap<string, string> }
  | { readonly kind: 'failed'; readonly error: TmcpError }
  | { readonly kind: 'gone'; readonly error: TmcpError };

/** `done` is called exactly once, in the actor's turn unless `gone`. It must not throw when `gone`. */
export function readValues(
  state: VaultState,
  store: VaultStore,
  context: ActorContext,
  entries: readonly Entry[],
  done: (read: ValuesRead) => void,
): void {
  let answered = false;
  const read = store.values(
    state.address,
    entries.map((entry) => entry.key),
  );
  context.work(read, (error, rows) => {
    answered = true;
    done(rows === undefined ? { kind: 'failed', error: unavailable(error) } : decrypt(state, entries, rows));
  });
  // A dropped activation gets no more turns, but whoever waits is to hear of it. This runs after the turn above.
  const afterwards = (): void => {
    if (!answered) done({ kind: 'gone', error: unavailable(undefined) });
  };
  void read.then(afterwards, afterwards);
}

function decrypt(state: VaultState, entries: readonly Entry[], rows: Awaited<ReturnType<VaultStore['values']>>): ValuesRead {
  const byKey = new Map(rows.map((row) => [row.key, row]));
  const values = new Map<string, string>();
  try {
    for (const entry of entries) {
      const row = byKey.get(entry.key);
      if (row === undefined || row.version !== entry.version) continue;
      const value = entry.value ?? openValue(state.cipher, state.address, row.key, row.version, row.value);
      values.set(entry.key, value);
      if (state.index.get(entry.key) === entry && entry.value === undefined) {
        entry.value = value;
        state.hot.add(entry);
      }
    }
  } catch (cause) {
    return { kind: 'failed', error: new TmcpError('INTERNAL_ERROR', undefined, { cause }) };
  }
  state.hot.trim(state.flushed);
  return { kind: 'values', values };
}

function unavailable(cause: unknown): TmcpError {
  return new TmcpError('SERVICE_UNAVAILABLE', undefined, cause === undefined ? { retryAfter: 1 } : { retryAfter: 1, cause });
}
