-- What is stored of one actor and of the slot it falls into; one row. $1: slot, $2: address. `seq` and the like are null when it has never written.
select s.owner, s.epoch, a.seq, a.epoch as "writtenEpoch", a.updated_at as "writtenAt"
from slots s left join actors a on a.address = $2
where s.slot = $1
