/**
 * The life of a live session, pure: which happening leads where, and what the transport must do then. It holds no data; the
 * session's numbers, buffers and socket are the transport's, which reads this machine as a table and pays nothing for it.
 * Rules: docs/spec/session.md, [LIVE1] to [LIVE5].
 *
 *   opening ──opened──▶ open ──drain──▶ draining
 *                        │ ▲               │
 *                   lost │ │ resumed       │ drainOver, lost
 *                        ▼ │               ▼
 *                      detached ◀──────────┘        closed ◀── from everywhere
 */
import { setup } from 'xstate';
import { restore, step } from '../runtime/step.ts';

export const sessionPhases = ['opening', 'open', 'draining', 'detached', 'closed'] as const;
export type SessionPhase = (typeof sessionPhases)[number];

/** Everything that can happen to a session. `lost`: its socket went away by itself. `taken`: another node has it now. `gap`: events were lost. */
export const sessionEvents = [
  'opened',
  'notOpenedInTime',
  'lost',
  'resumed',
  'violated',
  'tooLarge',
  'flooded',
  'slow',
  'expired',
  'revoked',
  'ended',
  'failed',
  'drain',
  'drainOver',
  'windowOver',
  'taken',
  'gap',
] as const;
export type SessionEventName = (typeof sessionEvents)[number];

export type SessionEffect =
  | { readonly type: 'closeSocket'; readonly code: number }
  | { readonly type: 'keep' }
  | { readonly type: 'forget' }
  | { readonly type: 'announceDrain' };

export interface SessionStep {
  readonly phase: SessionPhase;
  readonly effects: readonly SessionEffect[];
}

const definition = setup({
  types: { events: {} as { readonly type: SessionEventName } },
  actions: {
    /** Closes the socket the session has (or, while opening, is). */
    closeSocket: (_, _params: { readonly code: number }) => {},
    /** Keeps the session for the resume window. */
    keep: () => {},
    /** Lets go of the session: it can no longer be resumed. */
    forget: () => {},
    /** Tells the client to move. */
    announceDrain: () => {},
  },
});

const close = (code: number) => ({ type: 'closeSocket' as const, params: { code } });
/** The socket goes, the session may be resumed. */
const detach = (code: number) => ({ target: 'detached' as const, actions: [close(code), 'keep' as const] });
/** Socket and session go. */
const end = (code: number) => ({ target: 'closed' as const, actions: [close(code), 'forget' as const] });

/** What ends a live session the same way whether or not the node is draining. */
const whileLive = {
  lost: { target: 'detached' as const, actions: ['keep' as const] },
  tooLarge: detach(1009),
  slow: detach(1013),
  expired: detach(4401),
  flooded: detach(4429),
  violated: end(4400),
  revoked: end(4403),
  ended: end(1000),
  failed: end(4500),
  taken: end(4409),
  gap: end(1012),
};

const refuse = (code: number) => ({ target: 'closed' as const, actions: [close(code)] });

export const sessionMachine = definition.createMachine({
  id: 'session',
  initial: 'opening',
  states: {
    opening: {
      on: {
        opened: { target: 'open' },
        lost: { target: 'closed' },
        notOpenedInTime: refuse(4408),
        violated: refuse(4400),
        tooLarge: refuse(1009),
        flooded: refuse(4429),
        slow: refuse(1013),
        expired: refuse(4401),
        failed: refuse(4500),
        drain: refuse(1012),
      },
    },
    open: {
      on: {
        ...whileLive,
        // The older socket of a session that was resumed on a newer one.
        resumed: { target: 'open', actions: [close(4409)] },
        drain: { target: 'draining', actions: ['announceDrain'] },
      },
    },
    draining: { on: { ...whileLive, drainOver: detach(1012) } },
    detached: {
      on: {
        resumed: { target: 'open' },
        windowOver: { target: 'closed', actions: ['forget'] },
        taken: { target: 'closed', actions: ['forget'] },
        gap: { target: 'closed', actions: ['forget'] },
        revoked: { target: 'closed', actions: ['forget'] },
        failed: { target: 'closed', actions: ['forget'] },
      },
    },
    closed: {},
  },
});

/** The machine as a function over names: every step is made once, here, so that a live session pays a look-up. */
export function sessionLifecycle(): (phase: SessionPhase, event: SessionEventName) => SessionStep {
  const table = new Map<string, SessionStep>();
  for (const phase of sessionPhases) {
    const snapshot = restore(sessionMachine, { value: phase, context: {} });
    for (const type of sessionEvents) {
      const { snapshot: after, effects } = step(sessionMachine, snapshot, { type });
      const named = effects.map((effect): SessionEffect => ({ type: effect.type, ...effect.params }) as SessionEffect);
      table.set(`${phase}|${type}`, { phase: after.value as SessionPhase, effects: named });
    }
  }
  return (phase, event) => table.get(`${phase}|${event}`) as SessionStep;
}
