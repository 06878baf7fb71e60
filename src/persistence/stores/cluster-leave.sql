-- Takes a node's row away. $1: boot id.
delete from nodes where boot_id = $1
