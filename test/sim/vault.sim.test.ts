/**
 * Random lives of a vault on a simulated clock, checked against models that are a few lines long. Several devices edit offline,
 * push in any order, lose answers, pull; the server loses commits and crashes. In the end all hold the same map. A failing run
 * prints its seed and path: `TMCP_SEED=… npx vitest run --project sim test/sim/vault`.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareOpIds } from '../../src/actors/vault/op-id.ts';
import type { OutputOf } from '../../src/protocol/catalogue.ts';
import type { PushOpValue } from '../../src/protocol/operations/sync.ts';
import { type Asked, principal, quiet, World } from '../unit/vault/world.ts';

const seed = Number(process.env['TMCP_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const runs = Number(process.env['TMCP_RUNS'] ?? 300);
const address = 'vault:@alice:tween.example:ma_demo_shop';

const key = fc.constantFrom('a', 'b', 'c', '__proto__');
const device = fc.nat(3);
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('edit' as const), device, key, remove: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('push' as const), device, order: fc.nat(1_000), repeat: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('accept' as const), device, key }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pull' as const), device, limit: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lose' as const), device }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('flush' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 3_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('crash' as const, 'fail' as const, 'passivate' as const) }) },
);

/** A device: what it has not seen settled, what it is waiting for, what it holds. */
class Device {
  readonly id: string;
  readonly skewMs: number;
  readonly who;
  counter = 0;
  queue: PushOpValue[] = [];
  push: Asked<OutputOf<'tween.sync.push'>> | undefined;
  pull: Asked<OutputOf<'tween.sync.pull'>> | undefined;
  accepted: { readonly op: PushOpValue; readonly asked: Asked<OutputOf<'tween.storage.set'>> }[] = [];
  readonly map = new Map<string, string>();
  cursor: string | undefined;

  constructor(n: number) {
    this.id = `device:${n}`;
    this.skewMs = (n - 1) * 1_500;
    this.who = { ...principal('@alice:tween.example', 'ma_demo_shop', `ses_${n}`), deviceId: this.id };
  }

  /** Takes the answers that have come. */
  settle(): void {
    const settled = new Set<string>();
    if (this.push?.answer !== undefined) {
      for (const one of this.push.answer.error === null ? this.push.answer.result.results : []) {
        expect(one.status, JSON.stringify(one)).not.toBe('rejected');
        settled.add(one.op_id);
      }
      this.push = undefined;
    }
    this.accepted = this.accepted.filter(({ op, asked }) => {
      if (asked.answer === undefined || (asked.answer.error === null && asked.durable.length === 0)) return true;
      if (asked.answer.error === null && asked.durable[0] === null) settled.add(op.op_id);
      return false;
    });
    this.queue = this.queue.filter((op) => !settled.has(op.op_id));
    if (this.pull?.answer === undefined) return;
    const { error, result } = this.pull.answer;
    this.pull = undefined;
    if (error !== null) return;
    if (result.reset === true) this.map.clear();
    for (const change of result.changes) {
      if (change.kind === 'set') this.map.set(change.key, change.value as string);
      else this.map.delete(change.key);
    }
    this.cursor = result.cursor;
  }

  /** Server or connection are gone: no answer will come. */
  cut(): void {
    this.push = undefined;
    this.pull = undefined;
    this.accepted = [];
  }
}

/** The whole contract: of all operations on a key, the one made last stays. */
function lastWriters(ops: readonly PushOpValue[]): Record<string, string> {
  const last = new Map<string, PushOpValue>();
  for (const op of ops) {
    const other = last.get(op.key);
    const later = other === undefined || op.client_timestamp > other.client_timestamp;
    if (later || (op.client_timestamp === other.client_timestamp && compareOpIds(op.op_id, other.op_id) > 0)) last.set(op.key, op);
  }
  return Object.fromEntries([...last].filter(([, op]) => op.kind === 'set').map(([name, op]) => [name, op.value as string]));
}

