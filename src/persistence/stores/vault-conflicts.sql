-- The newest losers of a vault first. $1: vault address, $2: limit.
select key, op_id as "opId", value, kind, client_at as "clientAt", at, resolution
from storage_conflicts where vault = $1 order by at desc, id desc limit $2
