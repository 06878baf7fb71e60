/** The user machine alone: every state of a factor against every event, the counters, devices, snapshots, history. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RecordRow } from '../../../src/actors/ports.ts';
import { HistoryDivergedError } from '../../../src/actors/runtime/history-diverged.ts';
import { replay, reviveMachine, stateName } from '../../../src/actors/runtime/machine-behaviour.ts';
import { firstStep, restore, type Stepped, step as pureStep, stored } from '../../../src/actors/runtime/step.ts';
import { absentFactor } from '../../../src/actors/user/factor-rules.ts';
import { maxDevices, userMachine } from '../../../src/actors/user/user.machine.ts';
import { userDefinition } from '../../../src/actors/user/user.ts';
import type { Factor, FactorState, UserContext, UserEvent } from '../../../src/actors/user/user-types.ts';
import { userEventTypes } from '../../../src/actors/user/user-types.ts';
import { unknownNames } from '../runtime/machine-names.ts';

const step = (
  machine: typeof userMachine,
  snapshot: Stepped['snapshot'],
  event: { readonly type: string; readonly [member: string]: unknown },
) => pureStep(machine, snapshot, event);

const at = Date.UTC(2026, 0, 1);
const minute = 60_000;
const fresh = firstStep(userMachine, { userId: '@alice:tween.example' }).snapshot;

const factorIn: Readonly<Record<FactorState, Factor>> = {
  absent: absentFactor,
  ready: { ...absentFactor, sealed: 'x', enrolledAt: at, tries: 1, inRow: 1, total: 1 },
  locked: { ...absentFactor, sealed: 'x', enrolledAt: at, tries: 5, inRow: 5, total: 5, locks: 1, lockedUntil: at + 15 * minute },
  blocked: { ...absentFactor, sealed: 'x', enrolledAt: at, tries: 20, inRow: 5, total: 20, locks: 4, lockedUntil: at + 15 * minute },
};

function snapshotIn(state: FactorState, factor: Partial<Factor> = {}) {
  const context = {
    ...(fresh.context as UserContext),
    factors: { transaction_pin: absentFactor, totp: { ...factorIn[state], ...factor } },
  };
  return restore(userMachine, { value: { transaction_pin: 'absent', totp: state }, context });
}

const device = { deviceId: 'phone', name: 'Phone', platform: 'ios', algorithm: 'ECDSA_P256', key: 'k', keyHash: 'sha256:1' };
const usual = (state: FactorState): { readonly [T in UserEvent['type']]: Extract<UserEvent, { type: T }> } => ({
  'mfa.charge': { type: 'mfa.charge', at, method: 'totp' },
  'mfa.passed': { type: 'mfa.passed', at, method: 'totp', try: factorIn[state].tries, step: 7, challengeId: 'mfa_ch_1' },
  'mfa.failed': { type: 'mfa.failed', at, method: 'totp', try: factorIn[state].tries },
  'mfa.enrolled': { type: 'mfa.enrolled', at, method: 'totp', sealed: 'y' },
  'device.registered': { type: 'device.registered', at, ...device },
  'device.revoked': { type: 'device.revoked', at, deviceId: 'phone' },
  'access.revoked': { type: 'access.revoked', at, appId: 'ma_demo_shop', scopes: [], reason: 'r' },
});

function told({ snapshot, effects }: Stepped): string {
  const names = effects.map(({ type, params }) => (type === 'reject' ? `reject(${params.code})` : type));
  return `${stateName((snapshot.value as { totp: string }).totp)}: ${names.join(', ')}`;
}

const anywhere = { 'device.registered': 'show', 'device.revoked': 'reject(DEVICE_NOT_FOUND)', 'access.revoked': 'show' } as const;
/** What each event comes to for a factor in each state; a missing cell does not compile. */
const table: Readonly<Record<FactorState, Readonly<Record<Exclude<UserEvent['type'], keyof typeof anywhere>, string>>>> = {
  absent: {
    'mfa.charge': 'absent: reject(INVALID_MFA_CREDENTIALS)',
    'mfa.passed': 'absent: reject(INVALID_MFA_CREDENTIALS)',
    'mfa.failed': 'absent: reject(INVALID_MFA_CREDENTIALS)',
    'mfa.enrolled': 'ready: show',
  },
  ready: {
    'mfa.charge': 'ready: mfa.evaluate',
    'mfa.passed': 'ready: show',
    'mfa.failed': 'ready: reject(INVALID_MFA_CREDENTIALS)',
    'mfa.enrolled': 'ready: show',
  },
  locked: {
    'mfa.charge': 'locked: reject(MFA_LOCKED)',
    'mfa.passed': 'ready: show',
    'mfa.failed': 'locked: reject(MFA_LOCKED)',
    'mfa.enrolled': 'ready: show',
  },
  blocked: {
    'mfa.charge': 'blocked: reject(MFA_LOCKED)',
    'mfa.passed': 'ready: show',
    'mfa.failed': 'blocked: reject(MFA_LOCKED)',
    'mfa.enrolled': 'ready: show',
  },
};
const factorStates = Object.keys(table) as FactorState[];

