/** Reads of what a journal wrote about actors. Cannot write. */
import type { ActorStore, IdempotencyRow, OutboxRow, RecordRow, StoredActor } from '../../actors/ports.ts';
import type { Database } from '../database.ts';
import { loadSql } from '../sql.ts';

const loadActorSql = loadSql(import.meta.url, './load-actor.sql');
const loadRecordsSql = loadSql(import.meta.url, './load-records.sql');
const loadIdempotencySql = loadSql(import.meta.url, './load-idempotency.sql');
const dueTimersSql = loadSql(import.meta.url, './due-timers.sql');
const oldestOutboxSql = loadSql(import.meta.url, './oldest-outbox.sql');
const dueTimersOfSlotsSql = loadSql(import.meta.url, './due-timers-of-slots.sql');
const oldestOutboxOfSlotsSql = loadSql(import.meta.url, './oldest-outbox-of-slots.sql');

interface TimerOf {
  address: string;
  id: string;
  dueAt: number;
}
type OutboxRowOf = OutboxRow & { address: string; createdAt: number };

/** The store on a migrated database. Errors: the driver's, when the database is away. */
export function createActorStore(db: Database): ActorStore {
  return {
    load: async (address) => (await db.query<StoredActor>(loadActorSql, [address], 'load_actor'))[0],
    records: (address) => db.query<RecordRow>(loadRecordsSql, [address], 'load_records'),
    // A scope begins with its actor's address, so the scope alone finds the row.
    idempotency: async (_address, scope) => (await db.query<IdempotencyRow>(loadIdempotencySql, [scope], 'load_idempotency'))[0],
    // Reads of slots have no prepared statement: planned with the slots at hand, the database looks them up by hash; a plan made for
    // any slots compares each row with each slot, measured at two to three times the cost with 100,000 rows.
    timers: (dueBefore, limit, slots) =>
      slots === undefined
        ? db.query<TimerOf>(dueTimersSql, [dueBefore, limit], 'due_timers')
        : db.query<TimerOf>(dueTimersOfSlotsSql, [dueBefore, limit, [...slots]]),
    outbox: (limit, slots) =>
      slots === undefined
        ? db.query<OutboxRowOf>(oldestOutboxSql, [limit], 'oldest_outbox')
        : db.query<OutboxRowOf>(oldestOutboxOfSlotsSql, [limit, [...slots]]),
  };
}
