-- The slots a node owns. $1: boot id.
select slot from slots where owner = $1 order by slot
