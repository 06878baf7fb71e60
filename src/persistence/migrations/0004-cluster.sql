-- Many nodes on one database: who is a member, who owns which slot and until when, which node runs an upkeep job, and whose
-- slot a timer or an outbox row belongs to. Instants are bigint epoch milliseconds of the database's own clock.
--
-- Order of locks. Every transaction that takes more than one of these takes them in this order, so none can wait in a ring:
--   1. the row of a journal lane (tmcp_commit alone);
--   2. advisory locks of slots (0x746d6370, slot), ascending: shared by tmcp_commit, exclusive by whoever changes an owner;
--   3. the advisory lock of membership (0x746d6370, -2): shared by tmcp_claim, exclusive by tmcp_join;
--   4. rows of nodes, ascending by boot_id;
--   5. rows of slots: changed only by who holds the slot's lock exclusively, so nobody ever waits for one.
-- A heartbeat takes one row of 4 and nothing else. What a commit locks besides (actors and the rest) nobody below 2 touches.

create table nodes (
  boot_id text primary key,
  name text not null,
  version text not null,
  config_hash text not null,
  peer_host text not null,
  peer_port int not null,
  http_url text not null,
  state text not null default 'live' check (state in ('live', 'draining')),
  started_at bigint not null,
  lease_until bigint not null,
  drain_requested boolean not null default false,
  load jsonb
) with (fillfactor = 50);

-- One row a job that one node at a time runs. `epoch` grows with each lease, so a holder that lost it can tell and be told.
create table job_leases (
  name text primary key,
  owner text not null,
  epoch bigint not null,
  lease_until bigint not null,
  last_run_at bigint
) with (fillfactor = 50);

-- Null in rows of releases that did not know slots: slot 0's owner takes care of those.
alter table outbox add column slot int;
alter table timers add column slot int;
-- No index by slot: reads go by age in the indexes there are and pass over other nodes' rows. Of 100,000 rows that took 2 to 5 ms, and
-- 60 where hardly any was ours; an index by slot would add a sixth to what the database spends on each commit of a payment.

create function tmcp_now_ms() returns bigint language sql volatile as $body$
  select (extract(epoch from clock_timestamp()) * 1000)::bigint
$body$;

-- Locks slots exclusively until the transaction ends, ascending, and returns those it got. Waits for writes in flight, for all slots
-- together no longer than p_wait_ms; a slot that is still busy then is left out. Never waits for a slot below one it holds.
create function tmcp_lock_slots(p_slots int[], p_wait_ms int) returns int[] language plpgsql volatile set lock_timeout = 0 as $body$
declare
  s int;
  got int[] := '{}';
  ends bigint := tmcp_now_ms() + p_wait_ms;
  left_ms bigint;
begin
  for s in select distinct x from unnest(p_slots) x order by x loop
    if pg_try_advisory_xact_lock(1953325936, s) then
      got := got || s;
      continue;
    end if;
    left_ms := ends - tmcp_now_ms();
    if left_ms > 0 then
      begin
        perform set_config('lock_timeout', left_ms::text, true);
        perform pg_advisory_xact_lock(1953325936, s);
        got := got || s;
      exception when lock_not_available then
        null;
      end;
    end if;
  end loop;
  return got;
end
$body$;

-- Makes a node a member. `refusal` is null, or says why not: 'config', 'name'; then `other` names the node in the way and `left_ms` its
-- lease's rest. Lapsed rows that would stand against the new node once they were renewed are taken away: such a node must join anew.
create function tmcp_join(
  p_boot text, p_name text, p_version text, p_config text, p_host text, p_port int, p_url text, p_lease_ms int,
  out refusal text, out other text, out left_ms bigint
) language plpgsql volatile as $body$
declare
  moment bigint;
  forgotten bigint;
