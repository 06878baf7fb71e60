-- Prolongs a job's lease; a row when it is still the caller's. $1: job, $2: owner, $3: epoch, $4: lease in ms.
update job_leases set lease_until = tmcp_now_ms() + $4::int where name = $1 and owner = $2 and epoch = $3 and lease_until > 0 returning 1 as ours
