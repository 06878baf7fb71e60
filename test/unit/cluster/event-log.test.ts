/** The log of published events against a list that forgets nothing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventLog } from '../../../src/transport/cluster/event-log.ts';

const frame = (bytes: number): Uint8Array => new Uint8Array(bytes);

describe('the event log', () => {
  it('keeps as many events as its bound, and lets the oldest go past it', () => {
    const log = new EventLog(3, 1_000);
    const kept = (): number[] => [log.first, log.last];
    expect(kept()).toEqual([1, 0]);
    for (let i = 0; i < 2; i++) log.append(frame(1));
    expect(kept()).toEqual([1, 2]);
    log.append(frame(1));
    expect(kept()).toEqual([1, 3]);
    log.append(frame(1));
    expect(kept()).toEqual([2, 4]);
  });

  it('keeps as many bytes as its bound', () => {
    const log = new EventLog(100, 30);
    log.append(frame(10));
    log.append(frame(19));
    expect([log.first, log.bytes]).toEqual([1, 29]);
    log.append(frame(1));
    expect([log.first, log.bytes]).toEqual([1, 30]);
    log.append(frame(1));
    expect([log.first, log.bytes]).toEqual([2, 21]);
    log.append(frame(31));
    expect([log.first, log.last, log.bytes]).toEqual([6, 5, 0]);
  });

  it('counts an event that is not kept, and then has none before it', () => {
    const log = new EventLog(10, 100);
    log.append(frame(1));
    log.skip();
    expect([log.first, log.last, log.bytes]).toEqual([3, 2, 0]);
    log.append(frame(2));
    expect(log.frame(3)).toHaveLength(2);
    expect(() => log.frame(2)).toThrow(RangeError);
    expect(() => log.frame(4)).toThrow(RangeError);
  });

  it('has, after anything, a run of the newest events within its bounds, each the one that was appended', () => {
    const steps = fc.oneof(
      fc.record({ do: fc.constant('append' as const), bytes: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ do: fc.constant('trim' as const), share: fc.double({ min: 0, max: 1.2, noNaN: true }) }),
      fc.record({ do: fc.constant('skip' as const) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(steps, { maxLength: 80 }), (maxEvents, run) => {
        const log = new EventLog(maxEvents, 100);
        const all: (Uint8Array | undefined)[] = [undefined];
        let trimmed = 0;
        for (const step of run) {
          if (step.do === 'append') {
            all.push(frame(step.bytes));
            log.append(all.at(-1) as Uint8Array);
          } else if (step.do === 'skip') {
            all.push(undefined);
            trimmed = all.length - 1;
            log.skip();
          } else {
            const upTo = Math.round(step.share * (all.length - 1));
            trimmed = Math.max(trimmed, Math.min(upTo, all.length - 1));
            log.trim(upTo);
          }
          expect(log.last).toBe(all.length - 1);
          const kept = all.slice(log.first);
          const bytes = kept.reduce((sum, item) => sum + (item?.length ?? 0), 0);
          expect(log.bytes).toBe(bytes);
          expect(bytes).toBeLessThanOrEqual(100);
          expect(kept.length).toBeLessThanOrEqual(maxEvents);
          for (let seq = log.first; seq <= log.last; seq++) expect(log.frame(seq)).toBe(all[seq]);
          expect(log.first).toBeGreaterThan(trimmed);
        }
      }),
    );
  });
});
