-- The rows of a vault without their values, by key: all that are alive, and of the tombstones the newest. $1: vault address, $2: tombstones
-- at most.
select key, version, size_bytes as "sizeBytes", content_type as "contentType", created_at as "createdAt", updated_at as "updatedAt",
  client_at as "clientAt", op_id as "opId", expires_at as "expiresAt", deleted
from (
  select * from storage where vault = $1 and not deleted
  union all
  (select * from storage where vault = $1 and deleted order by version desc limit $2)
) s
order by key collate "C"
