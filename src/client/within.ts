/** A deadline for work of somebody else's, which may never end. */

/** What `work` gives, if it does so within `ms`. Errors: what it throws, also at once; else a sentence with `what`. */
export function within<T>(ms: number, what: string, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} within ${ms} ms`)), ms);
    const done = (): void => clearTimeout(timer);
    Promise.resolve().then(work).finally(done).then(resolve, reject);
  });
}
