-- The database's clock, by which leases run.
select tmcp_now_ms() as now