function rotate<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

describe('a vault among offline devices', () => {
  it(`[STO30] converges on the last writers, whatever is lost, repeated or reordered (seed ${seed}, ${runs} runs)`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 2, max: 4 }), fc.array(action, { minLength: 10, maxLength: 80 }), async (count, actions) => {
        const world = new World({ autoFlush: false, vault: { cacheBytesPerVault: 600 } });
        const devices = Array.from({ length: count }, (_, n) => new Device(n));
        const every: PushOpValue[] = [];
        const edit = (one: Device, name: string, remove: boolean): PushOpValue => {
          const op_id = `${one.id}:${one.counter++}`;
          const client_timestamp = Math.round(world.clock.now() + one.skewMs) / 1_000;
          const op: PushOpValue = remove
            ? { op_id, key: name, kind: 'remove', client_timestamp }
            : { op_id, key: name, kind: 'set', value: `${op_id} ${'x'.repeat(one.counter % 90)}`, client_timestamp };
          every.push(op);
          one.queue.push(op);
          return op;
        };
        const pull = (one: Device, limit: number): void => {
          one.pull ??= world.ask('tween.sync.pull', one.cursor === undefined ? { limit } : { limit, cursor: one.cursor }, one.who);
        };
        for (const step of actions) {
          const one = devices['device' in step ? step.device % count : 0] as Device;
          switch (step.do) {
            case 'edit':
              edit(one, step.key, step.remove);
              break;
            case 'push': {
              if (one.push !== undefined || one.queue.length === 0) break;
              const ops = rotate(one.queue, step.order);
              one.push = world.ask('tween.sync.push', { ops: step.repeat ? [...ops, ...ops] : ops }, one.who);
              break;
            }
            case 'accept': {
              const op = edit(one, step.key, false);
              const { op_id, value, client_timestamp } = op;
              const input = { key: op.key, value: value as string, op_id, client_timestamp, durability: 'accepted' as const };
              one.accepted.push({ op, asked: world.ask('tween.storage.set', input, one.who) });
              break;
            }
            case 'pull':
              pull(one, step.limit);
              break;
            case 'lose':
              // The connection breaks: what was asked may be done, and the device does not hear of it.
              one.cut();
              break;
            case 'flush':
              world.journal.flush(step.count);
              break;
            case 'advance':
              world.clock.advance(step.ms);
              break;
            case 'fail':
              world.journal.failNext();
              break;
            case 'passivate':
              world.passivate();
              break;
            case 'crash':
              world.restart();
              for (const each of devices) each.cut();
              break;
          }
          await quiet();
          for (const each of devices) each.settle();
        }
        // Peace: everybody sends and reads until nothing is left.
        const rest = async (): Promise<void> => {
          await quiet();
          world.journal.flush();
          await quiet();
          for (const each of devices) each.settle();
        };
        for (let round = 0; devices.some((one) => one.queue.length > 0); round++) {
          expect(round).toBeLessThan(20);
          // A minute apart, as a client that is refused waits: three failures in a minute set the vault aside.
          world.clock.advance(6 * 60_000);
          for (const one of devices) if (one.queue.length > 0) one.push ??= world.ask('tween.sync.push', { ops: one.queue }, one.who);
          await rest();
          await rest();
        }
        for (const one of devices) {
          for (let page = 0; page < 200; page++) {
            pull(one, 3);
            const asked = one.pull;
            await rest();
            if (asked?.answer?.error === null && !asked.answer.result.has_more && asked.answer.result.changes.length === 0) break;
          }
        }
        const expected = lastWriters(every);
        for (const one of devices) expect(Object.fromEntries(one.map)).toEqual(expected);
        // Each operation took effect, or lost, at most once.
        const taken = world.journal.committed.flatMap((entry) =>
          [...(entry.storage ?? []), ...(entry.conflicts ?? [])].map((row) => row.opId),
        );
        expect(taken.filter((opId, n) => taken.indexOf(opId) !== n)).toEqual([]);
        const rows = world.journal.rows(address);
        const live = rows.filter((row) => !row.deleted);
        const usage = world.ask('tween.storage.usage', {});
        await rest();
        expect(usage.answer?.result).toMatchObject({ keys: live.length, usage_bytes: live.reduce((sum, row) => sum + row.sizeBytes, 0) });
        expect(new Set(rows.map((row) => row.version)).size).toBe(rows.length);
        world.restart();
        const reread = world.ask('tween.sync.pull', {});
        await rest();
        const changes = reread.answer?.result.changes.filter((change) => change.kind === 'set') ?? [];
        expect(Object.fromEntries(changes.map((change) => [change.key, change.value]))).toEqual(expected);
      }),
      { numRuns: runs, seed },
    );
  }, 120_000);
});

