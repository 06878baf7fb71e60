/** The machine's clock against the database's. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ClockKeeper } from '../../../src/app/clock-keeper.ts';
import { SystemClock } from '../../../src/clock.ts';
import { createLogger } from '../../../src/log.ts';
import type { Database } from '../../../src/persistence/database.ts';

const wall = Date.now.bind(Date);
afterEach(() => {
  vi.restoreAllMocks();
});

/** A database whose clock is right, or that is away. */
function keeperOf(clock: SystemClock, away = false): ClockKeeper {
  const database = {
    query: async () => {
      if (away) throw new Error('the database is away');
      return [{ now: wall() }];
    },
  } as unknown as Database;
  return new ClockKeeper({ database, clock, log: createLogger({ logLevel: 'silent' }) });
}

const identity = { handle: async () => ({ status: 200, headers: [], body: Buffer.alloc(0) }) };
const request = { method: 'POST', url: '/oauth2/token', headers: {}, body: Buffer.alloc(0), remoteAddress: '127.0.0.1' };

async function look(aheadMs: number, away = false): Promise<{ off: boolean; oauth: number; errorMs: number }> {
  vi.spyOn(Date, 'now').mockImplementation(() => wall() + aheadMs);
  const clock = new SystemClock();
  const keeper = keeperOf(clock, away);
  await keeper.start();
  keeper.close();
  return { off: keeper.off, oauth: (await keeper.guard(identity).handle(request)).status, errorMs: Math.abs(clock.now() - wall()) };
}

describe('[CLU15] the clock of a node', () => {
  it('that is a little off is corrected and serves everything', async () => {
    for (const aheadMs of [0, 29_000, -29_000]) {
      const seen = await look(aheadMs);
      expect([seen.off, seen.oauth]).toEqual([false, 200]);
      expect(seen.errorMs).toBeLessThan(1_100);
    }
  });

  it('that is far off is corrected, not ready, and serves no OAuth', async () => {
    for (const aheadMs of [31_000, -3_600_000]) {
      const seen = await look(aheadMs);
      expect([seen.off, seen.oauth]).toEqual([true, 503]);
      expect(seen.errorMs).toBeLessThan(1_100);
    }
  });

  it('that makes a step serves no OAuth from that moment on', async () => {
    const keeper = keeperOf(new SystemClock());
    await keeper.start();
    keeper.close();
    expect(keeper.off).toBe(false);
    vi.spyOn(Date, 'now').mockImplementation(() => wall() - 3_600_000);
    expect(keeper.off).toBe(true);
  });

  it('says why it is not ready', async () => {
    vi.spyOn(Date, 'now').mockImplementation(() => wall() + 3_600_000);
    const keeper = keeperOf(new SystemClock());
    await keeper.start();
    keeper.close();
    expect(() => keeper.ready()).toThrow(/3600 s ahead/);
  });

  it('stays as it is while the database is away', async () => {
    expect(await look(3_600_000, true)).toMatchObject({ off: false, oauth: 200 });
  });
});
