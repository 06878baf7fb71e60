/** The faults: how each is done to the world and undone. The victim is a node that owns slots; its clients are not cut from it. */
import { cut, healNetwork } from './network.ts';
import { within } from './time.ts';
import { fakeTime, type World, type WorldNode } from './world.ts';

export interface Fault {
  readonly name: string;
  /** For the table. */
  readonly says: string;
  /** How long it stands, ms: a full run and a quick one. */
  readonly lastsMs: readonly [full: number, quick: number];
  /** What must be so before the workloads begin. */
  prepare?(world: World, victim: WorldNode): Promise<void>;
  /** Does it, and gives what undoes it. */
  strike(world: World, victim: WorldNode): Promise<() => Promise<void>>;
  /** Brings the world back to what it was, after the checks. */
  afterwards?(world: World, victim: WorldNode): Promise<void>;
  /** Its users must be served elsewhere: the time until they are is one of the figures. */
  readonly death?: boolean;
  /** Why it cannot be done on this machine. */
  readonly impossible?: string;
}

const postgresPorts = (world: World): number => world.postgresWay.port;

export const faults: readonly Fault[] = [
  {
    name: 'node-kill',
    says: 'SIGKILL of a node; started again at the end',
    lastsMs: [15_000, 9_000],
    death: true,
    async strike(_, victim) {
      await victim.end('SIGKILL');
      return () => victim.start();
    },
  },
  {
    name: 'node-pause',
    says: 'SIGSTOP of a node for longer than its lease, then SIGCONT',
    lastsMs: [15_000, 8_000],
    death: true,
    async strike(_, victim) {
      victim.freeze();
      return async () => victim.thaw();
    },
  },
  {
    name: 'postgres-kill',
    says: 'Postgres killed with SIGKILL, started again at the end',
    lastsMs: [8_000, 3_000],
    async strike({ postgres }) {
      await postgres.kill();
      return () => postgres.restart();
    },
  },
  {
    name: 'postgres-slow',
    says: 'each round trip to Postgres takes 200 ms more',
    lastsMs: [15_000, 7_000],
    async strike({ postgresWay }) {
      postgresWay.delay('both', 100);
      return async () => postgresWay.delay('both', 0);
    },
  },
  {
    name: 'redis-kill',
    says: 'Redis killed, started again (empty) at the end',
    lastsMs: [10_000, 5_000],
    async strike({ redis }) {
      await redis.kill();
      return () => redis.restart();
    },
  },
  {
    name: 'redis-flush',
    says: 'FLUSHALL, once a second',
    lastsMs: [8_000, 4_000],
    async strike(world) {
      await world.flushRedis();
      const again = setInterval(() => void world.flushRedis().catch(() => {}), 1_000);
      return async () => clearInterval(again);
    },
  },
  {
    name: 'partition-postgres',
    says: 'a node and Postgres cut from each other',
    lastsMs: [15_000, 8_000],
    death: true,
    async strike(world, { net }) {
      const port = postgresPorts(world);
      cut([
        { from: net.address, to: net.hub, port },
        { from: net.hub, to: net.address, port, answers: true },
      ]);
      return async () => healNetwork();
    },
  },
  {
    name: 'one-way-postgres',
    says: 'what a node asks reaches Postgres, the answers are dropped',
    lastsMs: [15_000, 8_000],
    death: true,
    async strike(world, { net }) {
      cut([{ from: net.hub, to: net.address, port: postgresPorts(world), answers: true }]);
      return async () => healNetwork();
    },
  },
  {
    name: 'partition-nodes',
    says: 'a node cut from all other nodes, not from Postgres or clients',
    lastsMs: [15_000, 8_000],
    async strike(world, victim) {
      for (const other of others(world, victim))
        cut([
          { from: victim.net.address, to: other.net.address },
          { from: other.net.address, to: victim.net.address },
        ]);
      return async () => healNetwork();
    },
  },
  {
    name: 'one-way-nodes',
    says: 'what a node sends to other nodes is dropped, the other way is open',
    lastsMs: [15_000, 8_000],
    async strike(world, victim) {
      for (const other of others(world, victim)) cut([{ from: victim.net.address, to: other.net.address }]);
      return async () => healNetwork();
    },
  },
  clock('clock-ahead', 'the wall clock of a node jumps an hour ahead, and back at the end', 3_600),
  clock('clock-behind', 'the wall clock of a node jumps an hour back, and forth at the end', -3_600),
];

function clock(name: string, says: string, seconds: number): Fault {
  return {
    name,
    says,
    lastsMs: [15_000, 8_000],
    ...(fakeTime === undefined ? { impossible: 'the package "libfaketime" is not installed' } : {}),
    async prepare(_, victim) {
      await victim.end('SIGTERM');
      await victim.start(true);
    },
    async strike(_, victim) {
      victim.setClock(seconds);
      // It notices by itself, and balancers send nobody there while it is so.
      if (!(await within(6_000, async () => !(await victim.ready()))))
        throw new Error(`${victim.name} did not notice that its clock was moved`);
      return async () => victim.setClock(0);
    },
    async afterwards(_, victim) {
      await victim.end('SIGTERM');
      await victim.start();
    },
  };
}

function others({ nodes }: World, victim: WorldNode): WorldNode[] {
  return nodes.filter((node) => node !== victim);
}
