/**
 * The connection's states as a total table: what each event does in each state. Pure: `connection.ts` does the I/O it names.
 * Every loop (connecting → waiting → connecting) passes through `waiting`, whose delay grows and is jittered, or ends in `closed`.
 */

export type ClientState = 'idle' | 'connecting' | 'opening' | 'open' | 'waiting' | 'closed';
export type ConnectionEvent = 'start' | 'connected' | 'opened' | 'lost' | 'refused' | 'delayOver' | 'offline' | 'stop';

type Row = Readonly<Record<ConnectionEvent, ClientState>>;

/** A row in which everything that is not named changes nothing. */
function row(state: ClientState, moves: Partial<Row>): Row {
  const stays = {
    start: state,
    connected: state,
    opened: state,
    lost: state,
    refused: state,
    delayOver: state,
    offline: state,
    stop: state,
  };
  return { ...stays, ...moves };
}

const table: Readonly<Record<ClientState, Row>> = {
  idle: row('idle', { start: 'connecting', stop: 'closed' }),
  connecting: row('connecting', { connected: 'opening', lost: 'waiting', refused: 'closed', offline: 'idle', stop: 'closed' }),
  opening: row('opening', { opened: 'open', lost: 'waiting', refused: 'closed', offline: 'idle', stop: 'closed' }),
  open: row('open', { lost: 'waiting', refused: 'closed', offline: 'idle', stop: 'closed' }),
  waiting: row('waiting', { refused: 'closed', delayOver: 'connecting', offline: 'idle', stop: 'closed' }),
  closed: row('closed', {}),
};

/** The state after `event`. */
export function nextState(state: ClientState, event: ConnectionEvent): ClientState {
  return table[state][event];
}

/** What the server said about coming back, ms. */
export interface ReconnectHint {
  readonly minMs: number;
  readonly jitterMs: number;
}

const longestMs = 30_000;

/**
 * How long to wait before try number `tries` (0 is the first): `minMs` doubled with each try up to 30 s, and on top of it up to
 * `jitterMs` or half of that, whichever is more. Never less than the hint's `minMs`. `random` is in [0, 1).
 */
export function reconnectDelay(tries: number, hint: ReconnectHint, random: number): number {
  const base = Math.max(hint.minMs, Math.min(longestMs, hint.minMs * 2 ** Math.min(tries, 10)));
  return Math.round(base + random * Math.max(hint.jitterMs, tries === 0 ? 0 : base / 2));
}
