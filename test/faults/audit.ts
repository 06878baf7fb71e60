/**
 * What the database itself saw (I22). Triggers that only this harness has note for each slot and epoch which node committed under it, who
 * owned it, and every row that was written under an epoch that was not the slot's at that moment.
 */
import type { Stage } from './workload.ts';

const watch = `
create table fault_writers (slot int, epoch bigint, node text, primary key (slot, epoch, node));
create table fault_owners (slot int, epoch bigint, owner text);
create table fault_stale (address text, epoch bigint, current_epoch bigint, node text, at timestamptz default clock_timestamp());
create function fault_lane() returns trigger language plpgsql as $$
begin
  perform set_config('fault.node', split_part(new.lane, '/', 1), true);
  return null;
end $$;
create trigger fault_lane after insert or update on journal_lanes for each row execute function fault_lane();
create function fault_actor() returns trigger language plpgsql as $$
declare
  now_epoch bigint;
begin
  insert into fault_writers values (new.slot, new.epoch, current_setting('fault.node', true)) on conflict do nothing;
  select epoch into now_epoch from slots where slot = new.slot;
  if now_epoch is distinct from new.epoch or (tg_op = 'UPDATE' and old.epoch > new.epoch) then
    insert into fault_stale values (new.address, new.epoch, now_epoch, current_setting('fault.node', true));
  end if;
  return null;
end $$;
create trigger fault_actor after insert or update on actors for each row execute function fault_actor();
create function fault_owner() returns trigger language plpgsql as $$
begin
  insert into fault_owners values (new.slot, new.epoch, new.owner);
  return null;
end $$;
create trigger fault_owner after update on slots for each row execute function fault_owner();
`;

/** Begins to watch. Once a database. */
export async function watchDatabase(query: Stage['query']): Promise<void> {
  await query(watch);
}

const questions = {
  /** Rows written under an epoch that was over, or over a newer epoch's. */
  stale_epoch_rows: 'select * from fault_stale',
  /** Two nodes that committed for one slot under one epoch. */
  two_writers_of_an_epoch:
    'select slot, epoch, array_agg(node) nodes from fault_writers where node is not null group by slot, epoch having count(distinct node) > 1',
  /** Rows above the slot's epoch: written by somebody who made an epoch up. */
  rows_above_their_slot: 'select a.address, a.epoch, s.epoch slot_epoch from actors a join slots s using (slot) where a.epoch > s.epoch',
  /** One epoch with two owners. */
  two_owners_of_an_epoch:
    'select slot, epoch, array_agg(owner) owners from fault_owners group by slot, epoch having count(distinct owner) > 1',
  /** Histories with a hole, or that end elsewhere than their actor (I3). */
  histories_with_a_gap: `select r.address, min(r.seq), max(r.seq), count(*), a.seq from records r left join actors a using (address)
     where r.address not like 'vault:%' group by r.address, a.seq having max(r.seq) - min(r.seq) + 1 <> count(*) or max(r.seq) > coalesce(a.seq, -1)`,
} as const;

/** Every question whose answer must be nothing. */
export async function auditDatabase(query: Stage['query']): Promise<{ violations: Record<string, number>; notes: string[] }> {
  const violations: Record<string, number> = {};
  const notes: string[] = [];
  for (const [what, sql] of Object.entries(questions)) {
    const rows = await query(sql);
    violations[what] = rows.length;
    for (const row of rows.slice(0, 2)) notes.push(`${what}: ${JSON.stringify(row)}`);
  }
  await query('truncate fault_stale, fault_writers, fault_owners');
  return { violations, notes };
}
