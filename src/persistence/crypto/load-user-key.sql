-- A user's wrapped data key. $1: user id.
select wrapped, master_id as "masterId" from user_keys where user_id = $1
