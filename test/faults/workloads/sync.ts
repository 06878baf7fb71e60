/**
 * Two devices of a user write the same keys, each into its offline queue, and pull. After healing everything queued is durable, none lost
 * (I15, I16), none applied twice (I18), and both hold the same (I17: a cursor never skips what it has passed).
 */
import type { PushOutcome, QueuedOp } from '../../../src/client/mod.ts';
import { type Device, passing } from '../device.ts';
import { pause, within } from '../time.ts';
import { Crew, type Stage, type Verdict, type Workload } from '../workload.ts';

const keys = 25;
const flushWithinMs = 45_000;

interface Replica {
  readonly device: Device;
  /** What the pulls added up to. */
  readonly held: Map<string, string>;
  cursor: string | undefined;
  readonly outcomes: Map<string, PushOutcome>;
  readonly ops: QueuedOp[];
}

export async function syncWorkload(stage: Stage, pairs: number, pauseMs: number): Promise<Workload> {
  const users = await Promise.all(
    Array.from({ length: pairs }, async (_, index): Promise<readonly [Replica, Replica]> => {
      const person = await stage.town.person(`${stage.prefix}twin${index}`);
      const replica = async (id: string, way: 'balanced' | 'direct'): Promise<Replica> => {
        const outcomes = new Map<string, PushOutcome>();
        const device = person.device(id, way, (client) =>
          client.storage.onOutcome((outcome, op) => {
            outcomes.set(op.op_id, outcome);
            device.servedAt.push(performance.now());
          }),
        );
        await device.connect();
        return { device, held: new Map(), cursor: undefined, outcomes, ops: [] };
      };
      return [await replica('a', 'balanced'), await replica('b', 'direct')];
    }),
  );
  const replicas = users.flat();
  const crew = new Crew();
  let number = 0;

  async function write(replica: Replica): Promise<void> {
    const key = `s${Math.floor(Math.random() * keys)}`;
    const { storage } = replica.device.client;
    try {
      replica.ops.push(Math.random() < 0.1 ? await storage.remove(key) : await storage.set(key, `${replica.device.id}/${++number}`));
    } catch (error) {
      if (!passing(error)) throw error;
    }
    await pause(pauseMs * (0.5 + Math.random()));
  }

  async function pullAll(replica: Replica): Promise<void> {
    for (let more = true; more; ) {
      const input = replica.cursor === undefined ? { limit: 50 } : { cursor: replica.cursor, limit: 50 };
      const page = await replica.device.call('tween.sync.pull', input, true);
      if (page.reset === true) replica.held.clear();
      for (const { key, kind, value } of page.changes) {
        if (kind === 'set') replica.held.set(key, value ?? '');
        else replica.held.delete(key);
      }
      replica.cursor = page.cursor;
      more = page.has_more;
    }
  }

  async function pull(replica: Replica): Promise<void> {
    try {
      await pullAll(replica);
    } catch (error) {
      if (!passing(error)) throw error;
    }
    await pause(400);
  }

  return {
    name: 'sync',
    invariants: 'I15 I16 I17 I18',
    devices: replicas.map(({ device }) => device),
    start() {
      for (const replica of replicas) {
        crew.run(() => write(replica));
        crew.run(() => pull(replica));
      }
    },
    stop: () => crew.stop(),
    async verify(): Promise<Verdict> {
      const notes: string[] = [];
      const flushed = await within(flushWithinMs, () => replicas.every(({ device }) => device.client.storage.waiting === 0));
      const waiting = flushed ? 0 : replicas.reduce((sum, { device }) => sum + device.client.storage.waiting, 0);
      for (const replica of replicas)
        await replica.device.insist(
          () => false,
          () => pullAll(replica),
        );
      let differ = 0;
      let lost = 0;
      let twice = 0;
      let rejected = 0;
      for (const pair of users) {
        const [a, b] = pair;
        const fresh: Replica = { ...a, held: new Map(), cursor: undefined };
        await a.device.insist(
          () => false,
          () => pullAll(fresh),
        );
        const truth = contents(fresh.held);
        for (const replica of pair) {
          if (contents(replica.held) === truth) continue;
          differ++;
          notes.push(`${replica.device.id} holds other values than the server: ${difference(replica.held, fresh.held)}`);
        }
        const outcomes = [...a.outcomes, ...b.outcomes];
        rejected += outcomes.filter(([, { status }]) => status === 'rejected').length;
        // Each operation that took effect has a version of its own; one that was applied again would have made another.
        const versions = outcomes.flatMap(([, { status, version }]) => (status === 'applied' && version !== undefined ? [version] : []));
        twice += versions.length - new Set(versions).size;
        for (const [key, op] of lastOf([...a.ops, ...b.ops])) {
          const expected = op.kind === 'set' ? op.value : undefined;
          if (fresh.held.get(key) === expected) continue;
          lost++;
          notes.push(
            `${key} of ${a.device.user.user_id} holds ${fresh.held.get(key)}, the newest operation ${op.op_id} says ${expected}: ${JSON.stringify(a.outcomes.get(op.op_id) ?? b.outcomes.get(op.op_id))}`,
          );
        }
      }
      return {
        violations: {
          devices_differ: differ,
          lost_ops: lost,
          ops_applied_twice: twice,
          ops_rejected: rejected,
          ops_never_durable: waiting,
        },
        done: { synced_ops: replicas.reduce((sum, { outcomes }) => sum + outcomes.size, 0) },
        notes,
      };
    },
  };
}

/** The operation that must stand for each key: the newest, at the same instant the one with the higher id. */
function lastOf(ops: readonly QueuedOp[]): Map<string, QueuedOp> {
  const last = new Map<string, QueuedOp>();
  for (const op of ops) {
    const before = last.get(op.key);
    if (before === undefined || order(op) > order(before)) last.set(op.key, op);
  }
  return last;
}

function order({ client_timestamp, op_id }: QueuedOp): string {
  const [device = '', count = ''] = op_id.split(':');
  return `${client_timestamp.toFixed(3).padStart(16, '0')} ${device} ${count.padStart(16, '0')}`;
}

function contents(held: ReadonlyMap<string, string>): string {
  return JSON.stringify([...held].sort());
}

function difference(mine: ReadonlyMap<string, string>, truth: ReadonlyMap<string, string>): string {
  const names = new Set([...mine.keys(), ...truth.keys()]);
  return [...names]
    .filter((key) => mine.get(key) !== truth.get(key))
    .slice(0, 3)
    .map((key) => `${key}: ${mine.get(key)} instead of ${truth.get(key)}`)
    .join('; ');
}
