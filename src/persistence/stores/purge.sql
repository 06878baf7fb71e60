-- Takes away what has outlived its promise, at most $5 rows a table. $1: tombstones older than this, $2: conflicts older than this,
-- $3: idempotency rows that expired before this, $4: lanes unused since this. All epoch ms.
-- A tombstone that was written over meanwhile is looked at again by the delete and stays.
with old_tombstones as (
  delete from storage s using (select vault, key from storage where deleted and updated_at < $1 limit $5) o
  where s.vault = o.vault and s.key = o.key and s.deleted and s.updated_at < $1 returning 1
), old_conflicts as (
  delete from storage_conflicts where id in (select id from storage_conflicts where at < $2 order by at limit $5) returning 1
), old_answers as (
  delete from idempotency i using (select scope from idempotency where expires_at < $3 order by expires_at limit $5) o
  where i.scope = o.scope and i.expires_at < $3 returning 1
), old_lanes as (
  delete from journal_lanes where updated_at < $4 returning 1
)
select
  (select count(*) from old_tombstones) as tombstones,
  (select count(*) from old_conflicts) as conflicts,
  (select count(*) from old_answers) as answers,
  (select count(*) from old_lanes) as lanes
