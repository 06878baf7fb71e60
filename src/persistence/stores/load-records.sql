-- One actor's history in order. $1: address.
select seq, machine_version as "machineVersion", event, at, state_after as "stateAfter" from records where address = $1 order by seq
