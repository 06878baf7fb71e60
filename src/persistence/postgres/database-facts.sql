-- What the boot check and `tmcp doctor` look at. `reset_val` is what a session starts with: the server's, database's or role's
-- setting, and not what our pool has set since.
select name, setting, reset_val as "resetValue"
from pg_settings
where name in (
  'server_version', 'server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names',
  'max_connections', 'data_checksums', 'in_recovery', 'transaction_read_only', 'server_encoding'
)
