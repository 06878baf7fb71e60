-- Renews a node's lease and reads the cluster; one row, whose `epochs` is null when the node's row is gone. $1: boot id, $2: state,
-- $3: load as JSON text, $4: lease in ms.
select nodes, drain_requested as "drainRequested", owners, owner_indexes as "ownerIndexes", epochs
from tmcp_heartbeat($1, $2, $3::jsonb, $4::int)
