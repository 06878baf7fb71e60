/** The payment machine alone: every state against every event, the guards' other branches, timers, snapshots, history. */
import fc from 'fast-check';
import { HistoryDivergedError } from '../../../src/actors/runtime/history-diverged.ts';
import { describe, expect, it } from 'vitest';
import { paymentMachine } from '../../../src/actors/payment/payment.machine.ts';
import { paymentDefinition } from '../../../src/actors/payment/payment.ts';
import type { PaymentContext, PaymentEvent, PaymentState } from '../../../src/actors/payment/payment-types.ts';
import { paymentEventTypes } from '../../../src/actors/payment/payment-types.ts';
import type { RecordRow } from '../../../src/actors/ports.ts';
import { type MachineDefinition, replay, reviveMachine, stateName } from '../../../src/actors/runtime/machine-behaviour.ts';
import { firstStep, step, stored } from '../../../src/actors/runtime/step.ts';
import { unknownNames } from '../runtime/machine-names.ts';
import { createdAt, factsOf, input, snapshotIn, states, stepIn, timers, told, usual } from './machine-support.ts';

type Column = PaymentEvent['type'] | keyof typeof timers;

/** What the usual event of each name comes to in each state; a missing cell does not compile. `–`: it means nothing there. */
const table: Readonly<Record<PaymentState, Readonly<Record<Column, string>>>> = {
  pending_authorization: {
    'payment.authorize': 'mfa_required: challenge, announce',
    'payment.cancel': 'cancelled: show, announce',
    'mfa.attempt': 'pending_authorization: reject(MFA_CHALLENGE_EXPIRED)',
    'mfa.passed': 'pending_authorization: reject(MFA_CHALLENGE_EXPIRED)',
    'mfa.failed': 'pending_authorization: reject(MFA_CHALLENGE_EXPIRED)',
    'wallet.charged': '–',
    'wallet.refused': '–',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: 'expired: announce',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
  mfa_required: {
    'payment.authorize': 'mfa_required: challenge',
    'payment.cancel': 'cancelled: show, announce',
    'mfa.attempt': 'mfa_required: mfa.evaluate',
    'mfa.passed': 'processing.charging: wait, announce, wallet.charge',
    'mfa.failed': 'mfa_required: reject(INVALID_MFA_CREDENTIALS)',
    'wallet.charged': '–',
    'wallet.refused': '–',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: '–',
    mfa: 'expired: announce',
    requery: '–',
    unresolved: '–',
  },
  'processing.charging': {
    'payment.authorize': 'processing.charging: wait',
    'payment.cancel': 'processing.charging: reject(INVALID_STATE)',
    'mfa.attempt': 'processing.charging: wait',
    'mfa.passed': 'processing.charging: reject(INVALID_STATE)',
    'mfa.failed': 'processing.charging: reject(INVALID_STATE)',
    'wallet.charged': 'completed: announce, announce.wallet',
    'wallet.refused': 'failed: announce',
    'wallet.unknown': 'processing.unknown',
    'wallet.unavailable': 'processing.unknown',
    'wallet.unresolved': 'processing.unresolved: alarm',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
  'processing.unknown': {
    'payment.authorize': 'processing.unknown: show',
    'payment.cancel': 'processing.unknown: reject(INVALID_STATE)',
    'mfa.attempt': 'processing.unknown: show',
    'mfa.passed': 'processing.unknown: reject(INVALID_STATE)',
    'mfa.failed': 'processing.unknown: reject(INVALID_STATE)',
    'wallet.charged': 'completed: announce, announce.wallet',
    'wallet.refused': 'failed: announce',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': 'processing.unresolved: alarm',
    pending: '–',
    mfa: '–',
    requery: 'processing.settling: wallet.settle',
    unresolved: '–',
  },
  'processing.settling': {
    'payment.authorize': 'processing.settling: show',
    'payment.cancel': 'processing.settling: reject(INVALID_STATE)',
    'mfa.attempt': 'processing.settling: show',
    'mfa.passed': 'processing.settling: reject(INVALID_STATE)',
    'mfa.failed': 'processing.settling: reject(INVALID_STATE)',
    'wallet.charged': 'completed: announce, announce.wallet',
    'wallet.refused': 'failed: announce',
    'wallet.unknown': 'processing.unknown',
    'wallet.unavailable': 'processing.unknown',
    'wallet.unresolved': 'processing.unresolved: alarm',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
  'processing.unresolved': {
    'payment.authorize': 'processing.unresolved: show',
    'payment.cancel': 'processing.unresolved: reject(INVALID_STATE)',
    'mfa.attempt': 'processing.unresolved: show',
    'mfa.passed': 'processing.unresolved: reject(INVALID_STATE)',
    'mfa.failed': 'processing.unresolved: reject(INVALID_STATE)',
    'wallet.charged': 'completed: announce, announce.wallet',
    'wallet.refused': 'failed: announce',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: 'processing.settling: wallet.settle',
  },
  completed: {
    'payment.authorize': 'completed: show',
    'payment.cancel': 'completed: reject(INVALID_STATE)',
    'mfa.attempt': 'completed: show',
    'mfa.passed': 'completed: reject(INVALID_STATE)',
    'mfa.failed': 'completed: reject(INVALID_STATE)',
    'wallet.charged': '–',
    'wallet.refused': 'completed: alarm',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
  failed: {
    'payment.authorize': 'failed: reject(INSUFFICIENT_FUNDS)',
    'payment.cancel': 'failed: reject(INVALID_STATE)',
    'mfa.attempt': 'failed: reject(INSUFFICIENT_FUNDS)',
    'mfa.passed': 'failed: reject(INSUFFICIENT_FUNDS)',
    'mfa.failed': 'failed: reject(INSUFFICIENT_FUNDS)',
    'wallet.charged': 'failed: alarm',
    'wallet.refused': '–',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
  cancelled: {
    'payment.authorize': 'cancelled: reject(INVALID_STATE)',
    'payment.cancel': 'cancelled: show',
    'mfa.attempt': 'cancelled: reject(INVALID_STATE)',
    'mfa.passed': 'cancelled: reject(INVALID_STATE)',
    'mfa.failed': 'cancelled: reject(INVALID_STATE)',
    'wallet.charged': 'cancelled: alarm',
    'wallet.refused': '–',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
  expired: {
    'payment.authorize': 'expired: reject(PAYMENT_EXPIRED)',
    'payment.cancel': 'expired: reject(INVALID_STATE)',
    'mfa.attempt': 'expired: reject(PAYMENT_EXPIRED)',
    'mfa.passed': 'expired: reject(PAYMENT_EXPIRED)',
    'mfa.failed': 'expired: reject(PAYMENT_EXPIRED)',
    'wallet.charged': 'expired: alarm',
    'wallet.refused': '–',
    'wallet.unknown': '–',
    'wallet.unavailable': '–',
    'wallet.unresolved': '–',
    pending: '–',
    mfa: '–',
    requery: '–',
    unresolved: '–',
  },
};

describe('every state, every event', () => {
  it.each(states.flatMap((state) => [...paymentEventTypes].map((type) => [state, type] as const)))('[PAY34] %s × %s', (state, type) => {
    expect(told(stepIn(state, usual[type]))).toBe(table[state][type]);
  });

  it.each(states.flatMap((state) => (Object.keys(timers) as (keyof typeof timers)[]).map((timer) => [state, timer] as const)))(
    '[PAY34] %s × timer %s',
    (state, timer) => {
      expect(told(stepIn(state, { type: timers[timer], at: createdAt + 300_000 }))).toBe(table[state][timer]);
    },
  );

  it('[PAY34] names nothing that it does not have', () => {
    expect(unknownNames(paymentMachine, paymentEventTypes)).toEqual([]);
  });

  it('[PAY29] leaves a state that has ended by no event at all', () => {
    for (const state of ['completed', 'failed', 'cancelled', 'expired'] as const) {
      for (const type of paymentEventTypes) expect(stateName(stepIn(state, usual[type]).snapshot.value)).toBe(state);
    }
  });
});

describe('authorization', () => {
  const authorize = (facts: ReturnType<typeof factsOf>, at = createdAt + 3_000) => ({ ...usual['payment.authorize'], facts, at });

  it('[PAY16] goes straight to the charge when no factor is needed', () => {
    expect(told(stepIn('pending_authorization', authorize(factsOf({ mfaRequired: false, methods: [] }))))).toBe(
      'processing.charging: wait, announce, wallet.charge',
    );
  });

  it('[PAY14] is refused when none is enrolled, and while all are locked', () => {
    for (const state of ['pending_authorization', 'mfa_required'] as const) {
      expect(stepIn(state, authorize(factsOf({ methods: [] }))).effects).toEqual([
        { type: 'reject', params: { code: 'FORBIDDEN', details: { enrol_required: true } } },
      ]);
      const locked = stepIn(state, authorize(factsOf({ methods: [], locked: true, lockedUntil: 5 })));
      expect(locked.effects).toEqual([{ type: 'reject', params: { code: 'MFA_LOCKED', lockedUntil: 5 } }]);
    }
  });

  it('[PAY15] makes a new challenge each time, and keeps count of the tries', () => {
    const { snapshot } = stepIn('mfa_required', authorize(factsOf({ challengeId: 'mfa_ch_9' })), { attempts: 2 });
    expect(snapshot.context).toMatchObject({ challenge: { id: 'mfa_ch_9', expiresAt: createdAt + 3_000 + 120_000 }, attempts: 2 });
    const late = step(paymentMachine, snapshot, usual['mfa.attempt']);
    expect(told(late)).toBe('mfa_required: reject(MFA_CHALLENGE_EXPIRED)');
    expect(told(step(paymentMachine, snapshot, usual['mfa.passed']))).toBe('mfa_required: reject(MFA_CHALLENGE_EXPIRED)');
  });

  it('[PAY15] does not take a challenge back for facts gathered before it', () => {
    expect(told(stepIn('mfa_required', authorize(factsOf({ mfaRequired: false, methods: [] }))))).toBe('mfa_required: challenge');
  });

  it('[PAY18] finds no try left', () => {
    expect(told(stepIn('mfa_required', authorize(factsOf()), { attempts: 3 }))).toBe('failed: reject(MFA_LOCKED), announce');
  });

  it.each([
    [299_999, 'mfa_required: challenge, announce'],
    [300_000, 'expired: reject(PAYMENT_EXPIRED), announce'],
    [300_001, 'expired: reject(PAYMENT_EXPIRED), announce'],
  ])('[PAY30] comes %d ms after the request', (ms, outcome) => {
    expect(told(stepIn('pending_authorization', authorize(factsOf(), createdAt + ms)))).toBe(outcome);
  });

  it('[PAY30] expires a challenged payment by the event’s own time, were its timer late', () => {
    const at = createdAt + 300_000;
    expect(told(stepIn('mfa_required', { ...usual['payment.authorize'], at }))).toBe('expired: reject(PAYMENT_EXPIRED), announce');
    expect(told(stepIn('mfa_required', { ...usual['mfa.attempt'], at }))).toBe('expired: reject(PAYMENT_EXPIRED), announce');
    expect(told(stepIn('mfa_required', { ...usual['mfa.passed'], at }))).toBe('expired: reject(PAYMENT_EXPIRED), announce');
    expect(told(stepIn('mfa_required', { ...usual['payment.cancel'], at }))).toBe('expired: reject(INVALID_STATE), announce');
    expect(told(stepIn('pending_authorization', { ...usual['payment.cancel'], at }))).toBe('expired: reject(INVALID_STATE), announce');
  });
});

describe('second factor', () => {
  it.each([
    [119_999, 'mfa_required: mfa.evaluate'],
    [120_000, 'mfa_required: reject(MFA_CHALLENGE_EXPIRED)'],
  ])('[PAY19] a challenge is answered %d ms after it was made', (ms, outcome) => {
    expect(told(stepIn('mfa_required', { ...usual['mfa.attempt'], at: createdAt + ms }))).toBe(outcome);
  });

  it('[PAY19] takes the offered methods only', () => {
    expect(told(stepIn('mfa_required', { ...usual['mfa.attempt'], method: 'transaction_pin' }))).toBe(
      'mfa_required: reject(INVALID_REQUEST)',
    );
  });

  it.each([
    [0, 'mfa_required: mfa.evaluate'],
    [2, 'mfa_required: mfa.evaluate'],
    [3, 'failed: reject(MFA_LOCKED), announce'],
  ])('[PAY17] a try after %d charged ones', (attempts, outcome) => {
    expect(told(stepIn('mfa_required', usual['mfa.attempt'], { attempts }))).toBe(outcome);
  });

  it('[PAY17] counts the try in the step that lets it be evaluated', () => {
    expect(stepIn('mfa_required', usual['mfa.attempt'], { attempts: 1 }).snapshot.context).toMatchObject({ attempts: 2 });
  });

  it.each([
    [1, false, 'mfa_required: reject(INVALID_MFA_CREDENTIALS)'],
    [2, true, 'mfa_required: reject(MFA_LOCKED)'],
    [3, false, 'failed: reject(MFA_LOCKED), announce'],
    [3, true, 'failed: reject(MFA_LOCKED), announce'],
  ])('[PAY18] try %d fails, factor locked: %s', (attempts, locked, outcome) => {
    expect(told(stepIn('mfa_required', { ...usual['mfa.failed'], locked, lockedUntil: 7 }, { attempts }))).toBe(outcome);
  });

  it('[PAY21] another challenge than the one passed proves nothing', () => {
    const other = { ...usual['mfa.attempt'], challengeId: 'mfa_ch_0' };
    expect(told(stepIn('processing.charging', other))).toBe('processing.charging: reject(INVALID_STATE)');
    expect(told(stepIn('completed', other))).toBe('completed: reject(INVALID_STATE)');
  });
});

describe('timers', () => {
  const armed = (stepped: ReturnType<typeof stepIn>) => stepped.timersSet.map(({ id, delayMs }) => [id, delayMs]);

  it('[PAY30] arms the authorization window with the request, for what is left of it with the challenge', () => {
    expect(armed(firstStep(paymentMachine, input))).toEqual([[timers.pending, 300_000]]);
    const challenged = stepIn('pending_authorization', usual['payment.authorize']);
    expect(armed(challenged)).toEqual([[timers.mfa, 297_000]]);
    expect(challenged.timersCancelled).toEqual([timers.pending]);
  });

  it('[PAY30] arms nothing that could expire a payment in the wallet’s hands', () => {
    const charging = stepIn('mfa_required', usual['mfa.passed']);
    expect(armed(charging)).toEqual([]);
    expect(charging.timersCancelled).toEqual([timers.mfa]);
  });

  it('[PAY15] a challenge made anew leaves the window as it is', () => {
    const again = stepIn('mfa_required', usual['payment.authorize']);
    expect([again.timersSet, again.timersCancelled]).toEqual([[], []]);
  });

  it('[PAY25] asks again after 1, 2, 5, 10, 30, 60 and 60 seconds', () => {
    let snapshot = snapshotIn('processing.charging');
    const pauses: number[] = [];
    for (let n = 0; n < 7; n++) {
      const unknown = step(paymentMachine, snapshot, n % 2 === 0 ? usual['wallet.unknown'] : usual['wallet.unavailable']);
      expect(unknown.timersSet.map(({ id }) => id)).toEqual([timers.requery]);
      pauses.push(unknown.timersSet[0]?.delayMs ?? 0);
      const asking = step(paymentMachine, unknown.snapshot, { type: timers.requery });
      expect(asking.effects.map(({ type }) => type)).toEqual(['wallet.settle']);
      snapshot = asking.snapshot;
    }
    expect(pauses).toEqual([1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 60_000]);
  });

  it('[PAY26] looks at an unresolved charge once an hour', () => {
    expect(armed(stepIn('processing.settling', usual['wallet.unresolved']))).toEqual([[timers.unresolved, 3_600_000]]);
  });
});

describe('snapshots and history', () => {
  it('[PAY33] comes back from JSON as it was, in every state', () => {
    for (const state of states) {
      const before = snapshotIn(state);
      const json = JSON.parse(JSON.stringify({ ...stored(before), timers: {} }));
      const actor = reviveMachine<PaymentContext>(paymentDefinition, { seq: 3, machineVersion: 1, snapshot: json });
      expect([actor.state, actor.context]).toEqual([state, before.context]);
    }
  });

  it.each([
    ['of a later version', 2, (snapshot: object) => snapshot],
    ['of a version without a way from it', 0, (snapshot: object) => snapshot],
    ['of a state that is gone', 1, (snapshot: object) => ({ ...snapshot, value: 'validating' })],
    [
      'that lacks a member',
      1,
      (snapshot: { context?: object }) => ({ ...snapshot, context: { ...snapshot.context, attempts: undefined } }),
    ],
  ])('[PAY33] does not carry on from a snapshot %s', (_title, machineVersion, change) => {
    const snapshot = JSON.parse(
      JSON.stringify(change({ ...(stored(snapshotIn('mfa_required')) as { context: object }), ...{ timers: {} } })),
    );
    expect(() => reviveMachine(paymentDefinition, { seq: 1, machineVersion, snapshot })).toThrow(HistoryDivergedError);
  });

  it('[PAY33] carries an old snapshot over by its upcast', () => {
    const definition: MachineDefinition = { ...paymentDefinition, upcasts: { 0: (old) => ({ ...old, value: 'expired' }) } };
    const snapshot = { ...stored(snapshotIn('mfa_required')), timers: {} };
    expect(reviveMachine(definition, { seq: 1, machineVersion: 0, snapshot }).state).toBe('expired');
  });

  it('[PAY33] stops a replay at the line that says otherwise', () => {
    const row = (seq: number, event: RecordRow['event'], stateAfter: string): RecordRow => ({
      seq,
      machineVersion: 1,
      at: createdAt,
      event,
      stateAfter,
    });
    const first = row(1, { type: 'payment.requested', at: createdAt, input }, 'pending_authorization');
    expect(stateName(replay(paymentDefinition, [first, row(2, usual['payment.cancel'], 'cancelled')]).value)).toBe('cancelled');
    expect(() => replay(paymentDefinition, [first, row(2, usual['payment.cancel'], 'expired')])).toThrow(
      'line 2 (payment.cancel) leads to cancelled, the history says expired',
    );
  });
});

describe('random events', () => {
  const types = [...paymentEventTypes, ...Object.values(timers)] as const;
  const events = fc.array(fc.record({ type: fc.constantFrom(...types), ms: fc.integer({ min: 0, max: 60_000 }), flag: fc.boolean() }), {
    maxLength: 40,
  });

  it('[PAY29] charge at most once, never over the tries, end for good', () => {
    fc.assert(
      fc.property(events, (list) => {
        let snapshot = firstStep(paymentMachine, input).snapshot;
        let charges = 0;
        let evaluated = 0;
        let at = createdAt;
        let ended = '';
        for (const { type, ms, flag } of list) {
          at += ms;
          const known = usual[type as PaymentEvent['type']] as PaymentEvent | undefined;
          const event =
            known === undefined
              ? { type, at }
              : {
                  ...known,
                  at,
                  ...(type === 'payment.authorize' ? { facts: factsOf({ mfaRequired: flag, challengeId: 'mfa_ch_1' }) } : {}),
                };
          const stepped = step(paymentMachine, snapshot, event);
          charges += stepped.effects.filter(({ type: effect }) => effect === 'wallet.charge').length;
          evaluated += stepped.effects.filter(({ type: effect }) => effect === 'mfa.evaluate').length;
          snapshot = stepped.snapshot;
          const state = stateName(snapshot.value);
          if (ended !== '') expect(state).toBe(ended);
          if (!state.includes('.') && state !== 'pending_authorization' && state !== 'mfa_required') ended = state;
          expect(snapshot.context).toMatchObject({ amountMinor: 7_500, currency: 'USD', payerUserId: '@alice:tween.example' });
          expect(JSON.parse(JSON.stringify(snapshot.context))).toEqual(snapshot.context);
        }
        expect(charges).toBeLessThanOrEqual(1);
        expect(evaluated).toBeLessThanOrEqual(3);
      }),
      { numRuns: 500 },
    );
  });
});
