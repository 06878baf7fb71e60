-- Makes a node a member; one row. $1: boot id, $2: name, $3: version, $4: hash of the configuration, $5: peer host, $6: peer port,
-- $7: URL, $8: lease in ms. `refusal` is null, 'config' or 'name'.
select refusal, other, left_ms as "leaseLeftMs" from tmcp_join($1, $2, $3, $4, $5, $6::int, $7, $8::int)
