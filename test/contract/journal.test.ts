/** What a journal promises, on each engine (ports.ts, `Journal`). In titles: rows of the fault list and invariants (docs/spec). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/persistence/database.ts';
import { FencedError, LostRaceError } from '../../src/persistence/journal/errors.ts';
import { createActorStore } from '../../src/persistence/stores/actor-store.ts';
import { claimSlots } from '../../src/persistence/stores/slots.ts';
import { createVaultStore } from '../../src/persistence/stores/vault-store.ts';
import { slotOf } from '../../src/actors/runtime/slots.ts';
import { appended, engines, entryOf, openJournal, poison, rowOf } from './databases.ts';

describe.each(engines)('a journal on $name', (engine) => {
  let db: Database;
  beforeAll(async () => {
    db = await engine.open();
  });
  afterAll(() => db.close());

  it('has stored every part of an entry when it says flushed', async () => {
    const { journal, append } = await openJournal(db);
    const error = await append(
      entryOf('vault:whole', 0, {
        snapshot: { value: 'open', context: { n: 1 } },
        records: [{ seq: 1, machineVersion: 1, event: { type: 'made', by: 'ada' }, at: 5, stateAfter: 'open' }],
        storage: [rowOf('k', 1, { opId: 'd:1', contentType: 'text/plain', expiresAt: 99 })],
        conflicts: [{ key: 'k', opId: 'd:0', value: new Uint8Array([7]), kind: 'set', clientAt: 3, at: 4, resolution: 'lww' }],
        idempotency: [{ scope: 'vault:whole|set|key', inputHash: 'h', result: new Uint8Array([0, 255]), expiresAt: 77 }],
        outbox: [{ id: 'whole/1/0', type: 'charge', payload: { amountMinor: 5 } }],
        timers: [{ id: 'expire', dueAt: 123 }],
      }),
    );
    expect(error).toBeUndefined();
    const actors = createActorStore(db);
    const vaults = createVaultStore(db);
    expect(await actors.load('vault:whole')).toEqual({ seq: 1, machineVersion: 1, snapshot: { value: 'open', context: { n: 1 } } });
    expect(await actors.records('vault:whole')).toEqual([
      { seq: 1, machineVersion: 1, event: { type: 'made', by: 'ada' }, at: 5, stateAfter: 'open' },
    ]);
    const { value, ...index } = rowOf('k', 1, { opId: 'd:1', contentType: 'text/plain', expiresAt: 99 });
    expect(await vaults.index('vault:whole')).toEqual([index]);
    expect(await vaults.values('vault:whole', ['k', 'none'])).toEqual([{ key: 'k', version: 1, value }]);
    expect(await vaults.conflicts('vault:whole', 10)).toEqual([
      { key: 'k', opId: 'd:0', value: new Uint8Array([7]), kind: 'set', clientAt: 3, at: 4, resolution: 'lww' },
    ]);
    expect(await actors.idempotency('vault:whole', 'vault:whole|set|key')).toEqual({
      scope: 'vault:whole|set|key',
      inputHash: 'h',
      result: new Uint8Array([0, 255]),
      expiresAt: 77,
    });
    expect(await actors.outbox(10)).toMatchObject([
      { id: 'whole/1/0', address: 'vault:whole', type: 'charge', payload: { amountMinor: 5 } },
    ]);
    expect(await actors.timers(123, 10)).toEqual([{ address: 'vault:whole', id: 'expire', dueAt: 123 }]);

    expect(await append(entryOf('vault:whole', 1, { outboxDone: ['whole/1/0'], timersDone: ['expire'] }))).toBeUndefined();
    expect(await actors.outbox(10)).toEqual([]);
    expect(await actors.timers(123, 10)).toEqual([]);
    await journal.close();
  });

  it('keeps texts and bytes as they are', async () => {
    const { journal, append } = await openJournal(db);
    const texts = ['', 'NULL', '{a,b}', '"quoted"', 'back\\slash', "it's", 'zwölf 字 🂡', ' blank ', 'x'.repeat(200)];
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const large = new Uint8Array(1_048_576).fill(9);
    const rows = [
      ...texts.map((text, index) => rowOf(`${index}${text}`, 1, { value: bytes, contentType: text, opId: text })),
      rowOf('large', 1, { value: large }),
      rowOf('none', 1, { value: null, deleted: true }),
      rowOf('zero', 1, { value: new Uint8Array(0) }),
    ];
    const snapshot = { texts, nested: { list: [1, 2.5, null, true] } };
    expect(await append(entryOf('vault:ü:texts', 0, { snapshot, storage: rows }))).toBeUndefined();
    const vaults = createVaultStore(db);
    const stored = await vaults.index('vault:ü:texts');
    for (const [index, text] of texts.entries()) {
      expect(stored.find(({ key }) => key === `${index}${text}`)).toMatchObject({ contentType: text, opId: text });
    }
    const values = await vaults.values('vault:ü:texts', ['8'.concat('x'.repeat(200)), 'large', 'none', 'zero']);
    expect(values.map(({ key, value }) => [key.slice(0, 5), value.length]).sort()).toEqual([
      ['8xxxx', 256],
      ['large', 1_048_576],
      ['zero', 0],
    ]);
    expect(values.find(({ key }) => key.startsWith('8x'))?.value).toEqual(bytes);
    expect((await createActorStore(db).load('vault:ü:texts'))?.snapshot).toEqual(snapshot);
    await journal.close();
  });

  it('commits what one turn of the loop brings as one group, and an actor once in it', async () => {
    const { journal, append } = await openJournal(db);
    const before = journal.counters.groups;
    const answers: number[] = [];
    const entries = [
      entryOf('vault:collapse', 0, {
        snapshot: { n: 1 },
        storage: [rowOf('a', 1), rowOf('b', 1)],
        timers: [
          { id: 't1', dueAt: 1 },
          { id: 't2', dueAt: 1 },
        ],
      }),
      entryOf('vault:collapse', 1, { snapshot: { n: 2 }, storage: [rowOf('a', 2)], timersDone: ['t1'], timers: [{ id: 't2', dueAt: 7 }] }),
      entryOf('vault:collapse', 2, {
        storage: [rowOf('a', 3, { value: null, deleted: true })],
        timersDone: ['t2'],
        timers: [{ id: 't2', dueAt: 9 }],
      }),
    ].map((entry, index) => ({
      ...entry,
      records: [{ seq: index + 1, machineVersion: 1, event: { type: 'e' }, at: index, stateAfter: 's' }],
    }));
    await Promise.all(entries.map((entry, index) => append(entry).then(() => answers.push(index))));
    expect(journal.counters.groups - before).toBe(1);
    expect(answers).toEqual([0, 1, 2]);
    const actors = createActorStore(db);
    expect(await actors.load('vault:collapse')).toEqual({ seq: 3, machineVersion: 1, snapshot: { n: 2 } });
    expect((await actors.records('vault:collapse')).map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect((await createVaultStore(db).index('vault:collapse')).map(({ key, version, deleted }) => [key, version, deleted])).toEqual([
      ['a', 3, true],
      ['b', 1, false],
    ]);
    expect((await actors.timers(100, 100)).filter(({ address }) => address === 'vault:collapse')).toEqual([
      { address: 'vault:collapse', id: 't2', dueAt: 9 },
    ]);
    await journal.close();
  });

  it('writes one actor in the order of append, over many groups and beyond the size of one', async () => {
    const { journal, append } = await openJournal(db, { lanes: 3 });
    const count = 1_300;
    const order: number[] = [];
    const all: Promise<unknown>[] = [];
    for (let seq = 0; seq < count; seq++) {
      const entry = entryOf('vault:order', seq, {
        storage: [rowOf('k', seq + 1)],
        records: [{ seq: seq + 1, machineVersion: 1, event: { type: 'set' }, at: seq, stateAfter: 'open' }],
      });
      all.push(append(entry).then((error) => order.push(error === undefined ? seq : -1)));
      if (seq % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(all);
    expect(order).toEqual(Array.from({ length: count }, (_, seq) => seq));
    const actors = createActorStore(db);
    expect((await actors.load('vault:order'))?.seq).toBe(count);
    expect((await actors.records('vault:order')).map(({ seq }) => seq)).toEqual(Array.from({ length: count }, (_, seq) => seq + 1));
    expect((await createVaultStore(db).index('vault:order'))[0]?.version).toBe(count);
    await journal.close();
  });

  it('refuses an entry whose base is not what is stored, and no other', async () => {
    const { journal, append } = await openJournal(db);
    expect(await append(entryOf('vault:race', 0, { snapshot: { by: 'first' } }))).toBeUndefined();
    const [stale, tooFar, good] = await Promise.all([
      append(entryOf('vault:race', 0, { snapshot: { by: 'second' } })),
      append(entryOf('vault:never', 4)),
      append(entryOf('vault:good', 0)),
    ]);
    expect(stale).toBeInstanceOf(LostRaceError);
    expect(tooFar).toBeInstanceOf(LostRaceError);
    expect(good).toBeUndefined();
    const actors = createActorStore(db);
    expect((await actors.load('vault:race'))?.snapshot).toEqual({ by: 'first' });
    expect(await actors.load('vault:never')).toBeUndefined();
    await journal.close();
  });

  it('refuses an entry that does not continue the one before it, although both still wait', async () => {
    const { journal, append } = await openJournal(db);
    const [first, other] = await Promise.all([append(entryOf('vault:fork', 0)), append(entryOf('vault:fork', 0))]);
    expect(first).toBeUndefined();
    expect(other).toBeInstanceOf(LostRaceError);
    expect((await createActorStore(db).load('vault:fork'))?.seq).toBe(1);
    await journal.close();
  });

  it('[K8] [D7] [I24] of 400 entries with one poison row 399 are stored and one fails', async () => {
    const { journal, append } = await openJournal(db);
    const results = await Promise.all(
      Array.from({ length: 400 }, (_, index) =>
        append(entryOf(`vault:batch-${index}`, 0, { storage: [rowOf(index === 137 ? poison : 'k', 1)] })),
      ),
    );
    expect(results.map((error, index) => (error === undefined ? -1 : index)).filter((index) => index >= 0)).toEqual([137]);
    const [row] = await db.query<{ n: number }>("select count(*) as n from storage where vault like 'vault:batch-%'");
    expect(row?.n).toBe(399);
    expect(await createActorStore(db).load('vault:batch-137')).toBeUndefined();
    await journal.close();
  });

  it('fails the later entries of an actor with the first, until it is loaded anew', async () => {
    const { journal, append } = await openJournal(db);
    expect(await append(entryOf('vault:sick', 0))).toBeUndefined();
    const results = await Promise.all([
      append(entryOf('vault:sick', 1, { storage: [rowOf(poison, 1)] })),
      append(entryOf('vault:sick', 2)),
      append(entryOf('vault:well', 0)),
    ]);
    expect(results.map((error) => error?.name)).toEqual(['EntryRefusedError', 'EntryRefusedError', undefined]);
    expect((await append(entryOf('vault:sick', 3)))?.name).toBe('EntryRefusedError');
    expect((await append(entryOf('vault:sick', 4)))?.name).toBe('EntryRefusedError');
    expect((await createActorStore(db).load('vault:sick'))?.seq).toBe(1);
    expect(await append(entryOf('vault:sick', 1))).toBeUndefined();
    expect(await append(entryOf('vault:sick', 2))).toBeUndefined();
    await journal.close();
  });

  it('[A1] [I22] writes nothing under an epoch that another node has raised, and goes on with the other slots', async () => {
    const { journal, append } = await openJournal(db);
    expect(await append(entryOf('vault:fenced', 0, { snapshot: { owner: 'old' } }))).toBeUndefined();
    const [claimed] = await claimSlots(db, 'other', [slotOf('vault:fenced')]);
    const other = Array.from({ length: 50 }, (_, index) => `vault:free-${index}:app`).find(
      (address) => slotOf(address) !== slotOf('vault:fenced'),
    )!;
    const [stale, free] = await Promise.all([
      append(entryOf('vault:fenced', 1, { snapshot: { owner: 'stale' } })),
      append(entryOf(other, 0)),
    ]);
    expect(stale).toBeInstanceOf(FencedError);
    expect(free).toBeUndefined();
    const rows = await db.query<{ epoch: number; snapshot: unknown }>('select epoch, snapshot from actors where address = $1', [
      'vault:fenced',
    ]);
    expect(rows[0]?.snapshot).toEqual({ owner: 'old' });
    expect(rows[0]?.epoch).toBeLessThan(claimed!.epoch);
    await journal.close();
  });

  it('fences an entry by the epoch at which it was taken, though the slot was won back since', async () => {
    let epoch = 0;
    const { journal } = await openJournal(db, { epochOf: () => epoch });
    const claimed = (await claimSlots(db, 'me', [slotOf('vault:back')]))[0]!.epoch;
    epoch = claimed - 1;
    const waiting = appended(journal, entryOf('vault:back', 0));
    epoch = claimed;
    expect(await waiting).toBeInstanceOf(FencedError);
    expect(await appended(journal, entryOf('vault:back', 0))).toBeUndefined();
    await journal.close();
  });

  it('[I23] takes entries up to its bound, and at the next one refuses and takes nothing', async () => {
    const { journal, append } = await openJournal(db, { maxEntries: 3 });
    const waiting = [0, 1, 2].map((index) => append(entryOf(`vault:cap-${index}`, 0)));
    expect(journal.backlog().entries).toBe(3);
    const before = journal.backlog();
    expect(() => journal.append(entryOf('vault:cap-3', 0), () => {})).toThrow(
      expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 }),
    );
    expect(journal.backlog()).toEqual(before);
    expect(await Promise.all(waiting)).toEqual([undefined, undefined, undefined]);
    expect(journal.backlog()).toEqual({ entries: 0, bytes: 0 });
    expect(await createActorStore(db).load('vault:cap-3')).toBeUndefined();
    expect(await append(entryOf('vault:cap-3', 0))).toBeUndefined();
    await journal.close();
  });

  it('[I23] bounds the bytes that wait', async () => {
    const { journal, append } = await openJournal(db, { maxBytes: 10_000 });
    const value = new Uint8Array(6_000);
    const first = append(entryOf('vault:bytes-1', 0, { storage: [rowOf('k', 1, { value })] }));
    expect(() => journal.append(entryOf('vault:bytes-2', 0, { storage: [rowOf('k', 1, { value })] }), () => {})).toThrow(/bytes/);
    expect(await first).toBeUndefined();
    expect(await append(entryOf('vault:bytes-2', 0, { storage: [rowOf('k', 1, { value })] }))).toBeUndefined();
    await journal.close();
  });

  it('keeps an eighth of the bound free of storage writes where money has a lane of its own', async () => {
    const { journal, append } = await openJournal(db, { maxEntries: 16, lanes: 2 });
    const waiting = Array.from({ length: 14 }, (_, index) => append(entryOf(`vault:share-${index}`, 0)));
    expect(() => journal.append(entryOf('vault:share-14', 0), () => {})).toThrow(/wait/);
    waiting.push(append(entryOf('payment:share-1', 0)), append(entryOf('user:share-2', 0)));
    expect(() => journal.append(entryOf('payment:share-3', 0), () => {})).toThrow(/wait/);
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => undefined));
    await journal.close();
  });

  it('[P16] [I3] lets a payment that has ended change only into a refund', async () => {
    const { journal, append } = await openJournal(db);
    const payment = (id: string, base: number, value: string) =>
      append(entryOf(`payment:${id}`, base, { snapshot: { value, context: {} } }));
    expect(await payment('p1', 0, 'processing')).toBeUndefined();
    expect(await payment('p1', 1, 'completed')).toBeUndefined();
    expect((await payment('p1', 2, 'processing'))?.name).toBe('EntryRefusedError');
    expect((await createActorStore(db).load('payment:p1'))?.snapshot).toMatchObject({ value: 'completed' });
    expect(await payment('p1', 2, 'completed')).toBeUndefined();
    expect(await payment('p1', 3, 'partially_refunded')).toBeUndefined();
    expect(await payment('p1', 4, 'refunded')).toBeUndefined();
    expect((await payment('p1', 5, 'completed'))?.name).toBe('EntryRefusedError');
    for (const ended of ['failed', 'cancelled', 'expired']) {
      expect(await payment(ended, 0, ended)).toBeUndefined();
      expect((await payment(ended, 1, 'completed'))?.name).toBe('EntryRefusedError');
      expect(await payment(ended, 1, ended)).toBeUndefined();
    }
    await expect(db.query(`update actors set snapshot = '{"value": "authorized"}' where address = 'payment:p1'`)).rejects.toMatchObject({
      code: 'TM003',
    });
    expect(await append(entryOf('vault:completed', 0, { snapshot: { value: 'completed' } }))).toBeUndefined();
    expect(await append(entryOf('vault:completed', 1, { snapshot: { value: 'open' } }))).toBeUndefined();
    await journal.close();
  });

  it('throws to the caller for what can never be stored, and takes nothing', async () => {
    const { journal } = await openJournal(db);
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(() => journal.append(entryOf('vault:bad', 0, { snapshot: circle }), () => {})).toThrow(TypeError);
    expect(() => journal.append(entryOf('vault:bad', 3, { seq: 3 }), () => {})).toThrow(RangeError);
    expect(() => journal.append(entryOf('vault:bad', -1), () => {})).toThrow(RangeError);
    expect(journal.backlog()).toEqual({ entries: 0, bytes: 0 });
    await journal.close();
  });

  it('fails an entry with a number that no column holds, and no other', async () => {
    const { journal, append } = await openJournal(db);
    const [bad, good] = await Promise.all([
      append(entryOf('vault:number', 0, { timers: [{ id: 't', dueAt: 1.5 }] })),
      append(entryOf('vault:number2', 0, { timers: [{ id: 't', dueAt: 1 }] })),
    ]);
    expect(bad?.name).toBe('EntryRefusedError');
    expect(good).toBeUndefined();
    await journal.close();
  });

  it('goes on when a flushed callback throws', async () => {
    const { journal, append, warnings } = await openJournal(db);
    journal.append(entryOf('vault:throws', 0), () => {
      throw new Error('listener');
    });
    expect(await append(entryOf('vault:after', 0))).toBeUndefined();
    expect(warnings).toContainEqual(expect.objectContaining({ address: 'vault:throws' }));
    await journal.close();
  });

  it('drains: everything appended before is flushed when it resolves', async () => {
    const { journal } = await openJournal(db, { lanes: 2 });
    let flushed = 0;
    for (let index = 0; index < 700; index++) journal.append(entryOf(`vault:drain-${index}`, 0), () => flushed++);
    await journal.drain();
    expect(flushed).toBe(700);
    await journal.drain();
    await journal.close();
  });

  it('flushes what waits when it closes, and takes no more', async () => {
    const { journal, append } = await openJournal(db);
    const waiting = append(entryOf('vault:closing', 0));
    await journal.close();
    expect(await waiting).toBeUndefined();
    expect(() => journal.append(entryOf('vault:closing', 1), () => {})).toThrow(expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }));
  });

  it('answers before the commit only where the control run asks for it', async () => {
    const { journal } = await openJournal(db, { ackBeforeCommit: true });
    const answers: (Error | undefined)[] = [];
    journal.append(entryOf('vault:control', 0), (error) => answers.push(error));
    await Promise.resolve();
    expect(answers).toEqual([undefined]);
    await journal.drain();
    expect(answers).toEqual([undefined]);
    await journal.close();
  });
});
