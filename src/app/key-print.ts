/**
 * What a node tells others of its keys: prints from which nothing can be made, the current one of each kind first. Two nodes can work beside each
 * other when each knows the other's current keys; so a key can be changed node by node: first known to all, then current.
 */
import { createHmac } from 'node:crypto';
import type { AppSecrets } from './secrets.ts';

const kinds = ['signing', 'cookies', 'master'] as const;

export type KeyPrints = Readonly<Record<(typeof kinds)[number], readonly string[]>>;

export function keyPrints(secrets: AppSecrets): KeyPrints {
  const print = (text: string): string => createHmac('sha256', secrets.pepper).update(text).digest('base64url').slice(0, 16);
  return {
    signing: signingTexts(secrets.signingKeys).map(print),
    cookies: secrets.cookieKeys.map(print),
    master: secrets.masterKeys.map(({ id, key }) => print(`${id}:${Buffer.from(key).toString('base64')}`)),
  };
}

/** The first kind of key in which two nodes do not know each other's current one; undefined: they get along. What is no prints gets along. */
export function keyConflict(mine: KeyPrints, theirs: unknown): string | undefined {
  const other = (theirs ?? {}) as Partial<Record<string, unknown>>;
  return kinds.find((kind) => {
    const known = other[kind];
    if (!Array.isArray(known) || known.length === 0) return false;
    return !known.includes(mine[kind][0]) || !mine[kind].includes(known[0] as string);
  });
}

function signingTexts(text: string): string[] {
  try {
    const { keys } = JSON.parse(text) as { keys?: { kid?: string; n?: string }[] };
    if (Array.isArray(keys) && keys.length > 0) return keys.map(({ kid, n }) => `${kid ?? ''}:${n ?? ''}`);
  } catch {
    // A single key as PEM.
  }
  return [text];
}
