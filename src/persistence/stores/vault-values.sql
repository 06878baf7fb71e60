-- Values of the given keys that exist; tombstones have none. $1: vault address, $2: keys.
select key, version, value from storage where vault = $1 and key = any ($2::text[]) and not deleted and value is not null
