-- $1 user, $2 status, $3 now.
UPDATE users SET status = $2, updated_at = $3 WHERE user_id = $1
