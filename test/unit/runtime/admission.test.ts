/** What a busy node takes on: the order of classes, the pressure's rise and fall, and a model of a server under ten times its load. */
import { describe, expect, it } from 'vitest';
import { Admission, type Load, type WorkClass, workClasses } from '../../../src/actors/runtime/admission.ts';
import { LoadProbe } from '../../../src/actors/runtime/load-probe.ts';
import { compileCatalogue } from '../../../src/actors/runtime/validators.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const lapEveryMs = 20;
const loopDelayMs = 100;

function setUp(bound = loopDelayMs) {
  const load: { -readonly [K in keyof Load]: Load[K] } = { journal: 0, unanswered: 0 };
  const shed: WorkClass[] = [];
  let now = 0;
  const admission = new Admission({ loopDelayMs: bound, lapEveryMs, now, load: () => load, onShed: (kind) => shed.push(kind) });
  return {
    admission,
    load,
    shed,
    /** Laps that each come round `late` ms late, until `ms` have passed. */
    run(ms: number, late: number): void {
      for (const until = now + ms; now < until; ) {
        now += lapEveryMs + late;
        admission.lap(now);
      }
    },
    ask: (kind: WorkClass, access: 'read' | 'write' = 'read') => admission.refuse(kind, access, now),
    stall: (ms: number) => {
      now += ms;
    },
  };
}

describe('the class of an operation', () => {
  const classes = Object.fromEntries(workClasses.map((kind) => [kind, [] as string[]]));
  for (const { name, workClass, handledBy } of compileCatalogue().values()) if (handledBy === 'actor') classes[workClass]?.push(name);

  it('[LIVE47] follows from what it is', () => {
    expect(classes).toEqual({
      bulk: expect.arrayContaining([
        'tween.sync.push',
        'tween.sync.pull',
        'tween.sync.status',
        'tween.storage.list',
        'tween.storage.batchGet',
        'tween.storage.batchSet',
        'tween.storage.batchRemove',
        'tween.wallet.getTransactions',
      ]) as string[],
      write: ['tween.storage.set', 'tween.storage.remove'],
      read: expect.arrayContaining(['tween.storage.get', 'tween.storage.usage', 'tween.wallet.getBalance']) as string[],
      entry: [],
      money: expect.arrayContaining([
        'tween.wallet.pay',
        'tween.payment.get',
        'tween.payment.authorize',
        'tween.payment.verifyMfa',
        'tween.payment.cancel',
        'tween.mfa.getMethods',
        'tween.device.register',
        'tween.auth.revoke',
      ]) as string[],
    });
  });
});

describe('pressure', () => {
  it('[LIVE47] stays at nothing while the loop comes round within its bound, at the bound too', () => {
    const { admission, run } = setUp();
    run(10_000, loopDelayMs - 1);
    run(10_000, loopDelayMs);
    expect(admission.pressure).toBe(0);
  });

  it('[LIVE47] rises while every lap is later than the bound, and not for one late lap among others', () => {
    const { admission, run } = setUp();
    for (let i = 0; i < 100; i++) {
      run(100, 0);
      run(1, 4 * loopDelayMs);
    }
    expect(admission.pressure).toBe(0);
    run(2_000, loopDelayMs + 1);
    expect(admission.pressure).toBeGreaterThan(0.4);
  });

  it('[LIVE47] falls to nothing within ten seconds of ease, and stays where it is between ease and the bound', () => {
    const { admission, run } = setUp();
    run(40_000, 10 * loopDelayMs);
    expect(admission.pressure).toBe(4);
    run(5_000, loopDelayMs * 0.75);
    expect(admission.pressure).toBe(4);
    run(10_000, loopDelayMs * 0.4);
    expect(admission.pressure).toBe(0);
  });

  it('[LIVE47] a process that was stopped for two seconds is not overloaded', () => {
    const { admission, run, stall, ask } = setUp();
    run(1_000, 0);
    stall(2_000);
    // The first request is read before the timer fires.
    ask('read');
    expect(admission.pressure).toBeLessThan(1);
    run(1_000, 0);
    expect(admission.pressure).toBe(0);
    expect(ask('bulk')).toBeUndefined();
  });

  it('[LIVE47] rises within a lap that does not end', () => {
    const { admission, run, stall, ask } = setUp();
    run(1_000, 0);
    for (let i = 0; i < 200; i++) {
      stall(10);
      ask('read');
    }
    expect(admission.pressure).toBeGreaterThan(2);
  });

  it('[LIVE47] rises with what is unanswered, under, at and over its bound', () => {
    const { admission, load, run } = setUp();
    load.unanswered = 0.99;
    run(5_000, 0);
    load.unanswered = 1;
    run(5_000, 0);
    expect(admission.pressure).toBe(0);
    load.unanswered = 1.01;
    run(5_000, 0);
    expect(admission.pressure).toBeGreaterThan(1);
  });

  it('[LIVE47] a bound of 0 admits everything', () => {
    const { load, run, ask } = setUp(0);
    load.journal = load.unanswered = 5;
    run(10_000, 10_000);
    expect(workClasses.filter((kind) => ask(kind, 'write') !== undefined)).toEqual([]);
  });
});

