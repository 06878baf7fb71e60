/** The actor runtime: mailboxes, commits, idempotency, supervision. Law 2 and law 3 of the message's way. */
import { describe, expect, it } from 'vitest';
import type { ActorContext, Behaviour } from '../../../src/actors/runtime/behaviour.ts';
import type { Message } from '../../../src/actors/runtime/message.ts';
import { Registry, type RegistryObserver } from '../../../src/actors/runtime/registry.ts';
import { TmcpError } from '../../../src/protocol/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { createMemoryJournal } from '../../support/memory-journal.ts';

interface Counter {
  value: number;
}

/** A counter with a commit an increment; `boom` breaks it, `slow` waits for outside work. */
function counterBehaviour(loads: string[] = []): Behaviour<Counter> {
  return {
    kind: 'counter',
    machineVersion: 1,
    load(id, stored) {
      loads.push(id);
      return { value: (stored?.snapshot as Counter | undefined)?.value ?? 0 };
    },
    receive(state, message, context) {
      switch (message.type) {
        case 'add': {
          const value = state.value + (message.input as number);
          context.commit({ snapshot: { value } }, [{ message, result: { value } }]);
          state.value = value;
          return;
        }
        case 'get':
          context.settleWhenFlushed({ message, result: state.value });
          return;
        case 'boom':
          throw new Error('a bug of ours');
        case 'refuse':
          throw new TmcpError('INVALID_STATE');
        case 'slow':
          context.work(message.input as Promise<number>, (error, value) =>
            error === undefined ? message.reply(null, value) : message.reply(new TmcpError('INTERNAL_ERROR')),
          );
          return;
        case 'relay':
          relay(message, context);
          return;
      }
    },
  };
}

function relay(message: Message, context: ActorContext): void {
  context.ask(message.input as string, 'get', null, (error, result) =>
    error === null ? message.reply(null, result) : message.reply(error),
  );
}

function setUp(
  options: { autoFlush?: boolean; maxEntries?: number; mailboxLimit?: number; maxActors?: number; observe?: RegistryObserver } = {},
) {
  const clock = new ManualClock();
  const journal = createMemoryJournal({
    autoFlush: options.autoFlush ?? true,
    ...(options.maxEntries === undefined ? {} : { maxEntries: options.maxEntries }),
  });
  const loads: string[] = [];
  const registry = new Registry({
    journal,
    store: journal,
    bus: { publish() {}, subscribe: () => () => {} },
    clock,
    behaviours: [counterBehaviour(loads)],
    mailboxLimit: options.mailboxLimit ?? 1000,
    maxActors: options.maxActors ?? 1000,
    idleMs: 60_000,
    ...(options.observe === undefined ? {} : { observe: options.observe }),
  });
  const ask = (address: string, type: string, input?: unknown, extra: Partial<Message> = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      registry.tell(address, {
        type,
        input,
        who: null,
        reply: (error, result) => (error === null ? resolve(result) : reject(error)),
        ...extra,
      });
    });
  return { clock, journal, registry, loads, ask };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('commits', () => {
  it('answers a write only after its entry is flushed', async () => {
    const { journal, ask } = setUp({ autoFlush: false });
    let answered = false;
    const answer = ask('counter:a', 'add', 1).then((value) => {
      answered = true;
      return value;
    });
    await settle();
    expect(answered).toBe(false);
    journal.flush();
    expect(await answer).toEqual({ value: 1 });
  });

  it('makes a read that saw unflushed state wait for that flush', async () => {
    const { journal, ask } = setUp({ autoFlush: false });
    const write = ask('counter:a', 'add', 1);
    let read: unknown;
    const reading = ask('counter:a', 'get').then((value) => (read = value));
    await settle();
    expect(read).toBeUndefined();
    journal.flush();
    await Promise.all([write, reading]);
    expect(read).toBe(1);
  });

  it('answers an error and rebuilds from what is stored when a flush fails', async () => {
    const { journal, ask, loads } = setUp({ autoFlush: false });
    const first = ask('counter:a', 'add', 1);
    await settle();
    journal.flush();
    await first;
    journal.failNext();
    const failing = ask('counter:a', 'add', 10);
    const after = ask('counter:a', 'add', 100);
    await settle();
    journal.flush();
    await expect(failing).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await expect(after).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await ask('counter:a', 'get')).toBe(1);
    expect(loads).toEqual(['a', 'a']);
  });

  it('takes nothing when the journal is full, and says when to try again', async () => {
    const { journal, ask } = setUp({ autoFlush: false, maxEntries: 1 });
    const held = ask('counter:a', 'add', 1);
    await settle();
    await expect(ask('counter:b', 'add', 1)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    journal.flush();
    await held;
    expect(await ask('counter:b', 'get')).toBe(0);
  });

  it('numbers entries without a gap, each on the one before', async () => {
    const { journal, ask } = setUp();
    for (let n = 0; n < 5; n++) await ask('counter:a', 'add', 1);
    expect(journal.committed.map(({ baseSeq, seq }) => [baseSeq, seq])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
    ]);
  });
});

