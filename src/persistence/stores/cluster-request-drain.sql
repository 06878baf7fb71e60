-- Asks the node of a name to drain; a row when there is one with a live lease. $1: name. Rows are locked in the order of boot ids.
update nodes set drain_requested = true
where boot_id in (select boot_id from nodes where name = $1 and lease_until > tmcp_now_ms() order by boot_id for no key update)
returning boot_id
