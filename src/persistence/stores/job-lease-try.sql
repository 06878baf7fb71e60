-- Takes a job whose lease is over; a row with the new epoch, or none. $1: job, $2: owner, $3: lease in ms, $4: ms since the last run at least.
-- The condition is looked at once the row is locked, so of many that try one finds it true.
insert into job_leases as j (name, owner, epoch, lease_until) values ($1, $2, 1, tmcp_now_ms() + $3::int)
on conflict (name) do update set owner = excluded.owner, epoch = j.epoch + 1, lease_until = excluded.lease_until
where j.lease_until <= tmcp_now_ms() and (j.last_run_at is null or j.last_run_at + $4::int <= tmcp_now_ms())
returning epoch
