-- Gives slots up. $1: boot id, $2: slots, $3: ms to wait for commits in flight.
select slot, epoch from tmcp_release($1, $2::int[], $3::int)
