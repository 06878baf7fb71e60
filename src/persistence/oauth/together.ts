/**
 * Look-ups by key, many with one statement: while one is under way those that are asked for meanwhile are gathered for the next. A thousand
 * clients that come back at once cost two statements, and nobody else's wait behind a thousand.
 */

type Found<T> = ReadonlyMap<string, T>;

class Batch<T> {
  readonly keys = new Set<string>();
  readonly found: Promise<Found<T>>;
  resolve: (found: Found<T>) => void = () => {};
  reject: (error: unknown) => void = () => {};

  constructor() {
    this.found = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/**
 * A read of one key by `readAll`, which gives what it finds by key. What it says was true after it was asked. Errors: those of the statement
 * that the key was in, to everybody in it.
 */
export function together<T>(readAll: (keys: string[]) => Promise<Found<T>>): (key: string) => Promise<T | undefined> {
  let gathering: Batch<T> | undefined;
  let running = false;

  const run = async (batch: Batch<T>): Promise<void> => {
    running = true;
    try {
      batch.resolve(await readAll([...batch.keys]));
    } catch (error) {
      batch.reject(error);
    }
    running = false;
    const next = gathering;
    gathering = undefined;
    if (next !== undefined) void run(next);
  };

  return async (key) => {
    gathering ??= new Batch<T>();
    const batch = gathering;
    batch.keys.add(key);
    if (!running) {
      gathering = undefined;
      void run(batch);
    }
    return (await batch.found).get(key);
  };
}
