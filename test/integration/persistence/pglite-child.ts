/** Run as a process of its own: writes through a journal on PGlite, says on its output what was flushed, until it is killed. */
import { createJournal } from '../../../src/persistence/journal/journal.ts';
import { SystemClock } from '../../../src/clock.ts';
import { migrate } from '../../../src/persistence/migrate.ts';
import { openPglite } from '../../../src/persistence/pglite/open.ts';
import { claimSlots } from '../../../src/persistence/stores/slots.ts';
import { createActorStore } from '../../../src/persistence/stores/actor-store.ts';

const db = await openPglite(process.argv[2]);
await migrate(db);
const epochs = await claimSlots(db, 'child');
const journal = createJournal({
  db,
  clock: new SystemClock(),
  lanes: 1,
  maxEntries: 1_000,
  maxBytes: 1_000_000,
  epochOf: (slot) => epochs[slot]?.epoch ?? -1,
  log: { warn: () => {}, error: () => {} },
});
const store = createActorStore(db);

async function write(address: string): Promise<void> {
  let seq = (await store.load(address))?.seq ?? 0;
  for (;;) {
    const baseSeq = seq;
    const error = await new Promise<Error | undefined>((flushed) =>
      journal.append(
        {
          address,
          kind: 'vault',
          baseSeq,
          seq: baseSeq + 1,
          machineVersion: 1,
          records: [{ seq: baseSeq + 1, machineVersion: 1, event: { type: 'e' }, at: 0, stateAfter: '' }],
        },
        flushed,
      ),
    );
    if (error !== undefined) throw error;
    seq++;
    process.stdout.write(`${address} ${seq}\n`);
  }
}

await Promise.all(Array.from({ length: 20 }, (_, index) => write(`vault:child-${index}`)));
