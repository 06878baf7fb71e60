/**
 * A data key per user, made at first use and kept in the database only wrapped by a master key from configuration: a copy of the
 * database opens nothing. Unwrapped keys live in memory, the least recently used go first.
 */
import { randomBytes } from 'node:crypto';
import type { KeyRing, UserCipher } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';
import { keyBytes, open, seal } from './sealed-box.ts';

const loadUserKeySql = loadSql(import.meta.url, './load-user-key.sql');
const addUserKeySql = loadSql(import.meta.url, './add-user-key.sql');
const rewrapUserKeySql = loadSql(import.meta.url, './rewrap-user-key.sql');

/** Master keys by id, 32 bytes each. New data keys are wrapped by `current`; the others still open what they wrapped. */
export interface MasterKeys {
  readonly current: string;
  readonly keys: ReadonlyMap<string, Uint8Array>;
}

export interface KeyRingOptions {
  /** Users whose keys are kept in memory. Default 10,000. */
  readonly maxUsers?: number;
}

/**
 * Errors at once: Error for a master key that is not 32 bytes, or a current one that is not there. `forUser`: the
 * driver's when the database is away; Error when a user's master key is not configured or the wrapped key was altered.
 */
export function createKeyRing(db: Database, masterKeys: MasterKeys, options: KeyRingOptions = {}): KeyRing {
  return new DatabaseKeyRing(db, masterKeys, options);
}

interface StoredKey {
  readonly wrapped: Uint8Array;
  readonly masterId: string;
}

class DatabaseKeyRing implements KeyRing {
  readonly #db: Database;
  readonly #masterKeys: MasterKeys;
  readonly #maxUsers: number;
  readonly #ciphers = new Map<string, UserCipher>();
  readonly #loading = new Map<string, Promise<UserCipher>>();

  constructor(db: Database, masterKeys: MasterKeys, options: KeyRingOptions) {
    this.#db = db;
    this.#masterKeys = masterKeys;
    this.#maxUsers = options.maxUsers ?? 10_000;
    for (const [id, key] of masterKeys.keys) {
      if (key.length !== keyBytes) throw new Error(`master key ${id} has ${key.length} bytes, not ${keyBytes}`);
    }
    this.#masterKey(masterKeys.current);
  }

  async forUser(userId: string): Promise<UserCipher> {
    const known = this.#ciphers.get(userId);
    if (known !== undefined) {
      this.#keep(userId, known);
      return known;
    }
    let loading = this.#loading.get(userId);
    if (loading === undefined) {
      loading = this.#load(userId).finally(() => this.#loading.delete(userId));
      this.#loading.set(userId, loading);
    }
    return loading;
  }

  async #load(userId: string): Promise<UserCipher> {
    const stored = (await this.#find(userId)) ?? (await this.#add(userId));
    const key = open(this.#masterKey(stored.masterId), stored.wrapped, wrappingPlace(userId));
    if (stored.masterId !== this.#masterKeys.current) await this.#rewrap(userId, key, stored.masterId);
    const cipher: UserCipher = {
      encrypt: (plain, aad) => seal(key, plain, aad),
      decrypt: (sealed, aad) => open(key, sealed, aad),
    };
    this.#keep(userId, cipher);
    return cipher;
  }

  async #find(userId: string): Promise<StoredKey | undefined> {
    return (await this.#db.query<StoredKey>(loadUserKeySql, [userId], 'load_user_key'))[0];
  }

  async #add(userId: string): Promise<StoredKey> {
    const { current } = this.#masterKeys;
    const wrapped = seal(this.#masterKey(current), randomBytes(keyBytes), wrappingPlace(userId));
    await this.#db.query(addUserKeySql, [userId, wrapped, current]);
    // Read back, and not taken from here: another node may have been first.
    const stored = await this.#find(userId);
    if (stored === undefined) throw new Error(`the data key of ${userId} is gone`);
    return stored;
  }

  async #rewrap(userId: string, key: Uint8Array, oldId: string): Promise<void> {
    const { current } = this.#masterKeys;
    await this.#db.query(rewrapUserKeySql, [userId, seal(this.#masterKey(current), key, wrappingPlace(userId)), current, oldId]);
  }

  #masterKey(id: string): Uint8Array {
    const key = this.#masterKeys.keys.get(id);
    if (key === undefined) throw new Error(`master key ${id} is not configured`);
    return key;
  }

  /** A Map keeps the order of insertion: the first is the least recently used. */
  #keep(userId: string, cipher: UserCipher): void {
    this.#ciphers.delete(userId);
    this.#ciphers.set(userId, cipher);
    if (this.#ciphers.size <= this.#maxUsers) return;
    for (const oldest of this.#ciphers.keys()) {
      this.#ciphers.delete(oldest);
      return;
    }
  }
}

function wrappingPlace(userId: string): string {
  return `user-key:${userId}`;
}
