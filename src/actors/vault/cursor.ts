/**
 * Pull cursors: opaque to clients, bound to one vault and one life of the database. Pure but for the hash.
 * Rules [STO30] to [STO33] of docs/spec/storage.md.
 */
import { invalidRequest } from '../../protocol/errors.ts';
import { digest } from '../runtime/digest.ts';

/** How far a client has come. */
export interface Cursor {
  /** It has every change up to this version. */
  readonly version: number;
  /** Version and instant (epoch ms) at which it last held everything, or began from nothing: older tombstones do not concern it. */
  readonly since: number;
  readonly sinceAt: number;
}

/** What ties a cursor to its place. */
export interface CursorMark {
  readonly vault: string;
  readonly epoch: string;
}

/** The mark of a vault in one life of the database. */
export function cursorMark(address: string, dbEpoch: string): CursorMark {
  return { vault: digest(['cursor', address]).slice(0, 12), epoch: digest(['epoch', dbEpoch]).slice(0, 8) };
}

/** At most 128 characters. */
export function encodeCursor(cursor: Cursor, mark: CursorMark): string {
  const parts = [cursor.version.toString(36), cursor.since.toString(36), cursor.sinceAt.toString(36), mark.vault, mark.epoch];
  return Buffer.from(parts.join('.')).toString('base64url');
}

/**
 * Reads a cursor. `stale`: it is from another life of the database, so its versions mean nothing here and the client starts
 * afresh. Errors: `INVALID_REQUEST` for one that is unreadable, of another vault, or from the future.
 */
export function decodeCursor(text: string, mark: CursorMark, newest: number): Cursor | 'stale' {
  const [version, since, sinceAt, vault, epoch, ...more] = Buffer.from(text, 'base64url').toString('latin1').split('.');
  const cursor = { version: number36(version), since: number36(since), sinceAt: number36(sinceAt) };
  if (epoch === undefined || more.length > 0 || Number.isNaN(cursor.version + cursor.since + cursor.sinceAt))
    throw refusal('is not a cursor');
  if (vault !== mark.vault) throw refusal('is not a cursor of this namespace');
  if (epoch !== mark.epoch) return 'stale';
  if (cursor.version > newest || cursor.since > newest) throw refusal('is ahead of this namespace');
  return cursor;
}

function number36(text: string | undefined): number {
  if (text === undefined || !/^[0-9a-z]{1,11}$/.test(text)) return Number.NaN;
  const value = Number.parseInt(text, 36);
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

function refusal(message: string): Error {
  return invalidRequest([{ path: '/cursor', message }]);
}
