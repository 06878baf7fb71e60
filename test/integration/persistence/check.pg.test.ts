/** The boot check on real servers: one that keeps promises, and one with all its safety off. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDatabase } from '../../../src/persistence/postgres/check.ts';
import { openPostgres } from '../../../src/persistence/postgres/open.ts';
import type { Database } from '../../../src/persistence/database.ts';
import { freshDatabase, type OwnPostgres, startPostgres } from '../../support/postgres.ts';

describe('the boot check of the database', () => {
  it('accepts a server with durable settings and gives its facts', async () => {
    const db = await openPostgres(await freshDatabase(), { poolSize: 1 });
    const facts = await checkDatabase(db);
    expect(facts.acceptedRisks).toEqual([]);
    expect(facts.settings).toMatchObject({ fsync: 'on', full_page_writes: 'on', synchronous_commit: 'on' });
    await db.close();
  });

  it('[D14] looks at what a session starts with, not at what our pool has set', async () => {
    const url = await freshDatabase();
    const first = await openPostgres(url, { poolSize: 1 });
    const name = new URL(url).pathname.slice(1);
    await first.query(`alter database ${name} set synchronous_commit = off`);
    await first.close();
    const db = await openPostgres(url, { poolSize: 1 });
    await expect(checkDatabase(db)).rejects.toThrow(/synchronous_commit=off/);
    expect(await db.query('show synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
    await db.close();
  });

  describe('on a server with its safety off', () => {
    let server: OwnPostgres;
    let db: Database;
    beforeAll(async () => {
      server = await startPostgres({ fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' });
      db = await openPostgres(server.url, { poolSize: 1 });
    });
    afterAll(async () => {
      await db.close();
      await server.stop();
    });

    it.each(['fsync=off', 'full_page_writes=off', 'synchronous_commit=off'])(
      '[D14] refuses %s unless it is accepted by name',
      async (setting) => {
        const all = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off'];
        await expect(
          checkDatabase(
            db,
            all.filter((name) => name !== setting),
          ),
        ).rejects.toThrow(setting);
        expect((await checkDatabase(db, all)).acceptedRisks).toEqual(all);
      },
    );

    it('[D14] names everything that is wrong at once', async () => {
      await expect(checkDatabase(db)).rejects.toThrow(/fsync=off[\s\S]*full_page_writes=off[\s\S]*synchronous_commit=off/);
    });
  });
});
