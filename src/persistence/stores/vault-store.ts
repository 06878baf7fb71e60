/** Reads of vaults' rows. Values are ciphertext here; nothing in this file can open them. Cannot write. */
import type { ConflictRow, StorageRow, VaultStore } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const indexSql = loadSql(import.meta.url, './vault-index.sql');
const valuesSql = loadSql(import.meta.url, './vault-values.sql');
const conflictsSql = loadSql(import.meta.url, './vault-conflicts.sql');

/** Twice what a vault remembers: rows that it has forgotten since its last snapshot are among them. */
const maxTombstoneRows = 20_000;

/** The store on a migrated database. Errors: the driver's, when the database is away. */
export function createVaultStore(db: Database): VaultStore {
  return {
    index: (address) => db.query<Omit<StorageRow, 'value'>>(indexSql, [address, maxTombstoneRows], 'vault_index'),
    values: async (address, keys) => {
      if (keys.length === 0) return [];
      return db.query<{ key: string; version: number; value: Uint8Array }>(valuesSql, [address, [...keys]], 'vault_values');
    },
    conflicts: (address, limit) => db.query<ConflictRow>(conflictsSql, [address, limit], 'vault_conflicts'),
  };
}
