/**
 * Sessions that lose their sockets all the time and resume on whatever node they come to: each event of an answered write arrives, in order and
 * once, or the client is told to read afresh (I13, I14, I21).
 */
import { type Device, passing } from '../device.ts';
import { pause, within } from '../time.ts';
import { Crew, type Stage, type Verdict, type Workload } from '../workload.ts';

interface Watch {
  readonly writes: Device;
  readonly hears: Device;
  /** Numbers whose write was answered. */
  readonly acked: number[];
  /** Numbers that an event told of, and those that were read after the client was told to. */
  readonly heard: Set<number>;
  readonly read: Set<number>;
  next: number;
  /** Events that came twice in one session. */
  again: number;
  /** Events that came after newer ones: their owner was stopped between the commit and the telling. */
  late: number;
  resyncs: number;
  reading: Promise<void>;
}

interface Changed {
  readonly changes?: readonly { readonly key: string }[];
  readonly reset?: boolean;
}

const arriveWithinMs = 10_000;

export async function resumeWorkload(stage: Stage, people: number, pauseMs: number): Promise<Workload> {
  const watches = await Promise.all(
    Array.from({ length: people }, async (_, index): Promise<Watch> => {
      const person = await stage.town.person(`${stage.prefix}watcher${index}`);
      const heard = new Set<number>();
      // Of this session; one that follows another without resuming it may hear of what was read already.
      let newest = 0;
      const told = new Set<number>();
      const hears: Device = person.device('h', index % 2 === 0 ? 'direct' : 'balanced', (client) => {
        client.on<Changed>('tween.storage.changed', ({ changes = [], reset }) => {
          hears.servedAt.push(performance.now());
          if (reset === true) readAfresh();
          for (const { key } of changes) {
            const number = Number(key.slice(1));
            if (told.has(number)) watch.again++;
            else if (number < newest) watch.late++;
            told.add(number);
            newest = Math.max(newest, number);
            heard.add(number);
          }
        });
        client.on('resync', () => {
          watch.resyncs++;
          newest = 0;
          told.clear();
          readAfresh();
        });
      });
      const writes = person.device('w', 'balanced');
      const watch: Watch = {
        writes,
        hears,
        acked: [],
        heard,
        read: new Set(),
        next: 1,
        again: 0,
        late: 0,
        resyncs: 0,
        reading: Promise.resolve(),
      };
      const readAfresh = (): void => {
        const readings = watch.reading.then(async () => {
          for (let cursor: string | undefined, more = true; more; ) {
            const page = await hears.insist(
              () => crew.stopped && draining,
              () => hears.call('tween.sync.pull', cursor === undefined ? { limit: 500 } : { cursor, limit: 500 }, true),
            );
            for (const { key } of page?.changes ?? []) watch.read.add(Number(key.slice(1)));
            cursor = page?.cursor;
            more = page?.has_more === true;
          }
        });
        watch.reading = readings.catch(() => {});
      };
      await Promise.all([hears.connect(), writes.connect()]);
      return watch;
    }),
  );
  const crew = new Crew();
  let draining = false;

  async function write(watch: Watch): Promise<void> {
    const number = watch.next++;
    try {
      await watch.writes.call('tween.storage.set', { key: `e${number}`, value: 'x' });
      watch.acked.push(number);
    } catch (error) {
      if (!passing(error)) throw error;
    }
    await pause(pauseMs);
  }

  async function drop(watch: Watch): Promise<void> {
    await pause(1_500 + Math.random() * 1_500);
    if (!crew.stopped && watch.hears.client.state === 'open') watch.hears.client.disconnect();
  }

  const missing = ({ acked, heard, read }: Watch): number[] => acked.filter((number) => !heard.has(number) && !read.has(number));

  return {
    name: 'resume',
    invariants: 'I13 I14 I21',
    devices: watches.flatMap(({ writes, hears }) => [writes, hears]),
    start() {
      for (const watch of watches) {
        crew.run(() => write(watch));
        crew.run(() => drop(watch));
      }
    },
    stop: () => crew.stop(),
    async verify(): Promise<Verdict> {
      await within(arriveWithinMs, () => watches.every((watch) => missing(watch).length === 0));
      await Promise.all(watches.map(({ reading }) => reading));
      draining = true;
      const notes: string[] = [];
      let skipped = 0;
      for (const watch of watches) {
        const numbers = missing(watch);
        skipped += numbers.length;
        if (numbers.length > 0)
          notes.push(
            `${watch.hears.id} was never told of ${numbers.slice(0, 8).join(', ')} (of ${watch.acked.length}; ${watch.resyncs} times told to read afresh)`,
          );
        if (watch.again > 0) notes.push(`${watch.hears.id} heard ${watch.again} events twice in one session`);
      }
      const sum = (of: (watch: Watch) => number): number => watches.reduce((all, watch) => all + of(watch), 0);
      return {
        violations: { events_skipped: skipped, events_again: sum(({ again }) => again) },
        done: {
          events: sum(({ heard }) => heard.size),
          resumed: sum(({ hears }) => hears.resumed),
          begun_afresh: sum(({ hears }) => hears.fresh),
          late: sum(({ late }) => late),
        },
        notes,
      };
    },
  };
}
