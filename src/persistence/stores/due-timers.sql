-- Timers that are due, the oldest first. $1: epoch ms (included), $2: limit.
select address, id, due_at as "dueAt" from timers where due_at <= $1 order by due_at, address, id limit $2