describe('idempotency', () => {
  const keyed = (input: number, hash = 'h1'): Partial<Message> => ({
    input,
    idempotency: { scope: 'counter:a|u|app|add|k', inputHash: hash },
  });

  it('gives the first answer again and changes nothing', async () => {
    const { ask } = setUp();
    expect(await ask('counter:a', 'add', 1, keyed(1))).toEqual({ value: 1 });
    expect(await ask('counter:a', 'add', 1, keyed(1))).toEqual({ value: 1 });
    expect(await ask('counter:a', 'get')).toBe(1);
  });

  it('refuses the same key with another input', async () => {
    const { ask } = setUp();
    await ask('counter:a', 'add', 1, keyed(1));
    await expect(ask('counter:a', 'add', 2, keyed(2, 'h2'))).rejects.toMatchObject({ code: 'DUPLICATE_TRANSACTION' });
  });

  it('makes a repeat wait while the first still runs', async () => {
    const { journal, ask } = setUp({ autoFlush: false });
    const first = ask('counter:a', 'add', 1, keyed(1));
    const second = ask('counter:a', 'add', 1, keyed(1));
    await settle();
    journal.flush();
    await settle();
    journal.flush();
    expect(await first).toEqual({ value: 1 });
    expect(await second).toEqual({ value: 1 });
    expect(journal.committed).toHaveLength(1);
  });

  it('remembers across passivation', async () => {
    const { clock, registry, ask } = setUp();
    await ask('counter:a', 'add', 1, keyed(1));
    clock.advance(1_000);
    expect(registry.passivate(0)).toBe(1);
    expect(await ask('counter:a', 'add', 1, keyed(1))).toEqual({ value: 1 });
    expect(await ask('counter:a', 'get')).toBe(1);
  });

  it('forgets a refusal that left no record', async () => {
    const { ask } = setUp();
    const key = { idempotency: { scope: 's', inputHash: 'h' } };
    await expect(ask('counter:a', 'refuse', null, key)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(await ask('counter:a', 'add', 1, key)).toEqual({ value: 1 });
  });

  it('frees the key when the flush fails', async () => {
    const { journal, ask } = setUp({ autoFlush: false });
    journal.failNext();
    const first = ask('counter:a', 'add', 1, keyed(1));
    await settle();
    journal.flush();
    await expect(first).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    const again = ask('counter:a', 'add', 1, keyed(1));
    await settle();
    await settle();
    journal.flush();
    expect(await again).toEqual({ value: 1 });
  });
});

describe('a first answer that is being looked up', () => {
  const key = { idempotency: { scope: 'counter:a|k', inputHash: 'h' } };

  for (const [how, readable] of [
    ['the look-up succeeds', true],
    ['the look-up fails', false],
  ] as const) {
    it(`loses no message when the actor is rebuilt meanwhile (${how})`, async () => {
      const { journal, ask } = setUp({ autoFlush: false });
      const first = ask('counter:a', 'add', 1);
      await settle();
      journal.flush();
      await first;
      const lost = ask('counter:a', 'add', 10).catch((error: TmcpError) => error.code);
      journal.unreadable(!readable);
      const keyed = ask('counter:a', 'add', 100, key);
      journal.unreadable(false);
      journal.failNext();
      journal.flush();
      expect(await lost).toBe('SERVICE_UNAVAILABLE');
      await settle();
      await settle();
      journal.flush();
      expect(await keyed).toEqual({ value: 101 });
    });
  }
});

describe('mailboxes', () => {
  it('refuses past the bound and answers everything before it', async () => {
    const { ask } = setUp({ mailboxLimit: 3 });
    // The actor is still loading, so everything waits.
    const asked = Array.from({ length: 5 }, () =>
      ask('counter:a', 'add', 1).then(
        () => 'done',
        (error: TmcpError) => error.code,
      ),
    );
    expect(await Promise.all(asked)).toEqual(['done', 'done', 'done', 'SERVICE_UNAVAILABLE', 'SERVICE_UNAVAILABLE']);
  });

  it('handles messages in the order of their arrival', async () => {
    const { ask } = setUp();
    const answers = await Promise.all([ask('counter:a', 'add', 1), ask('counter:a', 'add', 2), ask('counter:a', 'add', 3)]);
    expect(answers).toEqual([{ value: 1 }, { value: 3 }, { value: 6 }]);
  });

  it('answers an actor that asks another, and one that asks itself', async () => {
    const { ask } = setUp();
    await ask('counter:b', 'add', 7);
    expect(await ask('counter:a', 'relay', 'counter:b')).toBe(7);
    expect(await ask('counter:a', 'relay', 'counter:a')).toBe(0);
  });
});

describe('supervision', () => {
  it('answers INTERNAL_ERROR for a bug, keeps the flushed state and hurts no other actor', async () => {
    const { ask } = setUp();
    await ask('counter:a', 'add', 5);
    await expect(ask('counter:a', 'boom')).rejects.toMatchObject({ code: 'INTERNAL_ERROR' });
    expect(await ask('counter:a', 'get')).toBe(5);
    expect(await ask('counter:b', 'add', 1)).toEqual({ value: 1 });
  });

  it('a refusal is no failure', async () => {
    const restarts: string[] = [];
    const { ask } = setUp({ observe: { restarted: (_kind, address) => void restarts.push(address) } });
    await expect(ask('counter:a', 'refuse')).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(restarts).toEqual([]);
  });

  it('sets an actor aside after three failures in a minute, and tries again after five', async () => {
    const quarantined: string[] = [];
    const { clock, ask } = setUp({ observe: { quarantined: (_kind, address) => void quarantined.push(address) } });
    for (let n = 0; n < 3; n++) await ask('counter:a', 'boom').catch(() => {});
    expect(quarantined).toEqual(['counter:a']);
    await expect(ask('counter:a', 'get')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 300 });
    expect(await ask('counter:b', 'get')).toBe(0);
    clock.advance(5 * 60_000);
    expect(await ask('counter:a', 'get')).toBe(0);
  });

  it('does not count failures that lie more than a minute apart', async () => {
    const { clock, ask } = setUp();
    for (let n = 0; n < 5; n++) {
      await ask('counter:a', 'boom').catch(() => {});
      clock.advance(61_000);
    }
    expect(await ask('counter:a', 'get')).toBe(0);
  });

  it('waits for commits under way before it reads the stored state again', async () => {
    const { journal, ask } = setUp({ autoFlush: false });
    const first = ask('counter:a', 'add', 1);
    await settle();
    await expect(ask('counter:a', 'boom')).rejects.toMatchObject({ code: 'INTERNAL_ERROR' });
    const read = ask('counter:a', 'get');
    await settle();
    journal.flush();
    await first;
    expect(await read).toBe(1);
  });

  it('a read of the database that fails answers and is tried again', async () => {
    const { journal, ask } = setUp();
    journal.unreadable(true);
    const asked = ask('counter:a', 'get').then(
      () => 'done',
      (error: TmcpError) => error.code,
    );
    expect(await asked).toBe('SERVICE_UNAVAILABLE');
  });
});

