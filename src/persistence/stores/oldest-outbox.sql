-- Effects that wait to be delivered, the oldest first. $1: limit.
select id, address, type, payload, created_at as "createdAt" from outbox order by created_at, id limit $1
