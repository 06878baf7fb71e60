/**
 * Runs once a vitest run. Starts a small loopback broker that workers ask for databases; Postgres and Redis start when
 * the first of them asks, so unit tests alone start nothing. What was started ends here.
 */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { type UsedPostgres, usePostgres } from './support/postgres.ts';
import { type UsedRedis, useRedis } from './support/redis.ts';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let postgres: Promise<UsedPostgres> | undefined;
  let redis: Promise<UsedRedis> | undefined;
  const doors: Readonly<Record<string, () => Promise<unknown>>> = {
    '/database': async () => {
      postgres ??= usePostgres();
      return { url: await (await postgres).createDatabase() };
    },
    '/redis': async () => {
      redis ??= useRedis();
      return (await redis).share();
    },
  };
  const secret = randomBytes(16).toString('hex');
  const broker = createServer((request, response) => {
    const door = request.headers.authorization === secret ? doors[request.url ?? ''] : undefined;
    if (door === undefined) {
      response.writeHead(404).end();
      return;
    }
    door().then(
      (answer) => response.end(JSON.stringify(answer)),
      (error: unknown) => response.writeHead(500).end(error instanceof Error ? error.message : String(error)),
    );
  });
  await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
  project.provide('broker', { url: `http://127.0.0.1:${(broker.address() as AddressInfo).port}`, secret });

  return async () => {
    broker.closeAllConnections();
    broker.close();
    // A server that never started has nothing to stop; the test that asked for it has told why.
    const started = await Promise.allSettled([postgres, redis]);
    for (const one of started) if (one.status === 'fulfilled') await one.value?.stop();
  };
}
