-- Timers of some slots that are due, the oldest first; those without a slot count as slot 0's. $1: epoch ms (included), $2: limit, $3: slots.
select address, id, due_at as "dueAt" from timers
where due_at <= $1 and coalesce(slot, 0) = any ($3::int[])
order by due_at, address, id limit $2
