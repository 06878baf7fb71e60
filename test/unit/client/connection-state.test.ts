/** The table of the connection's states: every state with every event, and what holds of all of them. */
import { describe, expect, it } from 'vitest';
import { type ClientState, type ConnectionEvent, nextState, reconnectDelay } from '../../../src/client/connection-state.ts';

/** Written out once more: a cell that is missing here does not compile. */
const expected: Record<ClientState, Record<ConnectionEvent, ClientState>> = {
  idle: {
    start: 'connecting',
    connected: 'idle',
    opened: 'idle',
    lost: 'idle',
    refused: 'idle',
    delayOver: 'idle',
    offline: 'idle',
    stop: 'closed',
  },
  connecting: {
    start: 'connecting',
    connected: 'opening',
    opened: 'connecting',
    lost: 'waiting',
    refused: 'closed',
    delayOver: 'connecting',
    offline: 'idle',
    stop: 'closed',
  },
  opening: {
    start: 'opening',
    connected: 'opening',
    opened: 'open',
    lost: 'waiting',
    refused: 'closed',
    delayOver: 'opening',
    offline: 'idle',
    stop: 'closed',
  },
  open: {
    start: 'open',
    connected: 'open',
    opened: 'open',
    lost: 'waiting',
    refused: 'closed',
    delayOver: 'open',
    offline: 'idle',
    stop: 'closed',
  },
  waiting: {
    start: 'waiting',
    connected: 'waiting',
    opened: 'waiting',
    lost: 'waiting',
    refused: 'closed',
    delayOver: 'connecting',
    offline: 'idle',
    stop: 'closed',
  },
  closed: {
    start: 'closed',
    connected: 'closed',
    opened: 'closed',
    lost: 'closed',
    refused: 'closed',
    delayOver: 'closed',
    offline: 'closed',
    stop: 'closed',
  },
};

const states = Object.keys(expected) as ClientState[];
const cells = states.flatMap((state) =>
  Object.entries(expected[state]).map(([event, next]) => ({ state, event: event as ConnectionEvent, next })),
);

describe('the connection', () => {
  it.each(cells)('in $state goes to $next at $event', ({ state, event, next }) => {
    expect(nextState(state, event)).toBe(next);
  });

  it('ends from everywhere at stop, and never leaves closed', () => {
    for (const { state, event } of cells) {
      expect(nextState(state, 'stop')).toBe('closed');
      expect(nextState('closed', event)).toBe('closed');
    }
  });

  it('comes back to connecting after a loss only through waiting', () => {
    for (const { state, event } of cells) {
      if (state !== 'connecting' && nextState(state, event) === 'connecting') expect(['idle', 'waiting']).toContain(state);
    }
  });

  it('opens only by way of opening', () => {
    for (const { state, event, next } of cells)
      if (next === 'open' && state !== 'open') expect([state, event]).toEqual(['opening', 'opened']);
  });
});

describe('the delay before the next try', () => {
  const hint = { minMs: 250, jitterMs: 2_000 };

  it('is never shorter than the server asked for', () => {
    for (let tries = 0; tries < 30; tries++) expect(reconnectDelay(tries, hint, 0)).toBeGreaterThanOrEqual(250);
    expect(reconnectDelay(0, { minMs: 90_000, jitterMs: 0 }, 0)).toBe(90_000);
  });

  it('is spread over the jitter from the first try on', () => {
    expect(reconnectDelay(0, hint, 0)).toBe(250);
    expect(reconnectDelay(0, hint, 0.5)).toBe(1_250);
    expect(reconnectDelay(0, { minMs: 250, jitterMs: 0 }, 0.99)).toBe(250);
  });

  it('doubles up to thirty seconds, and half of that again as jitter', () => {
    expect([0, 1, 2, 3].map((tries) => reconnectDelay(tries, hint, 0))).toEqual([250, 500, 1_000, 2_000]);
    expect(reconnectDelay(7, hint, 0)).toBe(30_000);
    expect(reconnectDelay(1_000, hint, 0)).toBe(30_000);
    expect(reconnectDelay(1_000, hint, 0.999)).toBeLessThanOrEqual(45_000);
  });
});