describe('every state, every event', () => {
  it.each(factorStates.flatMap((state) => userEventTypes.map((type) => [state, type] as const)))('[MFA25] %s × %s', (state, type) => {
    const expected =
      type in anywhere ? `${state}: ${anywhere[type as keyof typeof anywhere]}` : table[state][type as keyof (typeof table)['absent']];
    expect(told(step(userMachine, snapshotIn(state), usual(state)[type]))).toBe(expected);
  });

  it('[MFA25] names nothing that it does not have', () => {
    expect(unknownNames(userMachine, userEventTypes)).toEqual([]);
  });

  it('[MFA5] an event of one factor leaves the other as it is', () => {
    for (const state of factorStates) {
      for (const type of ['mfa.charge', 'mfa.passed', 'mfa.failed', 'mfa.enrolled'] as const) {
        const { snapshot } = step(userMachine, snapshotIn(state), { ...usual(state)[type], method: 'transaction_pin' });
        expect([(snapshot.value as { totp: string }).totp, snapshot.context.factors.totp]).toEqual([state, factorIn[state]]);
      }
    }
  });
});

describe('counters', () => {
  const totpOf = ({ snapshot }: Stepped): Factor => (snapshot.context as UserContext).factors.totp;
  const charge = (snapshot: typeof fresh, when = at) => step(userMachine, snapshot, { type: 'mfa.charge', at: when, method: 'totp' });

  it('[MFA2] the fifth try in a row is the last one evaluated for 15 minutes', () => {
    const fourth = charge(snapshotIn('ready', { inRow: 3, total: 3 }));
    expect([told(fourth), totpOf(fourth).lockedUntil]).toEqual(['ready: mfa.evaluate', null]);
    const fifth = charge(fourth.snapshot);
    expect([told(fifth), totpOf(fifth).lockedUntil]).toEqual(['locked: mfa.evaluate', at + 15 * minute]);
    expect(told(charge(fifth.snapshot, at + 15 * minute - 1))).toBe('locked: reject(MFA_LOCKED)');
    expect(told(charge(fifth.snapshot, at + 15 * minute))).toBe('ready: mfa.evaluate');
  });

  it('[MFA3] [MFA4] locks 15, 30 and 60 minutes, and for good with the twentieth failure', () => {
    let snapshot = snapshotIn('ready', { tries: 0, inRow: 0, total: 0 });
    let when = at;
    let evaluated = 0;
    const locks: number[] = [];
    for (let n = 0; n < 400; n++) {
      const stepped = charge(snapshot, when);
      evaluated += stepped.effects.filter(({ type }) => type === 'mfa.evaluate').length;
      ({ snapshot } = stepped);
      const { lockedUntil } = totpOf(stepped);
      if (lockedUntil !== null && lockedUntil > when) {
        locks.push((lockedUntil - when) / minute);
        when = lockedUntil;
      }
    }
    expect(locks.slice(0, 3)).toEqual([15, 30, 60]);
    expect([evaluated, told(charge(snapshot, when + 365 * 24 * 60 * minute))]).toEqual([20, 'blocked: reject(MFA_LOCKED)']);
  });

  it('[MFA3] [MFA7] a success gives the tries back, but not those charged after it', () => {
    let snapshot = snapshotIn('ready', { tries: 0, inRow: 0, total: 0 });
    for (let n = 0; n < 5; n++) ({ snapshot } = charge(snapshot));
    const passed = step(userMachine, snapshot, { type: 'mfa.passed', at, method: 'totp', try: 2, step: 7, challengeId: null });
    expect([told(passed), totpOf(passed)]).toMatchObject(['ready: show', { inRow: 3, total: 3, locks: 0, lockedUntil: null, lastStep: 7 }]);
    expect(told(charge(charge(passed.snapshot).snapshot))).toBe('locked: mfa.evaluate');
  });

  it('[MFA7] a success of an earlier row does not open a lock that later tries made', () => {
    const late = step(userMachine, snapshotIn('locked'), {
      type: 'mfa.passed',
      at,
      method: 'totp',
      try: 0,
      step: 7,
      challengeId: null,
    });
    expect([told(late), totpOf(late).lockedUntil]).toEqual(['locked: show', at + 15 * minute]);
  });

  it.each([
    [6, 7, 'ready: show'],
    [7, 7, 'ready: reject(INVALID_MFA_CREDENTIALS)'],
    [8, 7, 'ready: reject(INVALID_MFA_CREDENTIALS)'],
  ])('[MFA12] after step %d, step %d', (lastStep, tried, outcome) => {
    expect(told(step(userMachine, snapshotIn('ready', { lastStep }), { ...usual('ready')['mfa.passed'], step: tried }))).toBe(outcome);
  });

  it('[MFA8] a success of a try that was never charged is none', () => {
    expect(told(step(userMachine, snapshotIn('ready'), { ...usual('ready')['mfa.passed'], try: 2 }))).toBe(
      'ready: reject(INVALID_MFA_CREDENTIALS)',
    );
  });

  it('[MFA6] whatever order tries and verdicts come in: at most 5 evaluated in a row, 20 without a success', () => {
    const moves = fc.array(fc.record({ kind: fc.constantFrom('charge', 'fail', 'wait'), ms: fc.integer({ min: 0, max: 40 * minute }) }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(moves, (list) => {
        let snapshot = snapshotIn('ready', { tries: 0, inRow: 0, total: 0 });
        let when = at;
        let evaluated = 0;
        const times: number[] = [];
        for (const { kind, ms } of list) {
          if (kind === 'wait') when += ms;
          const event =
            kind === 'fail'
              ? { type: 'mfa.failed', at: when, method: 'totp', try: evaluated }
              : { type: 'mfa.charge', at: when, method: 'totp' };
          if (kind === 'wait') continue;
          const stepped = step(userMachine, snapshot, event);
          ({ snapshot } = stepped);
          if (stepped.effects.some(({ type }) => type === 'mfa.evaluate')) {
            evaluated++;
            times.push(when);
          }
        }
        expect(evaluated).toBeLessThanOrEqual(20);
        // Any six in a row span at least the first lock.
        for (let n = 5; n < times.length; n++) expect((times[n] ?? 0) - (times[n - 5] ?? 0)).toBeGreaterThanOrEqual(15 * minute);
      }),
      { numRuns: 300 },
    );
  });
});

describe('devices', () => {
  const register = (snapshot: typeof fresh, more: object = {}) =>
    step(userMachine, snapshot, { ...usual('ready')['device.registered'], ...more });
  const answerOf = ({ effects }: Stepped) => effects.map(({ type, params }) => (type === 'reject' ? params.code : type));

  it('[MFA18] the same key again changes nothing; another key, or a revoked id, is refused', () => {
    const first = register(fresh);
    const again = register(first.snapshot, { name: 'Renamed' });
    expect([answerOf(again), again.snapshot === first.snapshot]).toEqual([['show'], true]);
    expect(answerOf(register(first.snapshot, { keyHash: 'sha256:2' }))).toEqual(['CONFLICT']);
    const { snapshot } = step(userMachine, first.snapshot, usual('ready')['device.revoked']);
    expect(answerOf(register(snapshot))).toEqual(['CONFLICT']);
  });

  it('[MFA18] a user has at most so many', () => {
    let snapshot = fresh;
    for (let n = 0; n < maxDevices; n++) ({ snapshot } = register(snapshot, { deviceId: `d${n}` }));
    expect((snapshot.context as UserContext).devices).toHaveLength(maxDevices);
    expect(answerOf(register(snapshot, { deviceId: 'one more' }))).toEqual(['CONFLICT']);
  });

  it('[MFA23] a device may be called like a member of every object', () => {
    const { snapshot } = register(fresh, { deviceId: '__proto__' });
    expect(JSON.parse(JSON.stringify(snapshot.context)).devices[0].deviceId).toBe('__proto__');
  });
});

describe('snapshots and history', () => {
  it('[MFA25] comes back from JSON as it was', () => {
    for (const state of factorStates) {
      const before = snapshotIn(state);
      const actor = reviveMachine<UserContext>(userDefinition, {
        seq: 1,
        machineVersion: 1,
        snapshot: JSON.parse(JSON.stringify({ ...stored(before), timers: {} })),
      });
      expect([actor.snapshot?.value, actor.context]).toEqual([before.value, before.context]);
    }
  });

  it.each([
    ['lacks a factor’s member', (context: UserContext) => ({ ...context, factors: { ...context.factors, totp: { sealed: null } } })],
    ['lacks the devices', ({ devices: _devices, ...rest }: UserContext) => rest],
    ['is nothing', () => null],
  ])('[MFA25] does not carry on from a context that %s', (_title, change) => {
    const snapshot = { ...stored(fresh), context: change(fresh.context as UserContext), timers: {} };
    expect(() => reviveMachine(userDefinition, { seq: 1, machineVersion: 1, snapshot })).toThrow(HistoryDivergedError);
  });

  it('[MFA14] [MFA25] history leads to the same states without the secrets it leaves out', () => {
    const events: UserEvent[] = [usual('absent')['mfa.enrolled'], usual('ready')['mfa.charge'], { ...usual('ready')['mfa.failed'] }];
    let snapshot = fresh;
    const records: RecordRow[] = events.map((event, index) => {
      ({ snapshot } = step(userMachine, snapshot, event));
      return {
        seq: index + 1,
        machineVersion: 1,
        at,
        event: userDefinition.recorded?.(event) ?? event,
        stateAfter: stateName(snapshot.value),
      };
    });
    expect(JSON.stringify(records)).not.toContain('"y"');
    expect(stateName(replay(userDefinition, records, fresh).value)).toBe('transaction_pin.absent|totp.ready');
  });
});