begin
  perform pg_advisory_xact_lock(1953325936, -2);
  forgotten := tmcp_now_ms() - 3600000;
  perform from nodes n
    where n.boot_id <> p_boot and (n.name = p_name or n.config_hash <> p_config or n.lease_until < forgotten)
    order by n.boot_id for update;

  -- A statement later than the one that waited for the rows: a lease that was renewed meanwhile is seen.
  moment := tmcp_now_ms();
  select case when n.config_hash <> p_config then 'config' else 'name' end, n.name, n.lease_until - moment
    into refusal, other, left_ms
    from nodes n
    where n.boot_id <> p_boot and n.lease_until > moment and (n.name = p_name or n.config_hash <> p_config)
    order by n.config_hash = p_config, n.lease_until desc limit 1;
  if found then
    return;
  end if;
  delete from nodes n
    where n.boot_id <> p_boot and (n.name = p_name or n.config_hash <> p_config or n.lease_until < forgotten);
  insert into nodes as n (boot_id, name, version, config_hash, peer_host, peer_port, http_url, started_at, lease_until)
    values (p_boot, p_name, p_version, p_config, p_host, p_port, p_url, moment, moment + p_lease_ms)
    on conflict (boot_id) do update set
      name = excluded.name, version = excluded.version, config_hash = excluded.config_hash, peer_host = excluded.peer_host,
      peer_port = excluded.peer_port, http_url = excluded.http_url, lease_until = excluded.lease_until;
end
$body$;

-- Renews a node's lease and gives what it must know. `epochs` is null when the node has no row. `owner_indexes` and `epochs` are lists
-- by slot; an index counts from 1 in `owners`, 0 where the slot has no owner.
--
-- VOLATILE and READ COMMITTED: the slots are read by a later statement than the one that got the node's row. A claimer holds that row
-- while it takes slots, so either it waits and then sees the renewed lease, or what it took is seen here.
create function tmcp_heartbeat(
  p_boot text, p_state text, p_load jsonb, p_lease_ms int,
  out nodes jsonb, out drain_requested boolean, out owners text[], out owner_indexes text, out epochs text
) language plpgsql volatile as $body$
declare
  moment bigint;
begin
  update nodes n set state = p_state, load = p_load, lease_until = tmcp_now_ms() + p_lease_ms
    where n.boot_id = p_boot returning n.drain_requested into drain_requested;
  if not found then
    return;
  end if;

  moment := tmcp_now_ms();
  select jsonb_agg(jsonb_build_object(
      'bootId', n.boot_id, 'name', n.name, 'version', n.version, 'peerHost', n.peer_host, 'peerPort', n.peer_port, 'httpUrl', n.http_url,
      'state', n.state, 'drainRequested', n.drain_requested, 'startedAt', n.started_at, 'leaseLeftMs', n.lease_until - moment, 'load', n.load
    ) order by n.name, n.boot_id)
    into nodes from nodes n where n.lease_until > moment;

  with s as materialized (select t.slot, t.epoch, t.owner from slots t),
    o as (select x.owner, row_number() over () as at from (select distinct s.owner from s where s.owner is not null) x)
  select (select array_agg(o.owner order by o.at) from o),
      string_agg(coalesce(o.at, 0)::text, ',' order by s.slot), string_agg(s.epoch::text, ',' order by s.slot)
    into owners, owner_indexes, epochs
    from s left join o on o.owner = s.owner;
end
$body$;

-- Takes those of the slots that nobody with a live lease owns, and gives them with those that were the claimer's already, as they are.
-- Gives nothing to a claimer without a live lease.
--
-- Only slots that look free are locked: a live owner's commits are not held up by a claim that is in vain. After the slots the rows of
-- their owners are locked, so that none can renew its lease, or join anew, between the look at it and the change of owner.
create function tmcp_claim(p_boot text, p_slots int[], p_wait_ms int) returns table (slot int, epoch bigint) language plpgsql volatile as $body$
declare
  free int[];
  moment bigint := tmcp_now_ms();
begin
  if not exists (select from nodes n where n.boot_id = p_boot and n.lease_until > moment) then
    return;
  end if;
  select array_agg(t.slot) into free
    from slots t left join nodes n on n.boot_id = t.owner
    where t.slot = any (p_slots) and t.owner is distinct from p_boot and (n.boot_id is null or n.lease_until <= moment);

  if free is not null then
    free := tmcp_lock_slots(free, p_wait_ms);
    perform pg_advisory_xact_lock_shared(1953325936, -2);
    perform from nodes n
      where n.boot_id = p_boot or n.boot_id in (select t.owner from slots t where t.slot = any (free))
      order by n.boot_id for no key update;
    moment := tmcp_now_ms();
    if not exists (select from nodes n where n.boot_id = p_boot and n.lease_until > moment) then
      return;
    end if;
    update slots t set epoch = t.epoch + 1, owner = p_boot
      where t.slot = any (free) and t.owner is distinct from p_boot
        and not exists (select from nodes n where n.boot_id = t.owner and n.lease_until > moment);
  end if;
  return query select t.slot, t.epoch from slots t where t.slot = any (p_slots) and t.owner = p_boot order by t.slot;