describe('what is refused', () => {
  /** At which pressure, rising, each class is first refused whole. */
  it('[LIVE47] one class after the other, and payments never (R2)', () => {
    const { admission, run, ask } = setUp();
    const wholeAt: string[] = [];
    for (let i = 0; i < 2_000; i++) {
      run(1, 2 * loopDelayMs);
      for (const kind of workClasses) {
        const whole = Array.from({ length: 10 }, () => ask(kind)).every((refusal) => refusal !== undefined);
        if (whole && !wholeAt.includes(kind)) wholeAt.push(kind);
      }
    }
    expect(admission.pressure).toBe(4);
    expect(wholeAt).toEqual(['bulk', 'write', 'read', 'entry']);
    expect(Array.from({ length: 1_000 }, () => ask('money', 'write')).filter(Boolean)).toEqual([]);
    expect(admission.closedTo('entry')).toBeDefined();
    expect(admission.closedTo('money')).toBeUndefined();
  });

  it('[LIVE47] a share of the class at the edge, evenly', () => {
    const { admission, run, ask, shed } = setUp();
    while (admission.pressure < 0.25) run(1, loopDelayMs + 1);
    const share = admission.pressure;
    const refused = Array.from({ length: 1_000 }, () => ask('bulk') !== undefined);
    expect(Math.abs(refused.filter(Boolean).length - 1_000 * share)).toBeLessThanOrEqual(1);
    expect(refused.slice(0, 3)).toEqual([false, false, false]);
    expect(shed).toHaveLength(refused.filter(Boolean).length);
    expect(ask('write')).toBeUndefined();
    expect(admission.closedTo('bulk')).toBeUndefined();
  });

  it('[LIVE47] with a code that may be tried again, and a hint that spreads the refused the further the more they are', () => {
    const { admission, run, ask } = setUp();
    run(20_000, 10 * loopDelayMs);
    const hints = (refusals: number): number[] => {
      const seen = new Set<number>();
      for (let i = 0; i < refusals; i++) {
        seen.add(ask('read')?.retryAfter ?? 0);
      }
      return [...seen].sort((a, b) => a - b);
    };
    expect(ask('read')).toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryable: true });
    expect(hints(200)).toEqual([1, 2]);
    for (let second = 0; second < 10; second++) {
      hints(5_000);
      run(1_000, 2 * loopDelayMs);
    }
    expect(hints(5_000)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (let i = 0; i < 100; i++) {
      expect(admission.comeBackMs()).toBeGreaterThanOrEqual(1_000);
      expect(admission.comeBackMs()).toBeLessThan(11_000);
    }
  });

  it('[LIVE50] writes while the journal fills, bulk first; reads go on and the end is left to payments', () => {
    const { load, run, ask } = setUp();
    const refused = (journal: number): WorkClass[] => {
      load.journal = journal;
      run(100, 0);
      return workClasses.filter((kind) => Array.from({ length: 20 }, () => ask(kind, 'write')).every(Boolean));
    };
    expect(refused(0.7)).toEqual([]);
    expect(refused(0.83)).toEqual(['bulk']);
    expect(refused(0.95)).toEqual(['bulk', 'write']);
    expect(refused(1)).toEqual(['bulk', 'write']);
    expect(workClasses.filter((kind) => ask(kind, 'read') !== undefined)).toEqual([]);
    expect(refused(0.5)).toEqual([]);
  });
});

/**
 * A server of one thread as a queue: every lap handles what has come since the last one. Clients ask again when they are answered,
 * after thinking, and when refused after the hint. Times in ms.
 */
