/**
 * How many storage writes a second the journal commits, and what each costs Node: writers that wait for their flush and write
 * again, on a real Postgres on the same machine. The reference of the same run is one commit a write on as many connections.
 * `node --import tsx bench/system/journal.ts [--seconds N] [--rounds N] [--writers N] [--lanes N]`
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { SystemClock } from '../../src/clock.ts';
import type { Database } from '../../src/persistence/database.ts';
import { createJournal } from '../../src/persistence/journal/journal.ts';
import { migrate } from '../../src/persistence/migrate.ts';
import { openPglite } from '../../src/persistence/pglite/open.ts';
import { openPostgres } from '../../src/persistence/postgres/open.ts';
import { claimSlots } from '../../src/persistence/stores/slots.ts';
import { usePostgres } from '../../test/support/postgres.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '5' },
    writers: { type: 'string', default: '2000' },
    lanes: { type: 'string', default: '3' },
    pglite: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const writers = Number(values.writers);
const lanes = Number(values.lanes);
const value = new Uint8Array(randomBytes(93));

interface Figures {
  readonly rowsPerSecond: number;
  readonly cpuUs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Rows a commit; 0 where nothing is grouped. */
  readonly group: number;
}

/** Runs `write` for each writer again and again until the time is over. */
async function measure(groups: () => number, write: (writer: number, round: number) => Promise<void>, count: number): Promise<Figures> {
  const waits: number[] = [];
  const until = performance.now() + seconds * 1_000;
  const groupsBefore = groups();
  const cpuBefore = process.cpuUsage();
  const from = performance.now();
  const run = async (writer: number): Promise<void> => {
    for (let round = 0; performance.now() < until; round++) {
      const asked = performance.now();
      await write(writer, round);
      waits.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, writer) => run(writer)));
  const spent = (performance.now() - from) / 1_000;
  const cpu = process.cpuUsage(cpuBefore);
  waits.sort((a, b) => a - b);
  return {
    rowsPerSecond: waits.length / spent,
    cpuUs: (cpu.user + cpu.system) / waits.length,
    p50Ms: waits[waits.length >> 1] ?? 0,
    p99Ms: waits[Math.floor(waits.length * 0.99)] ?? 0,
    group: groups() === groupsBefore ? 0 : waits.length / (groups() - groupsBefore),
  };
}

function rowOf(round: number) {
  const now = 1_700_000_000_000 + round;
  const key = `settings/item-${round % 10}`;
  return {
    key,
    version: round + 1,
    value,
    sizeBytes: 64,
    contentType: 'text/plain',
    createdAt: now,
    updatedAt: now,
    clientAt: now,
    opId: null,
    expiresAt: null,
    deleted: false,
  };
}

async function journalRound(db: Database, name: string): Promise<Figures> {
  const epochs = await claimSlots(db, 'bench');
  const journal = createJournal({
    db,
    clock: new SystemClock(),
    lanes,
    maxEntries: 100_000,
    maxBytes: 256 * 1024 * 1024,
    epochOf: (slot) => epochs[slot]?.epoch ?? -1,
    log: { warn: (fields, message) => console.error(message, fields), error: (fields, message) => console.error(message, fields) },
  });
  const write = (writer: number, round: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const entry = { kind: 'vault', baseSeq: round, seq: round + 1, machineVersion: 1, storage: [rowOf(round)] };
      journal.append({ address: `vault:@${name}-${writer}:tween.example:ma_demo_shop`, ...entry }, (error) =>
        error === undefined ? resolve() : reject(error),
      );
    });
  const figures = await measure(() => journal.counters.groups, write, writers);
  await journal.close();
  return figures;
}

/** What a server does that commits each write by itself. */
async function singleRound(db: Database, connections: number, name: string): Promise<Figures> {
  const sql =
    'insert into storage values ($1, $2, $3, $4, 64, null, $5, $5, $5, null, null, false) on conflict (vault, key) do update set version = excluded.version, value = excluded.value';
  const write = async (writer: number, round: number): Promise<void> => {
    await db.query(sql, [`vault:@${name}-${writer}`, `item-${round % 10}`, round + 1, value, 1_700_000_000_000 + round], 'single');
  };
  return measure(() => 0, write, connections);
}

function print(name: string, figures: Figures): void {
  const cells = [
    `${Math.round(figures.rowsPerSecond)} rows/s`.padStart(16),
    `${figures.cpuUs.toFixed(2)} µs CPU a row`.padStart(22),
    `p50 ${figures.p50Ms.toFixed(1)} ms`.padStart(15),
    `p99 ${figures.p99Ms.toFixed(1)} ms`.padStart(15),
    (figures.group === 0 ? '' : `group ${figures.group.toFixed(0)}`).padStart(12),
  ];
  console.log(name.padEnd(34) + cells.join(''));
}

const server = values.pglite ? undefined : await usePostgres();
const db = server === undefined ? await openPglite() : await openPostgres(server.url, { poolSize: 12 });
try {
  await migrate(db);
  console.log(`${writers} writers, ${lanes} lanes, ${db.dialect}`);
  const medians: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const figures = await journalRound(db, `r${round}`);
    medians.push(figures.rowsPerSecond);
    print('journal', figures);
    if (server !== undefined) print('one commit a write, 8 connections', await singleRound(db, 8, `s${round}`));
  }
  medians.sort((a, b) => a - b);
  console.log(`median ${Math.round(medians[medians.length >> 1] ?? 0)} rows/s`);
} finally {
  await db.close();
  await server?.stop();
}
