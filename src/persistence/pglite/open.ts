/**
 * PGlite, Postgres in WebAssembly: the embedded default, for development and tests. One engine, so all callers take turns.
 * Its files survive SIGKILL; its `fsync` is off, so they do not survive a power cut.
 */
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import type { Database, Queryable } from '../database.ts';
import { oid, parseBytea, parseInt8 } from '../postgres/value-parsers.ts';
import { lockDataDir } from './data-dir-lock.ts';

/**
 * Opens the data folder `dataDir`, making it when there is none; without one the data lives in memory.
 * Errors: Error when another process holds the folder for longer than 10 s.
 */
export async function openPglite(dataDir?: string): Promise<Database> {
  let unlock = (): void => {};
  if (dataDir !== undefined) {
    const path = resolve(dataDir);
    unlock = lockDataDir(path);
    mkdirSync(path, { recursive: true });
  }
  let engine: PGlite;
  try {
    engine = await PGlite.create({
      ...(dataDir === undefined ? {} : { dataDir: resolve(dataDir) }),
      parsers: { [oid.int8]: parseInt8, [oid.bytea]: parseBytea },
      // Bytes travel in binary form; the default turns each into two characters.
      serializers: { [oid.bytea]: (bytes) => bytes },
    });
  } catch (error) {
    unlock();
    throw error;
  }

  const whole = queryableOf(engine);
  return {
    dialect: 'pglite',
    ...whole,
    urgent: whole,
    connect: async () => ({ ...whole, release: () => {} }),
    transaction: (work) => engine.transaction((tx) => work(queryableOf(tx))),
    close: async () => {
      try {
        if (!engine.closed) await engine.close();
      } finally {
        unlock();
      }
    },
  };
}

function queryableOf(runner: Pick<PGlite, 'query' | 'exec'>): Queryable {
  return {
    query: async <R extends object>(text: string, params?: readonly unknown[]): Promise<R[]> => {
      const result = await runner.query<R>(text, params as unknown[]);
      return result.rows;
    },
    script: async (text) => {
      await runner.exec(text);
    },
  };
}
