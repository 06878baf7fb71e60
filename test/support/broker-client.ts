/** How a test file, in its worker process, asks the run's broker for a database or a Redis. The broker starts servers when first asked. */
import { inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the broker of `test/global-setup.ts` listens, loopback, with its secret. */
    broker: { readonly url: string; readonly secret: string };
  }
}

/** Asks for `path` and gives the broker's answer. Errors: the sentence that says what is missing on this machine. */
export async function askBroker<T>(path: string): Promise<T> {
  const broker = inject('broker');
  if (broker === undefined) throw new Error('fresh databases are for tests under vitest; a script takes usePostgres() or useRedis()');
  const response = await fetch(`${broker.url}${path}`, { method: 'POST', headers: { authorization: broker.secret } });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as T;
}
