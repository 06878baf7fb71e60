/** What a key ring promises, on each engine (ports.ts, `KeyRing`). */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeyRing } from '../../src/persistence/crypto/key-ring.ts';
import type { Database } from '../../src/persistence/database.ts';
import { engines } from './databases.ts';

const plain = new TextEncoder().encode('a secret');
const first = { current: 'm1', keys: new Map([['m1', randomBytes(32)]]) };
const rotated = { current: 'm2', keys: new Map([...first.keys, ['m2', randomBytes(32)]]) };

describe.each(engines)('a key ring on $name', (engine) => {
  let db: Database;
  beforeAll(async () => {
    db = await engine.open();
  });
  afterAll(() => db.close());

  it('gives every ring the same key of a user, also when both ask first at once', async () => {
    const [a, b] = await Promise.all([createKeyRing(db, first).forUser('@race:x'), createKeyRing(db, first).forUser('@race:x')]);
    expect(b.decrypt(a.encrypt(plain, 'p'), 'p')).toEqual(plain);
    const later = await createKeyRing(db, first).forUser('@race:x');
    expect(later.decrypt(b.encrypt(plain, 'p'), 'p')).toEqual(plain);
  });

  it('gives each user another key', async () => {
    const ring = createKeyRing(db, first);
    const [alice, bob] = await Promise.all([ring.forUser('@alice:x'), ring.forUser('@bob:x')]);
    expect(() => bob.decrypt(alice.encrypt(plain, 'p'), 'p')).toThrow();
  });

  it('stores no key in the clear: without the master key nothing opens', async () => {
    await createKeyRing(db, first).forUser('@stolen:x');
    const other = { current: 'm1', keys: new Map([['m1', randomBytes(32)]]) };
    await expect(createKeyRing(db, other).forUser('@stolen:x')).rejects.toThrow(/does not open/);
    await expect(createKeyRing(db, { current: 'm9', keys: new Map([['m9', randomBytes(32)]]) }).forUser('@stolen:x')).rejects.toThrow(
      /m1 is not configured/,
    );
  });

  it('binds a wrapped key to its user', async () => {
    await createKeyRing(db, first).forUser('@from:x');
    await db.query("insert into user_keys select '@to:x', wrapped, master_id, created_at from user_keys where user_id = '@from:x'");
    await expect(createKeyRing(db, first).forUser('@to:x')).rejects.toThrow(/does not open/);
  });

  it('wraps a key anew under a new master key, and the data stays readable', async () => {
    const sealed = (await createKeyRing(db, first).forUser('@rotate:x')).encrypt(plain, 'p');
    expect((await createKeyRing(db, rotated).forUser('@rotate:x')).decrypt(sealed, 'p')).toEqual(plain);
    expect(await db.query("select master_id from user_keys where user_id = '@rotate:x'")).toEqual([{ master_id: 'm2' }]);
    const onlyNew = { current: 'm2', keys: new Map([['m2', rotated.keys.get('m2')!]]) };
    expect((await createKeyRing(db, onlyNew).forUser('@rotate:x')).decrypt(sealed, 'p')).toEqual(plain);
  });

  it('keeps a bounded number of keys, and loads a forgotten one again', async () => {
    const ring = createKeyRing(db, first, { maxUsers: 2 });
    const one = await ring.forUser('@one:x');
    const sealed = one.encrypt(plain, 'p');
    await ring.forUser('@two:x');
    expect(await ring.forUser('@one:x')).toBe(one);
    await ring.forUser('@three:x');
    expect(await ring.forUser('@one:x')).toBe(one);
    await ring.forUser('@four:x');
    await ring.forUser('@five:x');
    const again = await ring.forUser('@one:x');
    expect(again).not.toBe(one);
    expect(again.decrypt(sealed, 'p')).toEqual(plain);
  });

  it('refuses master keys that are not there or not 32 bytes', () => {
    expect(() => createKeyRing(db, { current: 'x', keys: new Map() })).toThrow(/x is not configured/);
    expect(() => createKeyRing(db, { current: 'x', keys: new Map([['x', randomBytes(16)]]) })).toThrow(/16 bytes/);
  });
});
