-- One actor's newest state. $1: address.
select seq, machine_version as "machineVersion", snapshot from actors where address = $1
