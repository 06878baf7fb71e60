-- Effects of some slots that wait to be delivered, the oldest first; those without a slot count as slot 0's. $1: limit, $2: slots.
select id, address, type, payload, created_at as "createdAt" from outbox
where coalesce(slot, 0) = any ($2::int[])
order by created_at, id limit $1
