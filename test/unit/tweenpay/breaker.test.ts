import { describe, expect, it } from 'vitest';
import { Breaker, openMs, probeEveryMs } from '../../../src/transport/tweenpay/breaker.ts';
import { ManualClock } from './support.ts';

function make() {
  const clock = new ManualClock();
  const breaker = new Breaker<'ok' | 'bad'>(clock, (result) => result === 'bad');
  const run = (...results: ('ok' | 'bad')[]) =>
    results.reduce<Promise<unknown>>((before, result) => before.then(() => breaker.run(async () => result)), Promise.resolve());
  return { clock, breaker, run };
}

describe('breaker', () => {
  it('stays closed at four failures and opens at the fifth, though ten calls were not made', async () => {
    const { breaker, run } = make();
    await run('bad', 'bad', 'bad', 'bad');
    expect(breaker.view).toMatchObject({ state: 'closed', failures: 4, totalCalls: 4, successRate: 0 });
    await run('bad');
    expect(breaker.view.state).toBe('open');
  });

  it('forgets a failure after ten more calls', async () => {
    const { breaker, run } = make();
    await run('bad', 'bad', 'bad', 'bad', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'bad', 'bad');
    expect(breaker.view).toMatchObject({ state: 'closed', failures: 4 });
  });

  it('opens at five failures among ten calls, in whatever order', async () => {
    const { breaker, run } = make();
    await run('bad', 'ok', 'bad', 'ok', 'bad', 'ok', 'bad', 'ok', 'ok', 'bad');
    expect(breaker.view.state).toBe('open');
  });

  it('runs nothing for 60 s, then one probe at a time', async () => {
    const { clock, breaker, run } = make();
    await run('bad', 'bad', 'bad', 'bad', 'bad');
    expect(await breaker.run(async () => 'ok')).toEqual({ ran: false, retryAfterMs: openMs });
    clock.advance(openMs - 1);
    expect(await breaker.run(async () => 'ok')).toEqual({ ran: false, retryAfterMs: 1 });
    clock.advance(1);
    let answer: (result: 'ok' | 'bad') => void = () => undefined;
    const probe = breaker.run(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    expect(breaker.view.state).toBe('half_open');
    expect(await breaker.run(async () => 'ok')).toEqual({ ran: false, retryAfterMs: probeEveryMs });
    answer('ok');
    expect(await probe).toEqual({ ran: true, result: 'ok' });
    expect(breaker.view).toMatchObject({ state: 'closed', failures: 0, lastChangeAt: clock.now() });
  });

  it('probes again 10 s after a probe that failed, and waits 60 s again after it had closed', async () => {
    const { clock, breaker, run } = make();
    await run('bad', 'bad', 'bad', 'bad', 'bad');
    clock.advance(openMs);
    await run('bad');
    expect(await breaker.run(async () => 'ok')).toEqual({ ran: false, retryAfterMs: probeEveryMs });
    clock.advance(probeEveryMs);
    await run('ok');
    expect(breaker.view.state).toBe('closed');
    await run('bad', 'bad', 'bad', 'bad', 'bad');
    expect(await breaker.run(async () => 'ok')).toEqual({ ran: false, retryAfterMs: openMs });
  });
});
