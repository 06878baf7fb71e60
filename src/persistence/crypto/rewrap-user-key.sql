-- Wraps a data key anew under the current master key, unless somebody else has. $1: user id, $2: wrapped key, $3: master key id, $4: old id.
update user_keys set wrapped = $2, master_id = $3 where user_id = $1 and master_id = $4
