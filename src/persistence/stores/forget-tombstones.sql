-- Takes away tombstones that a vault no longer knows, at most $3 of them; the next call goes on. $1: vault address, $2: up to this version.
-- One that was written over meanwhile is looked at again by the delete and stays.
delete from storage s
using (select key from storage where vault = $1 and deleted and version <= $2 limit $3) o
where s.vault = $1 and s.key = o.key and s.deleted and s.version <= $2
