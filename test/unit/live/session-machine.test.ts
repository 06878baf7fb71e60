/** The life of a session as a total table: no cell is missing, and each says what the rules say. */
import { describe, expect, it } from 'vitest';
import {
  sessionEvents,
  sessionLifecycle,
  sessionMachine,
  sessionPhases,
  type SessionEventName,
  type SessionPhase,
} from '../../../src/actors/session/session.machine.ts';
import { closeCodes } from '../../../src/protocol/close-codes.ts';
import type { SessionLifecycle } from '../../../src/transport/live/lifecycle.ts';

type Cell = readonly [SessionPhase, ...string[]] | '-';
type Table = Readonly<Record<SessionPhase, Readonly<Record<SessionEventName, Cell>>>>;

const none = Object.fromEntries(sessionEvents.map((event) => [event, '-'])) as Record<SessionEventName, '-'>;

/** `-`: nothing happens. A number is the code the socket is closed with. */
const table: Table = {
  opening: {
    opened: ['open'],
    notOpenedInTime: ['closed', '4408'],
    lost: ['closed'],
    resumed: '-',
    violated: ['closed', '4400'],
    tooLarge: ['closed', '1009'],
    flooded: ['closed', '4429'],
    slow: ['closed', '1013'],
    expired: ['closed', '4401'],
    revoked: '-',
    ended: '-',
    failed: ['closed', '4500'],
    drain: ['closed', '1012'],
    drainOver: '-',
    windowOver: '-',
    taken: '-',
    gap: '-',
  },
  open: {
    opened: '-',
    notOpenedInTime: '-',
    lost: ['detached', 'keep'],
    resumed: ['open', '4409'],
    violated: ['closed', '4400', 'forget'],
    tooLarge: ['detached', '1009', 'keep'],
    flooded: ['detached', '4429', 'keep'],
    slow: ['detached', '1013', 'keep'],
    expired: ['detached', '4401', 'keep'],
    revoked: ['closed', '4403', 'forget'],
    ended: ['closed', '1000', 'forget'],
    failed: ['closed', '4500', 'forget'],
    drain: ['draining', 'announceDrain'],
    drainOver: '-',
    windowOver: '-',
    taken: ['closed', '4409', 'forget'],
    gap: ['closed', '1012', 'forget'],
  },
  draining: {
    opened: '-',
    notOpenedInTime: '-',
    lost: ['detached', 'keep'],
    resumed: '-',
    violated: ['closed', '4400', 'forget'],
    tooLarge: ['detached', '1009', 'keep'],
    flooded: ['detached', '4429', 'keep'],
    slow: ['detached', '1013', 'keep'],
    expired: ['detached', '4401', 'keep'],
    revoked: ['closed', '4403', 'forget'],
    ended: ['closed', '1000', 'forget'],
    failed: ['closed', '4500', 'forget'],
    drain: '-',
    drainOver: ['detached', '1012', 'keep'],
    windowOver: '-',
    taken: ['closed', '4409', 'forget'],
    gap: ['closed', '1012', 'forget'],
  },
  detached: {
    ...none,
    resumed: ['open'],
    windowOver: ['closed', 'forget'],
    taken: ['closed', 'forget'],
    gap: ['closed', 'forget'],
    revoked: ['closed', 'forget'],
    failed: ['closed', 'forget'],
  },
  closed: none,
};

const lifecycle: SessionLifecycle = sessionLifecycle();

describe('the session machine', () => {
  it.each(sessionPhases.flatMap((phase) => sessionEvents.map((event) => [phase, event] as const)))('[LIVE1] %s, %s', (phase, event) => {
    const { phase: next, effects } = lifecycle(phase, event);
    const cell = table[phase][event];
    const shown = [next, ...effects.map((effect) => (effect.type === 'closeSocket' ? String(effect.code) : effect.type))];
    expect(shown).toEqual(cell === '-' ? [phase] : cell);
  });

  it('[LIVE1] knows no state or event that is not in the lists', () => {
    const states = sessionMachine.config.states as Record<string, { on?: Record<string, unknown> }>;
    expect(Object.keys(states)).toEqual([...sessionPhases]);
    for (const state of Object.values(states)) for (const event of Object.keys(state.on ?? {})) expect(sessionEvents).toContain(event);
  });

  it('[LIVE1] uses every close code of the protocol', () => {
    const used = new Set<number>();
    for (const phase of sessionPhases)
      for (const event of sessionEvents)
        for (const effect of lifecycle(phase, event).effects) if (effect.type === 'closeSocket') used.add(effect.code);
    for (const code of Object.values(closeCodes)) expect(used).toContain(code);
  });

  it.each([1, 2, 3, 4])('[LIVE1] on random walks keeps what it kept and forgets it once (seed %i)', (seed) => {
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let walk = 0; walk < 500; walk++) {
      let phase: SessionPhase = 'opening';
      let forgotten = 0;
      for (let step = 0; step < 30; step++) {
        const { phase: next, effects } = lifecycle(phase, sessionEvents[random(sessionEvents.length)] as SessionEventName);
        if (phase === 'closed') expect([next, effects]).toEqual(['closed', []]);
        if (effects.some(({ type }) => type === 'keep')) expect(next).toBe('detached');
        forgotten += effects.filter(({ type }) => type === 'forget').length;
        phase = next;
      }
      expect(forgotten).toBeLessThanOrEqual(1);
    }
  });
});
