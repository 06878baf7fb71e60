-- Moves slots from their owner to another node. $1: owner, $2: the other's boot id, $3: slots, $4: ms to wait for commits in flight.
select slot, epoch from tmcp_hand_over($1, $2, $3::int[], $4::int)
