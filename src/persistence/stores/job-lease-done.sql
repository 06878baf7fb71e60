-- Ends a job's lease and notes when it ran; a row when it was still the caller's. $1: job, $2: owner, $3: epoch.
update job_leases set lease_until = 0, last_run_at = tmcp_now_ms() where name = $1 and owner = $2 and epoch = $3 and lease_until > 0 returning 1 as ours
