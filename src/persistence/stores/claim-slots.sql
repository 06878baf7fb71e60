-- Takes slots over: waits for writes in flight, raises each epoch. $1: owner, $2: slots.
select slot, epoch from tmcp_claim_slots($1, $2::int[]) order by slot
