-- Takes slots that no live node owns, and gives those that are ours. $1: boot id, $2: slots, $3: ms to wait for commits in flight.
select slot, epoch from tmcp_claim($1, $2::int[], $3::int)
