-- Every row of a vault without its value, tombstones included, by key. $1: vault address.
select key, version, size_bytes as "sizeBytes", content_type as "contentType", created_at as "createdAt", updated_at as "updatedAt",
  client_at as "clientAt", op_id as "opId", expires_at as "expiresAt", deleted
from storage where vault = $1 order by key collate "C"
