/**
 * The connection's states as a total table: what each event does in each state. Pure: `client.ts` does the I/O it names.
 * Every loop (connecting → waiting → connecting) passes through `waiting`, whose delay grows and is jittered, or ends in `closed`.
 */

export type ClientState = 'idle' | 'connecting' | 'opening' | 'open' | 'waiting' | 'closed';
export type ConnectionEvent = 'start' | 'connected' | 'opened' | 'lost' | 'refused' | 'delayOver' | 'stop';

const table: Readonly<Record<ClientState, Readonly<Record<ConnectionEvent, ClientState>>>> = {
  idle: { start: 'connecting', connected: 'idle', opened: 'idle', lost: 'idle', refused: 'idle', delayOver: 'idle', stop: 'closed' },
  connecting: { start: 'connecting', connected: 'opening', opened: 'connecting', lost: 'waiting', refused: 'closed', delayOver: 'connecting', stop: 'closed' },
  opening: { start: 'opening', connected: 'opening', opened: 'open', lost: 'waiting', refused: 'closed', delayOver: 'opening', stop: 'closed' },
  open: { start: 'open', connected: 'open', opened: 'open', lost: 'waiting', refused: 'closed', delayOver: 'open', stop: 'closed' },
  waiting: { start: 'waiting', connected: 'waiting', opened: 'waiting', lost: 'waiting', refused: 'closed', delayOver: 'connecting', stop: 'closed' },
  closed: { start: 'closed', connected: 'closed', opened: 'closed', lost: 'closed', refused: 'closed', delayOver: 'closed', stop: 'closed' },
};

/** The state after `event`. */
export function nextState(state: ClientState, event: ConnectionEvent): ClientState {
  return table[state][event];
}

/**
 * How long to wait before the next try: the server's hint when it gave one, else exponential from `minMs` to 30 s, both with
 * full jitter of `jitterMs` or half the delay. `random` is in [0, 1).
 */
export function reconnectDelay(tries: number, hint: { readonly minMs: number; readonly jitterMs: number }, random: number): number {
  const base = Math.min(30_000, hint.minMs * 2 ** Math.min(tries, 10));
  return Math.round(base / 2 + random * (base / 2 + hint.jitterMs));
}
