/**
 * Durable writes: an answered one is there for ever (I1), and from the moment of its answer for every reader on every node. Each person
 * writes on one device and reads on another, which comes to another node.
 */
import { TmcpError } from '../../../src/client/mod.ts';
import { type Device, passing } from '../device.ts';
import { pause } from '../time.ts';
import { Crew, type Stage, type Verdict, type Workload } from '../workload.ts';

/** As many as a vault may well hold: a key that is written again hides that an earlier write of it was lost. */
const keys = 900;

interface Writer {
  readonly writes: Device;
  readonly reads: Device;
  /** Key to the number that was answered last. */
  readonly acked: Map<string, number>;
  next: number;
  answered: number;
  reading: number;
  stale: string[];
}

export async function storageWorkload(stage: Stage, people: number, pauseMs: number): Promise<Workload> {
  const writers = await Promise.all(
    Array.from({ length: people }, async (_, index): Promise<Writer> => {
      const person = await stage.town.person(`${stage.prefix}writer${index}`);
      const writes = person.device('w', index % 2 === 0 ? 'balanced' : 'direct');
      const reads = person.device('r', 'direct');
      await Promise.all([writes.connect(), reads.connect()]);
      return { writes, reads, acked: new Map(), next: 1, answered: 0, reading: 0, stale: [] };
    }),
  );
  const crew = new Crew();

  async function write(writer: Writer): Promise<void> {
    const number = writer.next++;
    const key = `k${number % keys}`;
    try {
      await writer.writes.call('tween.storage.set', { key, value: String(number) });
      writer.acked.set(key, number);
      writer.answered++;
    } catch (error) {
      if (!passing(error)) throw error;
    }
    await pause(pauseMs);
  }

  async function read(writer: Writer): Promise<void> {
    const known = [...writer.acked];
    // The newest answer is the one a node that was left behind would not know.
    const [key, least] = (Math.random() < 0.7 ? known.at(-1) : known[Math.floor(Math.random() * known.length)]) ?? [];
    if (key !== undefined && least !== undefined) {
      try {
        const found = await valueOf(writer.reads, key);
        writer.reading++;
        if (found < least)
          writer.stale.push(
            `${new Date().toISOString()} ${writer.reads.user.user_id} read ${found} of ${key} on ${writer.reads.client.session?.node}, but ${least} was answered before`,
          );
      } catch (error) {
        if (!passing(error)) throw error;
      }
    }
    await pause(pauseMs);
  }

  return {
    name: 'storage writes',
    invariants: 'I1 I22',
    devices: writers.flatMap(({ writes, reads }) => [writes, reads]),
    start() {
      for (const writer of writers) {
        crew.run(() => write(writer));
        crew.run(() => read(writer));
      }
    },
    stop: () => crew.stop(),
    async verify(): Promise<Verdict> {
      const notes: string[] = writers.flatMap(({ stale }) => stale.slice(0, 2));
      let lost = 0;
      await Promise.all(
        writers.map(async ({ writes, acked }) => {
          for (const [key, number] of acked) {
            const found =
              (await writes.insist(
                () => false,
                () => valueOf(writes, key),
              )) ?? -1;
            if (found >= number) continue;
            lost++;
            notes.push(`${writes.user.user_id}: ${key} holds ${found}, but ${number} was answered`);
          }
        }),
      );
      return {
        violations: { lost_writes: lost, stale_reads: writers.reduce((sum, { stale }) => sum + stale.length, 0) },
        done: {
          answered_writes: writers.reduce((sum, { answered }) => sum + answered, 0),
          reads: writers.reduce((sum, { reading }) => sum + reading, 0),
        },
        notes,
      };
    },
  };
}

/** The number a key holds; -1 when it is not there. */
async function valueOf(device: Device, key: string): Promise<number> {
  try {
    return Number((await device.call('tween.storage.get', { key }, true)).value);
  } catch (error) {
    if (error instanceof TmcpError && error.code === 'KEY_NOT_FOUND') return -1;
    throw error;
  }
}