const plainAction = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('set' as const),
      key,
      size: fc.constantFrom(0, 1, 300_000, 1_048_576),
      ttl: fc.constantFrom(undefined, 60, 120),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      keys: fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1, 59_999, 60_000, 60_001) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'passivate' as const) }) },
);

describe('a vault and one caller', () => {
  it(`[STO10] holds what a map with ends of life would hold, and its usage is the sum of it (seed ${seed}, ${runs} runs)`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(plainAction, { maxLength: 40 }), async (actions) => {
        const world = new World({ vault: { cacheBytesPerVault: 400_000 } });
        const model = new Map<string, { readonly size: number; readonly end: number }>();
        const alive = () => [...model].filter(([, one]) => one.end > world.clock.now());
        const bytes = () => alive().reduce((sum, [, one]) => sum + one.size, 0);
        const fits = (name: string, size: number) =>
          bytes() - (alive().find(([other]) => other === name)?.[1].size ?? 0) + size <= 10_485_760;
        for (const step of actions) {
          switch (step.do) {
            case 'set': {
              const asked = world.ask('tween.storage.set', {
                key: step.key,
                value: 'x'.repeat(step.size),
                ...(step.ttl === undefined ? {} : { ttl: step.ttl }),
              });
              await asked.done.catch(() => {});
              expect(asked.answer?.error === null).toBe(fits(step.key, step.size));
              const end = step.ttl === undefined ? Number.POSITIVE_INFINITY : world.clock.now() + step.ttl * 1_000;
              if (asked.answer?.error === null) model.set(step.key, { size: step.size, end });
              break;
            }
            case 'remove': {
              const there = alive().some(([name]) => name === step.key);
              expect((await world.call('tween.storage.remove', { key: step.key })).removed).toBe(there);
              model.delete(step.key);
              break;
            }
            case 'batch': {
              const items = step.keys.map((n) => ({ key: `batch${n}`, value: 'x'.repeat(1_000_000) }));
              const { results } = await world.call('tween.storage.batchSet', { items });
              for (const [n, item] of items.entries()) {
                expect(results[n]?.success).toBe(fits(item.key, 1_000_000));
                if (results[n]?.success === true) model.set(item.key, { size: 1_000_000, end: Number.POSITIVE_INFINITY });
              }
              break;
            }
            case 'advance':
              world.clock.advance(step.ms);
              break;
            case 'restart':
              world.restart();
              break;
            case 'passivate':
              world.passivate();
              break;
          }
          expect(await world.call('tween.storage.usage', {})).toMatchObject({ usage_bytes: bytes(), keys: alive().length });
        }
        const listed = await world.call('tween.storage.list', {});
        expect(listed.keys.map((row) => [row.key, row.size_bytes])).toEqual(
          alive()
            .map(([name, one]) => [name, one.size])
            .sort(),
        );
        for (const [name, one] of alive()) expect((await world.value(name))?.length).toBe(one.size);
      }),
      { numRuns: Math.ceil(runs / 3), seed },
    );
  }, 120_000);
});
