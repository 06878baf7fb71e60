-- Stores a user's first data key; of two that come at once one stays, and both then read it.
-- $1: user id, $2: wrapped key, $3: master key id.
insert into user_keys (user_id, wrapped, master_id, created_at)
  values ($1, $2, $3, (extract(epoch from clock_timestamp()) * 1000)::bigint)
  on conflict (user_id) do nothing
