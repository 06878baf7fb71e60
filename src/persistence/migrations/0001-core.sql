-- The tables every actor writes, and the one function a journal commits a group with.
-- Instants are bigint epoch milliseconds. Nothing here is edited once released: a change is a new numbered file.

-- One row, made with the database. `db_epoch` names this history of data: a restore from a backup must renew it, so that
-- clients see that their watermark belongs to another history.
create table meta (
  only_row boolean primary key default true check (only_row),
  db_epoch uuid not null default gen_random_uuid(),
  created_at bigint not null default (extract(epoch from clock_timestamp()) * 1000)::bigint
);
insert into meta default values;

-- Who owns a slot, and how often it has changed hands. Raised only by tmcp_claim_slots.
create table slots (
  slot int primary key check (slot between 0 and 1023),
  epoch bigint not null default 0,
  owner text
) with (fillfactor = 50);
insert into slots (slot) select generate_series(0, 1023);

-- The newest state of each actor. No secondary index, and room on every page, so that an update stays on its page (HOT).
create table actors (
  address text primary key,
  kind text not null,
  slot int not null,
  seq bigint not null,
  epoch bigint not null,
  machine_version int not null,
  snapshot jsonb,
  updated_at bigint not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- The history of each actor, and the audit trail of transactions. Only ever inserted into.
create table records (
  address text not null,
  seq bigint not null,
  machine_version int not null,
  event jsonb not null,
  at bigint not null,
  state_after text not null,
  primary key (address, seq)
);

-- Values of vaults, encrypted, and their tombstones.
create table storage (
  vault text not null,
  key text not null,
  version bigint not null,
  value bytea,
  size_bytes int not null,
  content_type text,
  created_at bigint not null,
  updated_at bigint not null,
  client_at bigint not null,
  op_id text,
  expires_at bigint,
  deleted boolean not null,
  primary key (vault, key)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index storage_expiring on storage (expires_at) where expires_at is not null;

-- The losers of conflicts, encrypted.
create table storage_conflicts (
  id bigint generated always as identity primary key,
  vault text not null,
  key text not null,
  op_id text not null,
  value bytea,
  kind text not null,
  client_at bigint not null,
  at bigint not null,
  resolution text not null
);
create index storage_conflicts_newest on storage_conflicts (vault, at desc, id desc);
create index storage_conflicts_age on storage_conflicts (at);

-- First answers. `scope` already holds address, operation and key.
create table idempotency (
  scope text primary key,
  input_hash text not null,
  result bytea not null,
  expires_at bigint not null
);
create index idempotency_age on idempotency (expires_at);

-- Effects on their way out of the system.
create table outbox (
  id text primary key,
  address text not null,
  type text not null,
  payload jsonb not null,
  created_at bigint not null
);
create index outbox_oldest on outbox (created_at, id);

create table timers (
  address text not null,
  id text not null,
  due_at bigint not null,
  primary key (address, id)
);
create index timers_due on timers (due_at, address, id);

-- A data key per user, wrapped by the master key `master_id`.
create table user_keys (
  user_id text primary key,
  wrapped bytea not null,
  master_id text not null,
  created_at bigint not null
);

-- One row a node, written by its readiness check.
create table probe (
  node text primary key,
  at bigint not null
) with (fillfactor = 50);

-- The last group each journal lane has committed. A group that is sent again after a lost answer finds its number here.
create table journal_lanes (
  lane text primary key,
  last_group bigint not null,
  updated_at bigint not null
) with (fillfactor = 50);

-- A payment that has ended stays ended: only a refund may still change it. Evaluated on the new row, after the update, so
-- that the common case costs one comparison and takes no extra lock.
create function tmcp_refuse_reopened_payment() returns trigger language plpgsql as $body$
begin
  raise exception 'payment % may not go from % to %', old.address, old.snapshot ->> 'value', new.snapshot ->> 'value'
    using errcode = 'TM003';
end
$body$;

create trigger actors_terminal_payment after update on actors for each row
when (
  old.kind = 'payment'
  and old.snapshot ->> 'value' in ('completed', 'refunding', 'partially_refunded', 'refunded', 'failed', 'cancelled', 'expired')
  and old.snapshot ->> 'value' is distinct from new.snapshot ->> 'value'
  and not (
    old.snapshot ->> 'value' in ('completed', 'refunding', 'partially_refunded')
    and coalesce(new.snapshot ->> 'value', '') in ('completed', 'refunding', 'partially_refunded', 'refunded')
  )
)
execute function tmcp_refuse_reopened_payment();

-- Takes slots over: waits for every write in flight under the old epoch, then raises the epoch.
-- Locks are taken in ascending order of slot, so that two claimers never wait for each other in a ring.
-- The advisory lock's first key (0x746d6370, "tmcp") is the same constant in tmcp_commit.
create function tmcp_claim_slots(p_owner text, p_slots int[]) returns table (slot int, epoch bigint) language plpgsql volatile as $body$
declare
  s int;
begin
  for s in select distinct x from unnest(p_slots) x order by x loop
    perform pg_advisory_xact_lock(1953325936, s);
  end loop;
  return query
    update slots t set epoch = t.epoch + 1, owner = p_owner where t.slot = any (p_slots) returning t.slot, t.epoch;
end
$body$;

-- Commits one group of journal entries. Returns true, or false when this lane had committed this group before.
--
-- p_slots ascending. Arrays of one letter belong together and have the same length; an empty first array
-- of a letter skips its statement. No key may come twice in a_address, (s_vault, s_key), i_scope, (t_address, t_id).
--
-- TM001: a slot's epoch is not the caller's; DETAIL lists slot:epoch pairs. TM002: an actor is not at its base seq.
--
-- VOLATILE and READ COMMITTED: each statement sees what was committed when it began. That is what makes the epoch check sound:
-- it is a later statement than the one that took the shared locks, so a claimer either waits for this
-- transaction or has committed a higher epoch that is seen here.
create function tmcp_commit(
  p_lane text, p_group bigint, p_at bigint,
  p_slots int[], p_epochs bigint[],
  a_address text[], a_kind text[], a_slot int[], a_base bigint[], a_seq bigint[], a_epoch bigint[], a_version int[], a_snapshot jsonb[],
  r_address text[], r_seq bigint[], r_version int[], r_event jsonb[], r_at bigint[], r_state text[],
  s_vault text[], s_key text[], s_version bigint[], s_value bytea[], s_size int[], s_type text[], s_created bigint[], s_updated bigint[],
  s_client bigint[], s_op text[], s_expires bigint[], s_deleted boolean[],
  c_vault text[], c_key text[], c_op text[], c_value bytea[], c_kind text[], c_client bigint[], c_at bigint[], c_resolution text[],
  i_scope text[], i_hash text[], i_result bytea[], i_expires bigint[],
  o_id text[], o_address text[], o_type text[], o_payload jsonb[], o_done text[],
  t_address text[], t_id text[], t_due bigint[], td_address text[], td_id text[]
) returns boolean language plpgsql volatile as $body$
declare
  wrong text;
  touched bigint;
  written bigint;
begin
  -- A durable lane never commits asynchronously, whatever the session was left with (a pooler may hand out any session).
  if current_setting('synchronous_commit') = 'off' then
    perform set_config('synchronous_commit', 'on', true);
  end if;

  -- The lane's row also makes a second try wait for the first when that one still runs.
  update journal_lanes set last_group = p_group, updated_at = p_at where lane = p_lane and last_group < p_group;
  if not found then
    if exists (select from journal_lanes where lane = p_lane) then
      return false;
    end if;
    insert into journal_lanes (lane, last_group, updated_at) values (p_lane, p_group, p_at) on conflict (lane) do nothing;
    if not found then
      raise exception 'an earlier try of this group has just ended' using errcode = '40001';
    end if;
  end if;

  perform pg_advisory_xact_lock_shared(1953325936, s) from unnest(p_slots) s;

  select string_agg(e.slot || ':' || e.epoch, ',') into wrong
    from unnest(p_slots, p_epochs) e (slot, epoch) left join slots t on t.slot = e.slot
    where t.epoch is distinct from e.epoch;
  if wrong is not null then
    raise exception 'another node owns a slot of this group' using errcode = 'TM001', detail = wrong;
  end if;

  touched := 0;
  if 0 = any (a_base) then
    insert into actors as a (address, kind, slot, seq, epoch, machine_version, snapshot, updated_at)
      select e.address, e.kind, e.slot, e.seq, e.epoch, e.version, e.snapshot, p_at
        from (select unnest(a_address) address, unnest(a_kind) kind, unnest(a_slot) slot, unnest(a_base) base, unnest(a_seq) seq,
          unnest(a_epoch) epoch, unnest(a_version) version, unnest(a_snapshot) snapshot) e
        where e.base = 0
      on conflict (address) do nothing;
    get diagnostics touched = row_count;
  end if;
  if touched < cardinality(a_address) then
    update actors a
      set seq = e.seq, epoch = e.epoch, machine_version = e.version, snapshot = coalesce(e.snapshot, a.snapshot), updated_at = p_at
      from (select unnest(a_address) address, unnest(a_base) base, unnest(a_seq) seq, unnest(a_epoch) epoch,
        unnest(a_version) version, unnest(a_snapshot) snapshot) e
      where a.address = e.address and a.seq = e.base and e.base <> 0;
    get diagnostics written = row_count;
    if touched + written <> cardinality(a_address) then
      raise exception 'an actor of this group has moved on' using errcode = 'TM002';
    end if;
  end if;

  if cardinality(r_address) > 0 then
    insert into records (address, seq, machine_version, event, at, state_after)
      select unnest(r_address), unnest(r_seq), unnest(r_version), unnest(r_event), unnest(r_at), unnest(r_state);
  end if;

  if cardinality(s_vault) > 0 then
    insert into storage (vault, key, version, value, size_bytes, content_type, created_at, updated_at, client_at, op_id, expires_at, deleted)
      select unnest(s_vault), unnest(s_key), unnest(s_version), unnest(s_value), unnest(s_size), unnest(s_type), unnest(s_created),
        unnest(s_updated), unnest(s_client), unnest(s_op), unnest(s_expires), unnest(s_deleted)
      on conflict (vault, key) do update set
        version = excluded.version, value = excluded.value, size_bytes = excluded.size_bytes, content_type = excluded.content_type,
        created_at = excluded.created_at, updated_at = excluded.updated_at, client_at = excluded.client_at, op_id = excluded.op_id,
        expires_at = excluded.expires_at, deleted = excluded.deleted;
  end if;

  if cardinality(c_vault) > 0 then
    insert into storage_conflicts (vault, key, op_id, value, kind, client_at, at, resolution)
      select unnest(c_vault), unnest(c_key), unnest(c_op), unnest(c_value), unnest(c_kind), unnest(c_client), unnest(c_at), unnest(c_resolution);
  end if;

  if cardinality(i_scope) > 0 then
    insert into idempotency (scope, input_hash, result, expires_at)
      select unnest(i_scope), unnest(i_hash), unnest(i_result), unnest(i_expires)
      on conflict (scope) do update set input_hash = excluded.input_hash, result = excluded.result, expires_at = excluded.expires_at;
  end if;

  if cardinality(o_id) > 0 then
    insert into outbox (id, address, type, payload, created_at)
      select unnest(o_id), unnest(o_address), unnest(o_type), unnest(o_payload), p_at;
  end if;
  if cardinality(o_done) > 0 then
    delete from outbox where id = any (o_done);
  end if;

  if cardinality(t_address) > 0 then
    insert into timers (address, id, due_at)
      select unnest(t_address), unnest(t_id), unnest(t_due)
      on conflict (address, id) do update set due_at = excluded.due_at;
  end if;
  if cardinality(td_address) > 0 then
    delete from timers t using (select unnest(td_address) address, unnest(td_id) id) e where t.address = e.address and t.id = e.id;
  end if;

  return true;
end
$body$;
