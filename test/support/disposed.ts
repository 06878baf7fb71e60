/** Lets a test have something until it is finished: what `await using` does, in words that every tool of ours can read. */
import { onTestFinished } from 'vitest';

/** `resource`, disposed of when the running test is finished; of several the last one first. */
export function disposed<T extends AsyncDisposable | Disposable>(resource: T): T {
  onTestFinished(async () => {
    if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
    else resource[Symbol.dispose]();
  });
  return resource;
}