end
$body$;

-- Moves those of the slots that p_from owns to p_to, which must have a live lease and neither drain nor have been asked to.
create function tmcp_hand_over(p_from text, p_to text, p_slots int[], p_wait_ms int) returns table (slot int, epoch bigint)
language plpgsql volatile as $body$
declare
  held int[];
begin
  select array_agg(t.slot) into held from slots t where t.slot = any (p_slots) and t.owner = p_from;
  if held is null or p_from = p_to then
    return;
  end if;
  held := tmcp_lock_slots(held, p_wait_ms);
  perform from nodes n where n.boot_id = p_to for no key update;
  if not exists (
    select from nodes n where n.boot_id = p_to and n.lease_until > tmcp_now_ms() and n.state = 'live' and not n.drain_requested
  ) then
    return;
  end if;
  return query
    with moved as (
      update slots t set epoch = t.epoch + 1, owner = p_to where t.slot = any (held) and t.owner = p_from returning t.slot, t.epoch
    )
    select m.slot, m.epoch from moved m order by m.slot;
end
$body$;

-- Gives up those of the slots that p_boot owns.
create function tmcp_release(p_boot text, p_slots int[], p_wait_ms int) returns table (slot int, epoch bigint)
language plpgsql volatile as $body$
declare
  held int[];
begin
  select array_agg(t.slot) into held from slots t where t.slot = any (p_slots) and t.owner = p_boot;
  if held is null then
    return;
  end if;
  held := tmcp_lock_slots(held, p_wait_ms);
  return query
    with given as (
      update slots t set epoch = t.epoch + 1, owner = null where t.slot = any (held) and t.owner = p_boot returning t.slot, t.epoch
    )
    select g.slot, g.epoch from given g order by g.slot;
end
$body$;

-- Commits one group of journal entries: as the function of the same name in 0001-core.sql, and each outbox row and timer with its slot.
-- A slot may be null, and an array of slots may be empty. Returns true, or false when this lane had committed this group before.
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
  o_id text[], o_address text[], o_type text[], o_payload jsonb[], o_slot int[], o_done text[],
  t_address text[], t_id text[], t_due bigint[], t_slot int[], td_address text[], td_id text[]
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
    insert into outbox (id, address, type, payload, created_at, slot)
      select unnest(o_id), unnest(o_address), unnest(o_type), unnest(o_payload), p_at, unnest(o_slot);
  end if;
  if cardinality(o_done) > 0 then
    delete from outbox where id = any (o_done);
  end if;

  if cardinality(t_address) > 0 then
    insert into timers as t (address, id, due_at, slot)
      select unnest(t_address), unnest(t_id), unnest(t_due), unnest(t_slot)
      on conflict (address, id) do update set due_at = excluded.due_at, slot = coalesce(excluded.slot, t.slot);
  end if;
  if cardinality(td_address) > 0 then
    delete from timers t using (select unnest(td_address) address, unnest(td_id) id) e where t.address = e.address and t.id = e.id;
  end if;

  return true;
end
$body$;

-- What the previous release calls: it knows no slots of rows. Kept so that its nodes go on committing until they are replaced.
create or replace function tmcp_commit(
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
begin
  return tmcp_commit(
    p_lane, p_group, p_at, p_slots, p_epochs, a_address, a_kind, a_slot, a_base, a_seq, a_epoch, a_version, a_snapshot,
    r_address, r_seq, r_version, r_event, r_at, r_state, s_vault, s_key, s_version, s_value, s_size, s_type, s_created,
    s_updated, s_client, s_op, s_expires, s_deleted, c_vault, c_key, c_op, c_value, c_kind, c_client, c_at, c_resolution,
    i_scope, i_hash, i_result, i_expires, o_id, o_address, o_type, o_payload, '{}',
    o_done, t_address, t_id, t_due, '{}', td_address, td_id
  );
end
$body$;