describe('passivation', () => {
  it('drops idle actors only, and wakes them with what they had', async () => {
    const { clock, registry, journal, ask, loads } = setUp({ autoFlush: false });
    const write = ask('counter:a', 'add', 4);
    await settle();
    clock.advance(1_000);
    expect(registry.passivate(0)).toBe(0);
    journal.flush();
    await write;
    clock.advance(1_000);
    expect(registry.passivate(0)).toBe(1);
    expect(registry.size).toBe(0);
    expect(await ask('counter:a', 'get')).toBe(4);
    expect(loads).toEqual(['a', 'a']);
  });

  it('keeps an actor whose outside work is under way', async () => {
    const { clock, registry, ask } = setUp();
    let finish: (value: number) => void = () => {};
    const slow = ask('counter:a', 'slow', new Promise<number>((resolve) => (finish = resolve)));
    await settle();
    clock.advance(120_000);
    expect(registry.size).toBe(1);
    finish(9);
    expect(await slow).toBe(9);
  });

  it('happens by itself after the idle time', async () => {
    const { clock, registry, ask } = setUp();
    await ask('counter:a', 'add', 1);
    clock.advance(80_000);
    expect(registry.size).toBe(0);
  });

  it('makes room when there are too many actors, and refuses when none is idle', async () => {
    const { clock, ask } = setUp({ maxActors: 2 });
    await ask('counter:a', 'add', 1);
    await ask('counter:b', 'add', 1);
    await expect(ask('counter:c', 'add', 1)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    clock.advance(1_001);
    expect(await ask('counter:c', 'add', 1)).toEqual({ value: 1 });
  });
});

describe('trouble of the database', () => {
  it('sets no actor aside: lost writes and failed reads do not count', async () => {
    const quarantined: string[] = [];
    const { journal, ask } = setUp({ observe: { quarantined: (_kind, address) => void quarantined.push(address) } });
    for (let n = 0; n < 5; n++) {
      journal.failNext();
      await expect(ask('counter:a', 'add', 1)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    }
    journal.unreadable(true);
    for (let n = 0; n < 5; n++) await expect(ask('counter:b', 'get')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    journal.unreadable(false);
    expect(quarantined).toEqual([]);
    expect(await ask('counter:a', 'add', 1)).toEqual({ value: 1 });
    expect(await ask('counter:b', 'get')).toBe(0);
  });
});