function model(clients: number, { costMs, refusalMs, thinkMs }: { costMs: number; refusalMs: number; thinkMs: number }) {
  const { admission } = setUp();
  let now = 0;
  let nextLapAt = lapEveryMs;
  // A fixed pattern in the place of chance, so that a run is the same every time.
  let turn = 0;
  const spread = (): number => {
    turn = (turn * 1_103_515_245 + 12_345) % 2_147_483_648;
    return turn / 2_147_483_648;
  };
  const due = Array.from({ length: clients }, () => spread() * thinkMs);
  const kinds: WorkClass[] = [
    ...Array<WorkClass>(4).fill('bulk'),
    ...Array<WorkClass>(3).fill('write'),
    ...Array<WorkClass>(12).fill('read'),
    'money',
  ];
  const counts = { served: 0, money: 0, moneyRefused: 0, worstWaitMs: 0 };
  return {
    admission,
    counts,
    /** Goes on for `ms` with the first `active` clients. */
    run(ms: number, active: number): void {
      const until = now + ms;
      counts.served = counts.money = counts.moneyRefused = counts.worstWaitMs = 0;
      while (now < until) {
        const began = now;
        for (let client = 0; client < active; client++) {
          const wanted = due[client] as number;
          if (wanted > began) continue;
          const kind = kinds[client % kinds.length] as WorkClass;
          const refusal = admission.refuse(kind, 'read', now);
          now += refusal === undefined ? costMs : refusalMs;
          if (kind === 'money') counts[refusal === undefined ? 'money' : 'moneyRefused']++;
          if (refusal === undefined) {
            counts.served++;
            counts.worstWaitMs = Math.max(counts.worstWaitMs, now - wanted);
            due[client] = now + thinkMs * (0.5 + spread());
          } else due[client] = now + (refusal.retryAfter as number) * 1_000 * (1 + spread() / 2);
        }
        if (now === began) now += 1;
        if (now >= nextLapAt) {
          admission.lap(now);
          nextLapAt = now + lapEveryMs;
        }
      }
    },
  };
}

describe('a server under more than it can bear (R1)', () => {
  // It serves 1,000 a second; 10,000 clients that think for a second ask for ten times that.
  const figures = { costMs: 1, refusalMs: 0.05, thinkMs: 1_000 };

  it('[LIVE47] goes on serving four fifths of what it can, payments all, and is as before when the load is', () => {
    const { admission, counts, run } = model(10_000, figures);
    run(20_000, 500);
    expect(admission.pressure).toBe(0);
    run(10_000, 10_000);
    run(30_000, 10_000);
    expect(counts.served).toBeGreaterThan(0.8 * 30_000);
    expect(counts.moneyRefused).toBe(0);
    expect(counts.money).toBeGreaterThan(0);
    expect(counts.worstWaitMs).toBeLessThan(20 * loopDelayMs);
    run(10_000, 500);
    run(10_000, 500);
    expect(admission.pressure).toBe(0);
    expect(counts.served).toBeGreaterThan(0.4 * 10_000);
  });

  it('[LIVE47] does not swing between refusing all and nothing', () => {
    const { admission, run } = model(5_000, figures);
    run(20_000, 5_000);
    let [least, most] = [4, 0];
    for (let i = 0; i < 200; i++) {
      run(100, 5_000);
      least = Math.min(least, admission.pressure);
      most = Math.max(most, admission.pressure);
    }
    expect(most - least).toBeLessThan(2);
    expect(least).toBeGreaterThan(0);
  });

  it('[LIVE47] at what it can bear refuses nothing', () => {
    const { admission, run } = model(800, figures);
    run(30_000, 800);
    expect(admission.pressure).toBe(0);
  });
});

describe('the probe', () => {
  it('[LIVE47] sees the loop stand still by the clock, and what waits apart from what waits for the database (C9)', () => {
    const clock = new ManualClock();
    const backlog = { entries: 0, bytes: 0 };
    const probe = new LoadProbe({
      clock,
      journal: { backlog: () => backlog },
      journalMaxEntries: 100,
      journalMaxBytes: 100,
      loopDelayMs,
      maxInFlight: 10,
      waiting: () => 0,
    });
    const { admission } = probe;
    probe.inFlight = 20;
    backlog.entries = 15;
    clock.advance(2_000);
    expect(admission.pressure).toBe(0);
    backlog.entries = 0;
    clock.advance(2_000);
    expect(admission.pressure).toBeGreaterThan(1);
    probe.inFlight = 0;
    clock.advance(5_000);
    expect(admission.pressure).toBe(0);
    backlog.bytes = 100;
    clock.advance(100);
    expect(admission.refuse('write', 'write', clock.monotonic())).toBeDefined();
    expect(admission.refuse('read', 'read', clock.monotonic())).toBeUndefined();
    probe.close();
    expect(clock.pending).toBe(0);
  });
});
