/** The short-lived cache of people and apps, with and without the database. */
import { describe, expect, it } from 'vitest';
import { cached } from '../../../src/persistence/oauth/cached.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function setUp() {
  const clock = new ManualClock();
  const database = { away: false, reads: 0, value: 'first' };
  const cache = cached(clock, async () => {
    database.reads++;
    if (database.away) throw new Error('connection refused');
    return database.value;
  });
  return { clock, database, cache };
}

describe('a cached record', () => {
  it('is read again after its age', async () => {
    const { clock, database, cache } = setUp();
    expect(await cache.get('k')).toBe('first');
    database.value = 'second';
    clock.advance(999);
    expect(await cache.get('k')).toBe('first');
    clock.advance(1);
    expect(await cache.get('k')).toBe('second');
    expect(database.reads).toBe(2);
  });

  it('stands in for a minute while the database is away, and no longer', async () => {
    const { clock, database, cache } = setUp();
    await cache.get('k');
    database.away = true;
    for (let second = 0; second < 59; second++) {
      clock.advance(1_000);
      expect(await cache.get('k')).toBe('first');
    }
    clock.advance(1_000);
    await expect(cache.get('k')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    database.away = false;
    expect(await cache.get('k')).toBe('first');
  });

  it('that was never read is unavailable, and asked for again', async () => {
    const { database, cache } = setUp();
    database.away = true;
    await expect(cache.get('k')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    database.away = false;
    expect(await cache.get('k')).toBe('first');
  });
});
